"""What a playbook would do now, in sentences: each step, what it would send to which neighbor, the forecast (S7)."""

from __future__ import annotations

from collections.abc import Iterator

from anycastd.attack.playbook import Run, Taken, shed_of
from anycastd.model.address import NeighborName, Prefix
from anycastd.model.bgp import Route
from anycastd.model.decision import Level
from anycastd.model.spread import Announce, Playbook, PlayMode, Shed, StepKind
from anycastd.policy.desired import route_for
from anycastd.resources.room import forecasts
from anycastd.runtime.control import Control
from anycastd.runtime.spread.sight import Seen, Sights


def plan_lines(
    control: Control,
    sights: Sights,
    book: Playbook,
    prefix: Prefix,
    run: Run,
    seen: Seen,
    prefix_bps: float | None,
    now_s: float,
) -> Iterator[str]:
    """Yield the sentences for one prefix; nothing changes."""
    config, name = control.config, str(prefix)
    came = "it was not measured what comes in" if prefix_bps is None else f"{prefix_bps / 1e6:.1f} Mbit/s come in"
    load = "load not measured" if seen.load_bps is None else f"this POP has {seen.load_bps / 1e6:.1f} Mbit/s"
    yield f"{prefix}: {came}; {load}; {len(run.taken)} steps in force"
    sight = sights.sight(book, prefix, run, seen, prefix_bps, now_s)
    before = shed_of([(book, run)], config.prefixes[prefix].neighbors)
    for number, step in enumerate(book.steps):
        if any(taken.step == number for taken in run.taken):
            continue
        mode = min(step.mode, config.attack.spread.mode).name.lower()
        head = f"{prefix}: step {number + 1} ({mode}), {step}"
        if why := sight.useless.get(number) or ("it is switched off" if mode == PlayMode.OFF.name.lower() else ""):
            yield f"{head}: passed over, {why}"
            continue
        run = Run(taken=(*run.taken, Taken(number, 0.0)))
        after = shed_of([(book, run)], config.prefixes[prefix].neighbors)
        yield f"{head}: {_effect(control, sights, prefix, before, after, seen, step.kind)}"
        if step.kind.sheds and prefix_bps is not None and seen.present:
            for one in forecasts(sights.me, name, seen.present, config.safety.capacity, prefix_bps):
                yield f"{prefix}: step {number + 1}, forecast if all of it moves: {one}"
        if step.kind.sheds:
            yield f"{prefix}: step {number + 1}, room elsewhere: {sight.room.value}, {sight.room_detail}"
        before = after


def _effect(
    control: Control, sights: Sights, prefix: Prefix, before: Shed, after: Shed, seen: Seen, kind: StepKind
) -> str:
    parts = []
    if kind is StepKind.MORE_ANNOUNCERS:
        parts.append(f"calls {', '.join(sights.standbys(prefix, seen.present or {}))}")
    for name in control.config.prefixes[prefix].neighbors:
        was, now = (_route(control, prefix, name, shed) for shed in (before, after))
        if was != now:
            parts.append(f"{name} {_words(was)} -> {_words(now)}")
    return "; ".join(parts) or "no neighbor is sent anything else"


def _route(control: Control, prefix: Prefix, name: NeighborName, shed: Shed) -> Route | None:
    """Return what a neighbor would be sent at NORMAL."""
    neighbor, spec = control.config.neighbors[name], control.config.prefixes[prefix]
    level = Level.NORMAL
    if name in shed.down:
        level = Level.WITHDRAWN if shed.down[name] else Level.DEPREF
    elif neighbor.announce is Announce.STANDBY and not shed.calls:
        level = Level.WITHDRAWN
    extra = next((one for one in shed.extras if one.neighbor == name), None)
    return route_for(neighbor, spec, level, extra=extra)


def _words(route: Route | None) -> str:
    if route is None:
        return "nothing"
    path = f"as-path [{' '.join(map(str, route.as_path))}]"
    inside = f"local preference {route.local_preference}"
    tags = f" communities {' '.join(route.communities)}" if route.communities else ""
    return (path if route.local_preference is None else inside) + tags
