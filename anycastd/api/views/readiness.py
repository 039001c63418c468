"""`/readyz`: every condition under which this POP does its work, each with its reason."""

from __future__ import annotations

from collections.abc import Iterator

from anycastd.api.views.moments import Json
from anycastd.model.bgp import SessionState, SpeakerState
from anycastd.model.decision import PrefixState, Reason
from anycastd.model.status import Alarm, Status

Condition = tuple[str, bool, str]
_UNDECIDED = frozenset({Reason.FIRST_CHECKS, Reason.OBSERVATION_MISSING, Reason.DATA_PLANE_NOT_READY})


def _data_plane(status: Status) -> Condition:
    if status.kernel.routes is None:
        return "data_plane", False, "the kernel's routes were not read yet"
    missing = status.kernel_missing
    if missing:
        return "data_plane", False, f"{missing} routes or rules of ours are missing in the kernel"
    return "data_plane", True, "every wanted route and rule is in the kernel"


def _packet_filter(status: Status) -> Condition:
    if not status.filter_stands:
        return "packet_filter", False, "the rules of table inet anycastd were not read back as installed"
    if status.filter_missing:
        return "packet_filter", False, f"{status.filter_missing} elements of its sets are not as wanted"
    return "packet_filter", True, "its rules and sets are as wanted"


def _observation(status: Status) -> Condition:
    seen = status.bgp.routes is not None
    return "observation", seen, "what ExaBGP sends is known" if seen else "ExaBGP has not said what it sends"


def _sessions(status: Status) -> Condition:
    # an observer carries no prefix: with it alone nothing is announced
    upstreams = {name for name, neighbor in status.config.neighbors.items() if not neighbor.is_observer}
    states = {name: view.state for name, view in status.bgp.sessions.items() if name in upstreams}
    up = [name for name, state in states.items() if state is SessionState.ESTABLISHED]
    total = len(upstreams)
    return "sessions", bool(up) or total == 0, f"{len(up)} of {total} sessions established"


def _prefixes(status: Status) -> Iterator[Condition]:
    failed = [str(view.prefix) for view in status.prefixes.values() if view.state is PrefixState.FAILED]
    reason = f"wanted and not confirmed: {', '.join(failed)}" if failed else "no prefix has failed"
    yield "prefixes", not failed, reason
    waiting = [
        str(view.prefix)
        for view in status.prefixes.values()
        if view.state is PrefixState.PENDING and view.decision.hold in _UNDECIDED
    ]
    undecided = len(status.config.prefixes) - len(status.prefixes)
    reason = f"waiting for the first decision: {', '.join(waiting)}" if waiting else "every prefix is decided"
    reason = f"{undecided} prefixes have no decision" if undecided > 0 else reason
    yield "decided", not waiting and undecided <= 0, reason


def conditions(status: Status) -> Iterator[Condition]:
    """Yield name, whether it holds, and a sentence."""
    speaker = status.bgp.speaker
    yield "not_stopping", not status.stopping, "stopping" if status.stopping else "running"
    yield "speaker", speaker is SpeakerState.READY, f"ExaBGP is {speaker.value}"
    yield _observation(status)
    yield _sessions(status)
    yield _data_plane(status)
    yield _packet_filter(status)
    yield from _prefixes(status)
    failed = [view.subject for view in status.alarms if view.alarm is Alarm.STAGE_FAILED]
    yield "stages", not failed, f"failed: {', '.join(failed)}" if failed else "every stage runs"


def readiness(status: Status) -> Json:
    """Return whether the POP is ready, and each condition."""
    found = list(conditions(status))
    return {
        "ready": all(ok for _, ok, _ in found),
        "conditions": [{"condition": name, "ok": ok, "reason": reason} for name, ok, reason in found],
    }
