"""Entries of the journal as lines for a terminal."""

from __future__ import annotations

from typing import Any

from anycastd.cli.render import painted, wrapped

Json = dict[str, Any]
INDENT = 34
"""Where the subject begins, behind number and time: a line too wide for the terminal goes on there."""


def _at(entry: Json) -> str:
    return str(entry["at"]).replace("T", " ").rstrip("Z")


def decision_line(one: Json) -> str:
    """Return one decision: number, time, prefix, levels, why, what holds it."""
    change = f"{one['before']} -> {one['level']}" if one["before"] not in (None, one["level"]) else one["level"]
    hold = f", held by {one['hold']}" if one["hold"] else ""
    detail = f": {one['detail']}" if one["detail"] else ""
    return f"{one['number']:>7}  {_at(one)}  {one['prefix']}  {change}  {one['reason']}{hold}{detail}"


def decision_lines(one: Json, *, colour: bool) -> list[str]:
    """Return one decision as lines that fit the terminal; in a pipe it is one."""
    return _fitted(decision_line(one), one["level"], colour)


def entry_lines(one: Json, *, colour: bool) -> list[str]:
    """Return one entry of any kind as lines that fit the terminal; in a pipe it is one."""
    return _fitted(entry_line(one), one["after"], colour)


def _fitted(line: str, word: str, colour: bool) -> list[str]:
    """Wrap a line, then paint the word of its new state: colours have no width."""
    first, *others = wrapped(line, INDENT)
    if not colour or not word:
        return [first, *others]
    before, gap, after = first.partition(f"  {word}  ")
    arrow = f"-> {word}"
    if gap:
        return [f"{before}  {painted(word, colour)}  {after}", *others]
    return [first.replace(arrow, f"-> {painted(word, colour)}", 1), *others]


def entry_line(one: Json) -> str:
    """Return one entry of any kind."""
    number = "-" if one["number"] is None else one["number"]
    after = one["after"] or ""
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
    lines = decision_lines(one, colour=colour)
    width = max((len(step["rule"]) for step in decision["trail"]), default=0)
    told: list[str] = []
    for step in decision["trail"]:
        evidence = f": {step['evidence']}" if step["evidence"] else ""
        told.append(
            f"  rule    {step['rule']:<{width}}  {step['before']} -> {step['after']} ({step['reason']}){evidence}"
        )
    told += [f"  hint    {hint}" for hint in decision["would_change"]]
    told += [f"  fact    {name} = {_shown(value)}" for name, value in facts.items() if name != "spec" and value != ""]
    told += [f"  memory  {name} = {_shown(value)}" for name, value in memory.items() if value is not None]
    return lines + [part for line in told for part in wrapped(line, 10)]


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_shown(one)}" for name, one in value.items())
    if value is None or value == []:
        return "none"
    return f"{value:.3f}" if isinstance(value, float) else str(value).lower() if isinstance(value, bool) else str(value)
