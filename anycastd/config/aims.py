"""Where a check goes: to what it is used for, or to a target of its own. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from anycastd.config.schema.checks import TimedCheck
from anycastd.config.schema.resolver import ResolverSection
from anycastd.model.address import Address
from anycastd.model.checks import Aim, CheckSpec, NameTarget, Resolver


def resolver_of(section: ResolverSection) -> Resolver:
    """Return how names are resolved."""
    return Resolver(
        servers=section.servers,
        port=section.port,
        timeout_s=section.timeout,
        retry_s=section.retry,
        min_ttl_s=section.min_ttl,
        max_ttl_s=section.max_ttl,
        stale_s=section.stale,
    )


def aim_of(check: TimedCheck, resolver: Resolver) -> Aim | None:
    """Return the target of a check itself, or None."""
    if check.target is None:
        return None
    if not isinstance(check.target, str):
        return Aim(address=check.target)
    version = check.target_family.version if check.target_family is not None else None
    return Aim(name=check.target, version=version, resolver=resolver)


def destination(check: CheckSpec, version: int, target: Address) -> tuple[Address, NameTarget | None] | None:
    """Return where a check goes that is used for `target` and sent by IP `version`; None where it is of another one."""
    aim = check.aim
    wanted = target.version if aim is None else aim.of(target.version)
    if wanted != version:
        return None
    if aim is None or (aim.address is None and aim.name is None):
        return target, None
    if aim.address is not None:
        return aim.address, None
    return target, NameTarget(aim.name or "", version, aim.resolver)


def by_family(
    check: CheckSpec, ways: Iterable[tuple[Address, Address]]
) -> Iterator[tuple[Address, Address, NameTarget | None]]:
    """Yield our address, target and name for each way (our address, what is at its end) that the check is sent by."""
    for local, end in ways:
        found = destination(check, local.version, end)
        if found is not None:
            yield local, *found
