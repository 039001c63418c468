"""From named and inline checks to the probes that are run: one for each target, way and family."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address

from anycastd.config.aims import aim_of, by_family
from anycastd.config.build.check_options import kind_of, limits_of, options_of, timing_of
from anycastd.config.schema.checks import CheckSection, CheckUse
from anycastd.config.schema.regions import TunnelSection
from anycastd.model.address import Address, CheckId
from anycastd.model.checks import CheckKind, CheckSpec, LinkOptions, ProbeSpec, Resolver, Timing
from anycastd.model.topology import Backend, Tunnel


@dataclass(frozen=True, slots=True)
class CheckBook:
    """The named checks of a file; `directory` is where relative file names begin."""

    named: Mapping[str, CheckSection]
    directory: str
    resolver: Resolver = field(default_factory=Resolver)

    def specs(self, uses: Iterable[CheckUse]) -> Iterator[CheckSpec]:
        """Yield the checks of one target; an inline check is named after its kind, with a number if that is taken."""
        for name, use in named(uses):
            yield self._spec(name, self.named[use] if isinstance(use, str) else use)

    def _spec(self, name: str, section: CheckSection) -> CheckSpec:
        check = section.only
        return CheckSpec(
            name=name,
            kind=kind_of(check),
            options=options_of(check, self.directory),
            timing=timing_of(check),
            limits=limits_of(check),
            aim=aim_of(check, self.resolver),
        )


def named(uses: Iterable[CheckUse]) -> Iterator[tuple[str, CheckUse]]:
    """Yield the name of each check of one target: an inline one has that of its kind, with a number if it is taken."""
    uses = tuple(uses)
    taken = {use for use in uses if isinstance(use, str)}
    for use in uses:
        if isinstance(use, str):
            yield use, use
            continue
        name, number = use.kinds[0], 1
        while name in taken:
            number += 1
            name = f"{use.kinds[0]}-{number}"
        taken.add(name)
        yield name, use


def pairs(tunnel: Tunnel | TunnelSection) -> tuple[tuple[Address, Address], ...]:
    """Return our and the far end's address of each family that the tunnel carries, IPv4 first."""
    ours: tuple[tuple[IPv4Address | IPv6Address | None, IPv4Address | IPv6Address | None], ...]
    if isinstance(tunnel, Tunnel):
        ours = ((tunnel.local_ipv4, tunnel.far_end_ipv4), (tunnel.local_ipv6, tunnel.far_end_ipv6))
    else:
        ours = ((tunnel.local, tunnel.far_end), (tunnel.local6, tunnel.far_end6))
    return tuple((local, far_end) for local, far_end in ours if local is not None and far_end is not None)


OF_DEVICES = (CheckKind.LINK, CheckKind.EXEC)
"""Kinds that are told the device."""
DEVICE_CHECK = CheckSpec(
    name="device", kind=CheckKind.LINK, options=LinkOptions(), timing=Timing(interval_s=1.0, rise=1, fall=1)
)
"""Added to a tunnel without a link check: packets that cannot leave a device that is down read as our own fault."""


def tunnel_probes(tunnel: Tunnel, checks: Iterable[CheckSpec]) -> Iterator[ProbeSpec]:
    """Yield the probes to the far end, in each family; those of IPv6 end in `#6`. A file is looked at once."""
    checks = tuple(checks)
    if not any(check.kind is CheckKind.LINK for check in checks):
        checks = (*checks, DEVICE_CHECK)
    for check in checks:
        # a file says the same of both families
        families = pairs(tunnel)[:1] if check.kind is CheckKind.FILE else pairs(tunnel)
        for local, target, name in by_family(check, families):
            yield ProbeSpec(
                id=CheckId(f"tunnel/{tunnel.id}/{check.name}{'#6' if local.version == 6 else ''}"),
                check=check,
                target=target,
                name=name,
                source=local,
                device=tunnel.device if check.kind in OF_DEVICES else None,
                region=tunnel.region,
                tunnel=tunnel.id,
            )


def backend_probes(backend: Backend, tunnels: Iterable[Tunnel], checks: Iterable[CheckSpec]) -> Iterator[ProbeSpec]:
    """Yield the probes of a backend through each tunnel that carries its family."""
    checks = tuple(checks)
    for tunnel in tunnels:
        for check in checks:
            ways = [(local, backend.address) for local, _ in pairs(tunnel)]
            for local, target, name in by_family(check, ways):
                yield ProbeSpec(
                    id=CheckId(f"backend/{backend.id}/{check.name}@{tunnel.id.partition('/')[2]}"),
                    check=check,
                    target=target,
                    name=name,
                    source=local,
                    device=tunnel.device if check.kind is CheckKind.EXEC else None,
                    region=backend.region,
                    tunnel=tunnel.id,
                    backend=backend.id,
                )
