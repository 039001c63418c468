"""Why one prefix is announced as it is (I8): the same answer as data and as lines of text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from anycastd.api.views.advice import advice
from anycastd.api.views.checks import check
from anycastd.api.views.kernel_facts import kernel_facts, kernel_lines
from anycastd.api.views.moments import Json, age_s, clock, iso, span
from anycastd.api.views.neighbors import difference, route, words
from anycastd.api.views.prefixes import preference, prefix, why
from anycastd.api.views.seen import other_lines, others
from anycastd.model.address import NeighborName, Prefix, family_of
from anycastd.model.bgp import Route, SessionState
from anycastd.model.checks import ProbeSpec
from anycastd.model.decision import Level, PrefixState
from anycastd.model.health import Health
from anycastd.model.status import FailoverTimer, PrefixView, Status
from anycastd.policy.condition import carries, counted

MAX_CHECK_LINES = 12
"""Failing checks come first; what is left out is counted in a line of its own."""
_ORDER = {Health.UNHEALTHY: 0, Health.UNKNOWN: 1, Health.INITIAL: 2, Health.DEGRADED: 3, Health.HEALTHY: 4}


def explain(status: Status, view: PrefixView) -> Json:
    """Return everything that made the decision, with `text`: the lines a terminal shows."""
    sent = _sent(status, view)
    observed = _observed(status, view)
    checks = _checks(status, view.prefix)
    health = _health(status, view)
    kernel = kernel_facts(status, view)
    do = advice(view, checks)
    lines = [headline(status, view)]
    lines += _block("why", [why(status, view.decision)] if do else [])
    lines += _block("do", do)
    lines += _block("checks", _check_lines(checks))
    lines += _block("self-test", [_self_test_line(status)])
    lines += _block("health", [entry["text"] for entry in health])
    lines += _block("rules", _rule_lines(status, view))
    seen = others(status, view.prefix)
    lines += _block("fleet", other_lines(status, seen))
    lines += _block("sent", [entry["text"] for entry in sent])
    lines += _block("observed", [entry["text"] for entry in observed])
    lines += _block("kernel", kernel_lines(kernel))
    lines.append(_would_change_line(view))
    return {
        "prefix": prefix(status, view),
        "headline": lines[0],
        "advice": do,
        "checks": checks,
        "self_test": _self_test(status),
        "health": health,
        "rules": _rules(view),
        "others": seen,
        "sent": sent,
        "observed": observed,
        "kernel": kernel,
        "would_change": list(view.decision.would_change),
        "text": lines,
    }


def headline(status: Status, view: PrefixView) -> str:
    """Return the first line: what is done with the prefix, to whom, since when."""
    decision, name = view.decision, str(view.prefix)
    when = f"since {clock(status, decision.since_s, milliseconds=False)}"
    when = f"{when} ({span(age_s(status, decision.since_s))})"
    level = preference(status, view.prefix, decision.level, decision.prepend)
    if view.state is PrefixState.ANNOUNCED:
        return f"{name} is announced at preference {level} to {_listed(view.confirmed)} {when}"
    if view.state is PrefixState.PENDING and decision.level is Level.WITHDRAWN:
        return f"{name} is not announced yet {when}"
    said = {
        PrefixState.PENDING: f"is being announced at preference {level}",
        PrefixState.WITHDRAWING: "is being withdrawn",
        PrefixState.WITHDRAWN: "is withdrawn",
        PrefixState.FAILED: f"is wanted at preference {level}, and no established neighbor has it,",
    }[view.state]
    return f"{name} {said} {when}"


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"


def _block(title: str, lines: Iterable[str]) -> list[str]:
    return [f"  {title if number == 0 else '':<10} {line}" for number, line in enumerate(lines)]


def _checks(status: Status, wanted: Prefix) -> list[Json]:
    """Return the checks that count for the prefix: of its regions, through tunnels of its family; worst first."""
    spec = status.config.prefixes.get(wanted)
    family = family_of(wanted)
    regions = set(counted(status.config, spec.announce_when, family)) if spec else set()

    def counts(probe: ProbeSpec) -> bool:
        if probe.region not in regions or probe.tunnel is None:
            return False
        return probe.backend is not None or carries(status.config.tunnels[probe.tunnel], family)

    found = [check(status, probe) for probe in status.config.probes if counts(probe)]
    return sorted(found, key=lambda entry: _ORDER[Health(entry["health"])])


def _check_lines(checks: list[Json]) -> list[str]:
    if not checks:
        return ["none count for this prefix"]
    shown = checks[:MAX_CHECK_LINES]
    rows = [(_subject(entry), entry["check"], entry["health"], _told(entry), _at(entry)) for entry in shown]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = ["  ".join([*(row[i].ljust(widths[i]) for i in range(4)), row[4]]).rstrip() for row in rows]
    if len(checks) > len(shown):
        rest = checks[len(shown) :]
        passing = sum(entry["health"] == Health.HEALTHY.value for entry in rest)
        lines.append(f"and {len(rest)} more, {'all' if passing == len(rest) else passing} passing")
    return lines


def _subject(entry: Json) -> str:
    tunnel = str(entry["tunnel"])
    return tunnel if entry["backend"] is None else f"{entry['backend']} via {tunnel.rpartition('/')[2]}"


def _told(entry: Json) -> str:
    """Return how the newest telling probe ended: the last failure of what is unhealthy, else the last result."""
    if over := entry["window"]["exceeded"]:
        return ", ".join(_over(one) for one in over)
    last = entry["last_failure"] if entry["health"] == Health.UNHEALTHY.value else entry["last"]
    if last is None:
        return "no result yet"
    if last["outcome"] == "ok":
        latency_ms = entry["latency_ms"] if entry["latency_ms"] is not None else last["latency_ms"]
        return f"{latency_ms:.1f} ms"
    text = str(last["why"]).replace("_", " ")
    return f"{text} ({last['detail']})" if last["detail"] else text


def _over(one: Json) -> str:
    value = "" if one["value"] is None else f" {one['value']:.3g} {one['unit']}"
    return f"{one['measure']}{value} above {one['limit']:g} {one['unit']} for {span(one['age_s'])}"


def _at(entry: Json) -> str:
    if entry["health"] in (Health.UNHEALTHY.value, Health.DEGRADED.value):
        return f"since {str(entry['since'])[11:23]}"
    return "" if entry["last"] is None else str(entry["last"]["at"])[11:23]


def _self_test(status: Status) -> Json:
    test = status.health.self_test
    return {
        "health": test.health.value,
        "suspect": test.suspect_until_s is not None,
        "suspect_until": iso(status, test.suspect_until_s),
        "detail": test.detail,
    }


def _self_test_line(status: Status) -> str:
    test = status.health.self_test
    if not status.config.self_test.probes:
        return "not configured: our own fault cannot be told from theirs"
    if test.suspect_until_s is not None:
        return f"SUSPECT  {test.detail or 'many targets failed together, and a self-test target'}"
    said = {
        Health.HEALTHY: "ok         its targets answer: the fault is not this machine",
        Health.DEGRADED: "DEGRADED   its targets answer, but not well",
        Health.UNHEALTHY: "FAILING    its targets do not answer",
        Health.UNKNOWN: "UNKNOWN    its checks cannot run",
        Health.INITIAL: "PENDING    no verdict yet",
    }[test.health]
    return f"{said}; {test.detail}" if test.detail else said


def _health(status: Status, view: PrefixView) -> list[Json]:
    """Return the POP's fault scope and each region that counts."""
    spec = status.config.prefixes.get(view.prefix)
    names = counted(status.config, spec.announce_when, family_of(view.prefix)) if spec else ()
    fault, detail = status.health.fault, status.health.fault_detail
    told = f"{fault.value}: {detail}" if detail else fault.value
    pop = status.config.pop.name
    entries = [{"subject": f"pop {pop}", "health": "", "text": f"pop {pop}: fault {told}"}]
    for name in names:
        region = status.health.regions[name]
        text = (
            f"region {name}: {region.health.value}  {region.healthy_tunnels} of {region.total_tunnels} tunnels, "
            f"{region.healthy_backends} of {region.total_backends} backends healthy"
        )
        if region.degraded_tunnels or region.degraded_backends:
            text += (
                f"; degraded: {region.degraded_tunnels} of {region.total_tunnels} tunnels, "
                f"{region.degraded_backends} of {region.total_backends} backends"
            )
        if region.detail:
            text += f"; {region.detail}"
        entries.append({"subject": f"region {name}", "health": region.health.value, "text": text})
    return entries


def _rules(view: PrefixView) -> list[Json]:
    return [
        {
            "rule": step.rule,
            "reason": step.reason.value,
            "before": step.before.name,
            "after": step.after.name,
            "holds": step.reason.holds,
            "evidence": step.evidence,
        }
        for step in view.decision.trail
    ]


def _rule_lines(status: Status, view: PrefixView) -> list[str]:
    trail = view.decision.trail
    if not trail:
        return ["no rule had anything to say"]
    width = max(len(step.rule) for step in trail)
    lines = []
    for step in trail:
        level = preference(status, view.prefix, step.after)
        hold = "HOLD at " if step.reason.holds else ""
        evidence = f": {step.evidence}" if step.evidence else ""
        lines.append(f"{step.rule:<{width}} -> {hold}{level} ({step.reason.value}){evidence}")
    return lines


def _last_change(status: Status, wanted: Prefix) -> FailoverTimer | None:
    mine = [timer for timer in status.timers if timer.prefix == wanted]
    return max(mine, key=lambda timer: timer.decided_s, default=None)


def _grouped(routes: Mapping[NeighborName, Route]) -> dict[Route, list[str]]:
    groups: dict[Route, list[str]] = {}
    for name, value in routes.items():
        groups.setdefault(value, []).append(name)
    return groups


def _sent(status: Status, view: PrefixView) -> list[Json]:
    """Return the routes wanted now, and the last change on its way through the daemon."""
    wanted = {name: per[view.prefix] for name, per in status.wanted_routes.items() if view.prefix in per}
    entries: list[Json] = [
        {"neighbors": names, "route": route(value), "text": f"announce {words(value)} to {_listed(names)}"}
        for value, names in _grouped(wanted).items()
    ]
    if not entries:
        text = "withdrawn: nothing is to be sent" if view.carriers else "no neighbor carries this prefix"
        entries.append({"neighbors": list(view.carriers), "route": None, "text": text})
    if timer := _last_change(status, view.prefix):
        entries.append({"timer": _timer(status, timer), "text": _timer_text(status, timer)})
    return entries


def _timer(status: Status, timer: FailoverTimer) -> Json:
    return {
        "change": timer.change,
        "seen_at": iso(status, timer.seen_s),
        "decided_at": iso(status, timer.decided_s),
        "commanded_at": iso(status, timer.commanded_s),
        "acknowledged_at": iso(status, timer.acknowledged_s),
    }


def _timer_text(status: Status, timer: FailoverTimer) -> str:
    parts = [f"{clock(status, timer.seen_s)} {timer.change}"]
    parts.append(f"decided {_ms(timer.decided_s - timer.seen_s)} after it was seen")
    if timer.commanded_s is not None:
        parts.append(f"commanded {_ms(timer.commanded_s - timer.decided_s)} later")
    if timer.acknowledged_s is not None and timer.commanded_s is not None:
        parts.append(f"acknowledged after {_ms(timer.acknowledged_s - timer.commanded_s)}")
    else:
        parts.append("not acknowledged yet")
    return ", ".join(parts)


def _ms(seconds: float) -> str:
    return f"{seconds * 1000.0:.1f} ms"


def _observed(status: Status, view: PrefixView) -> list[Json]:
    """Return per neighbor what ExaBGP says it sends, against what is wanted."""
    if status.bgp.routes is None:
        return [{"neighbor": None, "as_wanted": None, "text": "ExaBGP has not said what it sends"}]
    entries = []
    for name in (NeighborName(carrier) for carrier in view.carriers):
        wanted = status.wanted_routes.get(name, {}).get(view.prefix)
        have = status.bgp.routes.get(name, {}).get(view.prefix)
        parted = difference(wanted, have)
        session = status.bgp.sessions.get(name)
        up = session is not None and session.state is SessionState.ESTABLISHED
        text = f"{name}: {parted or 'as wanted'}"
        if not up:
            state = session.state.value if session else "unknown"
            text += f"; session {state}" + (f" ({session.reason})" if session and session.reason else "")
        entries.append({"neighbor": name, "as_wanted": not parted, "established": up, "text": text})
    if status.bgp.dumped_at_s is not None:
        text = f"last read in full at {clock(status, status.bgp.dumped_at_s, milliseconds=False)}"
        entries.append({"neighbor": None, "as_wanted": None, "text": text})
    return entries


def _would_change_line(view: PrefixView) -> str:
    hints = view.decision.would_change
    return f"  would change it: {'; or '.join(hints) if hints else 'a change of health'}"
