"""Checks: one kind each, every name known, timing that can tell something."""

from __future__ import annotations

from collections.abc import Iterator

from anycastd.config.build.check_options import limits_of, name_of
from anycastd.config.document import Path, Value
from anycastd.config.near import did_you_mean
from anycastd.config.rules.findings import Findings
from anycastd.config.schema.checks import BfdCheck, CheckSection, FileCheck, HttpsCheck, LinkCheck, TimedCheck
from anycastd.config.values.fields import duration_text
from anycastd.model.checks import CheckKind

KINDS = tuple(CheckSection.model_fields)
MAX_ICMP_UNFRAGMENTED = 1472


def sections(found: Findings) -> Iterator[tuple[Path, CheckSection]]:
    """Yield every check that is written, named or in place."""
    for name, section in found.root.checks.items():
        yield ("checks", name), section
    for path, use in found.uses():
        if isinstance(use, CheckSection):
            yield path, use


def one_kind(found: Findings) -> None:
    """A check is of exactly one kind."""
    for path, section in sections(found):
        if len(section.kinds) > 1:
            found.error(path, f"has {len(section.kinds)} kinds ({', '.join(section.kinds)}); a check has one")
        elif not section.kinds and not any(empty[:-1] == path for empty in found.draft.document.empty):
            found.error(path, f"has no kind; write one of {', '.join(KINDS)}")


def names(found: Findings) -> None:
    """Every check that is used exists, once for a target; every check that exists is used."""
    written = found.draft.written("checks")
    used: set[str] = set()
    for path, use in _names_used(found.draft.document.value):
        if use not in written:
            hint = did_you_mean(use, written)
            if not hint and use in KINDS:
                hint = f"; write {{{use}: {{}}}} for a check of that kind without a name"
            found.error(path, f"no check is called '{use}'{hint}")
        used.add(use)
    _twice(found)
    for name in found.root.checks:
        if name not in used:
            found.warn(("checks", name), "is never used", at_key=True)


def _names_used(value: Value, path: Path = ()) -> Iterator[tuple[Path, str]]:
    """Yield every name in a list of checks as written, also where the entry has other mistakes."""
    if not isinstance(value, dict):
        return
    for key, below in value.items():
        if key == "checks" and isinstance(below, list):
            yield from (((*path, key, number), use) for number, use in enumerate(below) if isinstance(use, str))
        elif path or key in ("regions", "self_test"):
            yield from _names_used(below, (*path, key))


def _twice(found: Findings) -> None:
    seen: set[tuple[Path, str]] = set()
    for path, use in found.uses():
        if isinstance(use, str):
            if (path[:-1], use) in seen:
                found.error(path, f"'{use}' is listed twice")
            seen.add((path[:-1], use))


def something_is_checked(found: Findings) -> None:
    """What has no check is never known to work."""
    targets: list[tuple[Path, int]] = []
    for region, section in found.root.regions.items():
        targets += [(("regions", region, "tunnels", name), len(one.checks)) for name, one in section.tunnels.items()]
        targets += [(("regions", region, "backends", name), len(one.checks)) for name, one in section.backends.items()]
    tested = found.root.self_test.targets.items()
    targets += [(("self_test", "targets", name), len(one.checks)) for name, one in tested]
    for path, count in targets:
        if not count:
            found.error((*path, "checks"), "is empty: without a check nothing is ever known of it")


def links(found: Findings) -> None:
    """A link check looks at a device: tunnels have one, backends have none."""
    for path, use in found.uses():
        section = found.root.checks.get(use) if isinstance(use, str) else use
        if section is None or section.link is None:
            continue
        if path[2] == "backends":
            found.error(path, "a link check looks at a device; a backend has none")
        if path[0] == "self_test" and found.root.self_test.targets[str(path[2])].device is None:
            found.error(path, "a link check looks at a device; give the target one (device: NAME)")


_OF_THIS_MACHINE = ({CheckKind.LINK.value}, {CheckKind.FILE.value})


def only_links(found: Findings) -> None:
    """A device can be up while nothing passes through it."""
    for path, _, tunnel in found.tunnels():
        sections = [found.root.checks.get(use) if isinstance(use, str) else use for use in tunnel.checks]
        if sections and all(section is not None and set(section.kinds) in _OF_THIS_MACHINE for section in sections):
            found.warn((*path, "checks"), "only looks at this machine; add a check that a packet comes through")


def timing(found: Findings) -> None:
    """Intervals, timeouts and thresholds that fit together."""
    for path, section in sections(found):
        for kind in section.kinds:
            check: TimedCheck = getattr(section, kind)
            _one_timing(found, (*path, kind), check)


def _one_timing(found: Findings, path: Path, check: TimedCheck) -> None:
    if check.fast_interval is not None and check.fast_interval > check.interval:
        found.error(
            (*path, "fast_interval"),
            f"{duration_text(check.fast_interval)} is slower than interval ({duration_text(check.interval)})",
        )
    _limits(found, path, check)
    if isinstance(check, (LinkCheck, FileCheck, BfdCheck)):
        # no packet is sent that could be lost or be late
        return
    if check.timeout > check.fall * check.interval:
        found.warn(
            (*path, "timeout"),
            f"{duration_text(check.timeout)} is more than fall x interval "
            f"({duration_text(check.fall * check.interval)}): the timeout, not the threshold, decides how soon "
            "a silent target is found",
        )
    if check.fall == 1:
        found.warn((*path, "fall"), "1 lets a single lost packet change the verdict")


def _limits(found: Findings, path: Path, check: TimedCheck) -> None:
    if isinstance(check, (LinkCheck, FileCheck)):
        for key in ("loss", "latency", "jitter"):
            if getattr(check, key) is not None:
                found.error((*path, key), f"a {path[-1]} check sends no packet that could be lost or late")
    limits = limits_of(check)
    if limits.failures is not None and 100 * check.fall > limits.failures.above * limits.window:
        found.warn(
            (*path, "failures"),
            f"{check.fall} failures in a row (fall) are more than {limits.failures.above:g} % of {limits.window} "
            "results (window): the share decides before `fall` does",
        )
    if limits.loss is not None and limits.loss.above * limits.window < 100:
        found.warn(
            (*path, "loss"),
            f"a single lost probe of {limits.window} (window) is above {limits.loss.above:g} %",
        )


def http(found: Findings) -> None:
    """Backends are addresses: a certificate needs a name to be compared with."""
    for path, section in sections(found):
        check = section.https
        if isinstance(check, HttpsCheck):
            if check.verify and not check.server_name and not check.host and name_of(check) is None:
                found.error((*path, "https"), "needs host or server_name: the certificate is compared with that name")
            if not check.verify:
                found.warn((*path, "https", "verify"), "false: a wrong or expired certificate is not noticed")
            if not check.verify and check.ca_file is not None:
                found.error((*path, "https", "ca_file"), "has no effect with verify: false")
        for kind in ("http", "https"):
            one = getattr(section, kind)
            if one is not None and not one.status:
                found.error((*path, kind, "status"), "is empty: no answer would be good")


def large_icmp(found: Findings) -> None:
    """Echoes above the usual MTU travel in fragments."""
    for path, section in sections(found):
        if section.icmp is not None and section.icmp.payload_bytes > MAX_ICMP_UNFRAGMENTED:
            found.warn(
                (*path, "icmp", "payload_bytes"),
                f"{section.icmp.payload_bytes} does not fit in one packet of 1500 bytes: it is sent in fragments",
            )


RULES = (one_kind, names, something_is_checked, links, only_links, timing, http, large_icmp)
