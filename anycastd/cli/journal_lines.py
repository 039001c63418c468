"""Entries of the journal as lines for a terminal."""

from __future__ import annotations

from typing import Any

from anycastd.cli.render import painted

Json = dict[str, Any]


def _at(entry: Json) -> str:
    return str(entry["at"]).replace("T", " ").rstrip("Z")


def decision_line(one: Json, *, colour: bool) -> str:
    """Return one decision: number, time, prefix, levels, why, what holds it."""
    level = painted(one["level"], colour)
    change = f"{one['before']} -> {level}" if one["before"] not in (None, one["level"]) else level
    hold = f", held by {one['hold']}" if one["hold"] else ""
    detail = f": {one['detail']}" if one["detail"] else ""
    return f"{one['number']:>7}  {_at(one)}  {one['prefix']}  {change}  {one['reason']}{hold}{detail}"


def entry_line(one: Json, *, colour: bool) -> str:
    """Return one entry of any kind."""
    number = "-" if one["number"] is None else one["number"]
    after = painted(one["after"], colour) if one["after"] else ""
    change = (
        f"  {one['before']} -> {after}"
        if one["before"] and one["before"] != one["after"]
        else f"  {after}"
        if after
        else ""
    )
    why = ", held by ".join(word for word in (one["reason"], one["hold"]) if word)
    detail = f": {one['detail']}" if one["detail"] and why else f"  {one['detail']}" if one["detail"] else ""
    return f"{number:>7}  {_at(one)}  {one['kind']:<13}  {one['subject']}{change}{'  ' if why else ''}{why}{detail}"


def gap_line(one: Json) -> str:
    """Return what a reader of events is told that it does not get."""
    span = f" ({one['first']} to {one['last']})" if one["first"] and one["last"] else ""
    count = f"{one['lost']} " if one["lost"] else ""
    return f"      -  {count}events are missing here{span}: {one['reason']}: {one['detail']}"


def whole_lines(one: Json, *, colour: bool) -> list[str]:
    """Return a decision with the rules that spoke and what was known."""
    decision, facts, memory = one["decision"], one["facts"], one["memory"]
    lines = [decision_line(one, colour=colour)]
    width = max((len(step["rule"]) for step in decision["trail"]), default=0)
    for step in decision["trail"]:
        evidence = f": {step['evidence']}" if step["evidence"] else ""
        lines.append(
            f"  rule    {step['rule']:<{width}}  {step['before']} -> {step['after']} ({step['reason']}){evidence}"
        )
    lines += [f"  hint    {hint}" for hint in decision["would_change"]]
    lines += [f"  fact    {name} = {_shown(value)}" for name, value in facts.items() if name != "spec" and value != ""]
    lines += [f"  memory  {name} = {_shown(value)}" for name, value in memory.items() if value is not None]
    return lines


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_shown(one)}" for name, one in value.items())
    if value is None or value == []:
        return "none"
    return f"{value:.3f}" if isinstance(value, float) else str(value).lower() if isinstance(value, bool) else str(value)
