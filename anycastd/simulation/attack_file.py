"""Read a plan for `anycastd simulate attack`: every mistake at once, with its line and column."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from anycastd.attack.ladder import joining, marking, prepending, shunning
from anycastd.attack.plan import MOST_PREPENDS, Effects, Plan, PlannedAttack, PlannedPop, Step
from anycastd.config.document import Document, Path, Value, parse
from anycastd.config.near import did_you_mean
from anycastd.config.reading import Reading
from anycastd.config.shown import shown
from anycastd.config.source import read_text
from anycastd.errors import ConfigError
from anycastd.simulation.plan_values import (
    ANNOUNCE,
    BITS,
    NAME,
    PACKETS,
    SHARE,
    SOME_BITS,
    SOME_PACKETS,
    TIMES,
    WORD,
)

MAX_POPS = 100
SUM_SLACK = 0.011
"""So far may shares be from 1 in sum: thirds are written as 33 %."""

POP_KEYS = ("capacity", "capacity_packets", "usual", "usual_packets", "catchment", "announce")
EFFECT_KEYS = ("withdrawn", "prepend", "communities", "neighbors", "joins")
STEP_KEYS = ("more_announcers", "selective_neighbors", "communities", "prepend")


def load(path: str, *, usual_bps: Mapping[str, float] | None = None) -> Plan:
    """Return the plan of a file; raise ConfigError with every problem found.

    `usual_bps`: what each POP was measured to carry; it replaces what the file says of usual traffic and catchments.
    """
    return read(parse(read_text(path), path), usual_bps=usual_bps)


def read(document: Document, *, usual_bps: Mapping[str, float] | None = None) -> Plan:
    """Return the plan of a document; raise ConfigError with every problem found."""
    reading = _PlanReading(document, usual_bps)
    plan = reading.plan()
    if reading.problems or plan is None:
        raise ConfigError(tuple(sorted(set(reading.problems))))
    return plan


class _PlanReading(Reading):
    """Reads one plan; what is wrong is noted and left out."""

    def __init__(self, document: Document, usual_bps: Mapping[str, float] | None) -> None:
        super().__init__(document)
        self._measured = usual_bps
        self._pops: dict[str, PlannedPop] = {}

    def plan(self) -> Plan | None:
        """Return the plan, of which only a document without problems makes sense."""
        root = self.document.value
        if not root and self.problems:
            return None
        self.known((), root, ("attack", "pops", "effects", "steps"))
        self._pops = {pop.name: pop for pop in self._read_pops()}
        if not self._pops:
            return None
        self._share_out()
        for name, effects in self._effects():
            self._pops[name] = replace(self._pops[name], effects=effects)
        attack = self._attack()
        steps = tuple(self._steps(root.get("steps")))
        return None if attack is None else Plan(pops=self._pops, attack=attack, steps=steps)

    def _read_pops(self) -> Iterator[PlannedPop]:
        written = self.mapping(("pops",))
        if not written and ("pops",) not in self.document.empty | self.wronged:
            self.wrong(("pops",), "is missing or empty: a plan needs the POPs", at_key=True)
        if len(written) > MAX_POPS:
            self.wrong(("pops",), f"{len(written)} POPs; {MAX_POPS} at most", at_key=True)
        for name in written:
            path: Path = ("pops", name)
            self.value(path, name, NAME, at_key=True)
            pop = self.mapping(path)
            if not pop and path in self.wronged:
                continue
            self.known(path, pop, POP_KEYS)
            values = {key: self.value((*path, key), pop.get(key), kind) for key, kind in _POP_KINDS.items()}
            capacity_bps = self.needed(path, pop, "capacity", BITS)
            standby = bool(values["announce"])
            if standby:
                for key in ("usual", "usual_packets", "catchment"):
                    if key in pop:
                        self.wrong((*path, key), "a standby POP has none until it joins", at_key=True)
            yield PlannedPop(
                name=name,
                capacity_bps=capacity_bps or 1.0,
                capacity_pps=values["capacity_packets"] or 0.0,
                usual_bps=values["usual"] or 0.0,
                usual_pps=values["usual_packets"] or 0.0,
                catchment=values["catchment"] or 0.0,
                standby=standby,
            )

    def _share_out(self) -> None:
        """Give each POP its catchment: as measured, as written, or as its usual traffic has it."""
        normal = [name for name, pop in self._pops.items() if not pop.standby]
        if not normal:
            self.wrong(("pops",), "all are standby: nobody announces", at_key=True)
            return
        if self._measured is not None:
            for name in normal:
                self._pops[name] = replace(self._pops[name], usual_bps=self._measured.get(name, 0.0), usual_pps=0.0)
        written = [name for name in normal if "catchment" in self.mapping(("pops", name))]
        if self._measured is None and written:
            for name in normal:
                if name not in written:
                    self.wrong(("pops", name), "'catchment' is missing: the others have one", at_key=True)
            self._sum_of(("pops",), {name: self._pops[name].catchment for name in written}, "the catchments")
            total = sum(self._pops[name].catchment for name in normal)
            shares = {name: self._pops[name].catchment for name in normal}
        else:
            shares = {name: self._pops[name].usual_bps for name in normal}
            total = sum(shares.values())
            if not total:
                what = "no traffic was measured" if self._measured is not None else "neither 'catchment' nor 'usual'"
                self.wrong(("pops",), f"{what}: who reaches which POP is not known", at_key=True)
        for name in normal:
            self._pops[name] = replace(self._pops[name], catchment=shares[name] / total if total else 0.0)

    def _attack(self) -> PlannedAttack | None:
        path: Path = ("attack",)
        attack = self.mapping(path)
        if not attack and path not in self.document.empty | self.wronged:
            self.wrong((), "'attack' is missing: its size is needed", at_key=True)
            return None
        self.known(path, attack, ("size", "packets", "sources"))
        bps = self.needed(path, attack, "size", BITS)
        pps = self.value((*path, "packets"), attack.get("packets"), SOME_PACKETS) or 0.0
        normal = [name for name, pop in self._pops.items() if not pop.standby]
        sources = self._shares((*path, "sources"), normal, "announces", whole=True)
        if not sources:
            sources = {name: self._pops[name].catchment for name in normal}
        return None if bps is None else PlannedAttack(bps=bps, pps=pps, sources=sources)

    def _effects(self) -> Iterator[tuple[str, Effects]]:
        for name in self.mapping(("effects",)):
            path: Path = ("effects", name)
            effects = self.mapping(path)
            if not self._is_pop(path, name, at_key=True):
                continue
            self.known(path, effects, EFFECT_KEYS)
            others = [other for other in self._pops if other != name]
            if "joins" in effects and not self._pops[name].standby:
                self.wrong((*path, "joins"), f"{name} is not standby: it announces already", at_key=True)
            yield (
                name,
                Effects(
                    withdrawn=self._shares((*path, "withdrawn"), others, "is another POP", whole=True),
                    prepend=self._prepend_effects(path, effects.get("prepend")),
                    communities=self._shares((*path, "communities"), None, ""),
                    neighbors=self._shares((*path, "neighbors"), None, "", whole=True),
                    joins=self._shares((*path, "joins"), [o for o in others if not self._pops[o].standby], "announces"),
                ),
            )

    def _prepend_effects(self, path: Path, value: Value) -> dict[int, float]:
        place = (*path, "prepend")
        if value is None:
            return {}
        if not isinstance(value, list) or not 1 <= len(value) <= MOST_PREPENDS:
            self.wrong(place, f"a list of up to {MOST_PREPENDS} shares is wanted: what leaves with 1, 2, 3 prepends")
            return {}
        shares = [self.value((*place, number), one, SHARE) for number, one in enumerate(value)]
        return {number: share for number, share in enumerate(shares, 1) if share is not None}

    def _shares(self, path: Path, names: list[str] | None, what: str, *, whole: bool = False) -> dict[str, float]:
        """Return a mapping of names to shares; with `whole` they must be 100 % in sum, and are made exactly that."""
        found: dict[str, float] = {}
        mapping = self.mapping(path)
        for name, value in mapping.items():
            place = (*path, name)
            if names is not None and name not in names:
                hint = did_you_mean(name, names) or f"; known here: {', '.join(names)}"
                self.wrong(place, f"no POP called {shown(name)} {what}{hint}", at_key=True)
            elif (share := self.value(place, value, SHARE)) is not None:
                found[name] = share
        if whole and found and len(found) == len(mapping):
            return self._sum_of(path, found, "the shares")
        return found

    def _sum_of(self, path: Path, shares: dict[str, float], what: str) -> dict[str, float]:
        total = sum(shares.values())
        if abs(total - 1) > SUM_SLACK:
            self.wrong(path, f"{what} are {total:.6g}".rstrip("0") + " of 1 in sum: they must be 100%", at_key=True)
            return shares
        return {name: share / total for name, share in shares.items()}

    def _steps(self, written: Value) -> Iterator[Step]:
        if written is None:
            return
        if not isinstance(written, list):
            self.wrong(("steps",), f"a list is wanted here, not {shown(written)}")
            return
        for number, value in enumerate(written):
            path: Path = ("steps", number)
            if not isinstance(value, dict) or len(value) != 1:
                self.wrong(path, f"one of {', '.join(STEP_KEYS)} is wanted here")
                continue
            self.known(path, value, STEP_KEYS)
            yield from self._step(path, *next(iter(value.items())))

    def _step(self, path: Path, kind: str, value: Value) -> Iterator[Step]:
        place = (*path, kind)
        if kind == "more_announcers":
            names = self._names(place, value)
            for number, name in enumerate(names):
                if self._is_pop((*place, number), name) and not self._pops[name].standby:
                    self.wrong((*place, number), f"{name} is not standby: it announces already")
            yield joining(tuple(name for name in names if name in self._pops and self._pops[name].standby))
        elif kind in STEP_KEYS:
            by_pop = {
                name: one
                for name, one in self.mapping(place).items()
                if self._is_pop((*place, name), name, at_key=True)
            }
            if kind == "prepend":
                read = {name: self.value((*place, name), one, TIMES) for name, one in by_pop.items()}
                yield prepending({name: times for name, times in read.items() if times is not None})
            elif kind == "communities":
                yield marking({name: frozenset(self._words((*place, name), one)) for name, one in by_pop.items()})
            else:
                yield shunning(
                    {name: frozenset(self._shunned((*place, name), name, one)) for name, one in by_pop.items()}
                )

    def _shunned(self, path: Path, pop: str, value: Value) -> Iterator[str]:
        neighbors = self._pops[pop].effects.neighbors
        if not neighbors:
            self.wrong(
                path, f"which share comes in by which neighbor is not known: effects.{pop}.neighbors", at_key=True
            )
        for number, name in enumerate(self._names(path, value)):
            if neighbors and name not in neighbors:
                hint = did_you_mean(name, neighbors)
                self.wrong((*path, number), f"effects.{pop}.neighbors has no {shown(name)}{hint}")
            else:
                yield name

    def _words(self, path: Path, value: Value) -> Iterator[str]:
        for number, one in enumerate(value if isinstance(value, list) else [value]):
            word = self.value((*path, number) if isinstance(value, list) else path, one, WORD)
            if word is not None:
                yield word

    def _names(self, path: Path, value: Value) -> list[str]:
        if not isinstance(value, list) or not value:
            self.wrong(path, "a list of names is wanted here")
            return []
        read = [self.value((*path, number), one, NAME) for number, one in enumerate(value)]
        return [name for name in read if name is not None]

    def _is_pop(self, path: Path, name: str, *, at_key: bool = False) -> bool:
        if name in self._pops:
            return True
        self.wrong(path, f"no POP is called {shown(name)}{did_you_mean(name, self._pops)}", at_key=at_key)
        return False


_POP_KINDS = {
    "capacity_packets": PACKETS,
    "usual": SOME_BITS,
    "usual_packets": SOME_PACKETS,
    "catchment": SHARE,
    "announce": ANNOUNCE,
}
