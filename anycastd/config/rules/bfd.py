"""BFD checks: of tunnels, one session for each far end, with timers that can be kept."""

from __future__ import annotations

from anycastd.config.build.expand import pairs
from anycastd.config.rules.checks import sections
from anycastd.config.rules.findings import Findings
from anycastd.config.values.fields import duration_text
from anycastd.model.checks import Via

SAFE_INTERVAL_S, SAFE_MULTIPLIER = 0.1, 3
_NOT_OF_BFD = {
    "fast_interval": "the far end is never asked more often",
    "window": "a session is up or down, which is no sample of anything",
    "failures": "a session is up or down, which is no sample of anything",
    "loss": "its packets are not counted one by one",
    "latency": "it measures no time",
    "jitter": "it measures no time",
    "target": "the session is with the tunnel's far end",
    "target_family": "the session is with the tunnel's far end",
}


_OURS = ("interval", "multiplier", "multihop", "ttl", "auth")


def meaningless(found: Findings) -> None:
    """What other checks have and a session has not."""
    for path, section in sections(found):
        check = section.bfd
        if check is None:
            continue
        for key, why in _NOT_OF_BFD.items():
            if key in check.model_fields_set:
                found.error((*path, "bfd", key), f"a bfd check has none: {why}")
        for key in _OURS if check.via is not Via.OWN else ():
            if key in check.model_fields_set:
                found.error((*path, "bfd", key), f"is for {check.via.value} to say, which speaks this session")
        if check.ttl is not None and not check.multihop:
            found.error((*path, "bfd", "ttl"), "a single hop always wants 255; ttl is for multihop: true")


def of_tunnels(found: Findings) -> None:
    """A session is with the far end of a tunnel, and there is one."""
    sessions: set[tuple[str, str, bool]] = set()
    for path, use in found.uses():
        section = found.root.checks.get(use) if isinstance(use, str) else use
        if section is None or section.bfd is None:
            continue
        if path[2] != "tunnels":
            found.error(path, "a bfd check is of a tunnel: its far end speaks BFD")
            continue
        if section.bfd.via is not Via.OWN:
            continue
        tunnel = found.root.regions[str(path[1])].tunnels[str(path[3])]
        for here, peer in pairs(tunnel):
            key = (str(here), str(peer), section.bfd.multihop)
            if key in sessions:
                found.error(path, f"there is a session from {here} to {peer} already; it takes one")
            sessions.add(key)


def pace(found: Findings) -> None:
    """Timers that our own lateness, or one lost packet, does not make cry wolf."""
    for path, section in sections(found):
        check = section.bfd
        if check is None:
            continue
        if check.interval < SAFE_INTERVAL_S:
            found.warn(
                (*path, "bfd", "interval"),
                f"{duration_text(check.interval)} is kept only where the process has real-time scheduling "
                "(anycastd-bfd.service); elsewhere 100ms is used",
            )
        if check.multiplier < SAFE_MULTIPLIER:
            found.warn((*path, "bfd", "multiplier"), f"{check.multiplier}: two packets lost in a row are a cut")


def process(found: Findings) -> None:
    """It is said to be silent before it is replaced."""
    section = found.root.bfd
    if section.silent_after >= section.replace_after:
        what = f"{duration_text(section.silent_after)} is not less than replace_after"
        found.error(("bfd", "silent_after"), f"{what} ({duration_text(section.replace_after)})")


RULES = (meaningless, of_tunnels, pace, process)
