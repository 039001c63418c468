"""Plans for tests, made and drawn."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st

from anycastd.attack.plan import Announcement, Effects, Plan, PlannedAttack, PlannedPop

NAMES = ("ams", "fra", "iad", "sin", "gru", "syd")
share = st.floats(0, 1)


def pop(name: str, gbit: float, catchment: float = 0.0, usual: float = 0.0, **more: object) -> PlannedPop:
    """Return a POP of so many Gbit/s."""
    one = PlannedPop(name=name, capacity_bps=gbit * 1e9, catchment=catchment, usual_bps=usual * 1e9)
    return replace(one, **more)  # type: ignore[arg-type]


def plan(*pops: PlannedPop, gbit: float, **sources: float) -> Plan:
    """Return a plan with an attack of so many Gbit/s, from where the clients are unless said."""
    by_name = {one.name: one for one in pops}
    from_ = sources or {name: one.catchment for name, one in by_name.items() if not one.standby}
    return Plan(pops=by_name, attack=PlannedAttack(bps=gbit * 1e9, pps=0.0, sources=from_))


def _of_sum_one(draw: st.DrawFn, names: list[str]) -> dict[str, float]:
    weights = [draw(st.integers(0, 9)) for _ in names]
    total = sum(weights)
    return {name: weight / total if total else 1 / len(names) for name, weight in zip(names, weights, strict=True)}


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """Draw a plan of up to six POPs; what is known of them is anything from nothing to everything."""
    names = list(NAMES[: draw(st.integers(1, 6))])
    normal = names[: draw(st.integers(1, len(names)))]
    catchments, sources = _of_sum_one(draw, normal), _of_sum_one(draw, normal)
    found = {}
    for name in names:
        others = [other for other in names if other != name]
        is_known: bool = draw(st.booleans())
        effects = Effects(
            withdrawn=_of_sum_one(draw, others) if others and is_known else {},
            prepend={1: draw(share)} if draw(st.booleans()) else {},
            communities={"known": draw(share)},
            neighbors={"one": 0.25, "two": 0.75},
            joins={other: draw(share) for other in normal} if name not in normal and draw(st.booleans()) else {},
        )
        found[name] = PlannedPop(
            name=name,
            capacity_bps=draw(st.floats(1e6, 1e12)),
            capacity_pps=draw(st.sampled_from([0.0, 1e6])),
            usual_bps=draw(st.floats(0, 1e11)) if name in normal else 0.0,
            usual_pps=draw(st.floats(0, 1e7)) if name in normal else 0.0,
            catchment=catchments.get(name, 0.0),
            standby=name not in normal,
            effects=effects,
        )
    return Plan(pops=found, attack=PlannedAttack(bps=draw(st.floats(0, 1e12)), pps=draw(share) * 1e8, sources=sources))


@st.composite
def announcements(draw: st.DrawFn, of: Plan) -> Announcement:
    """Draw anything that a playbook or a cascade can make of a plan's announcement."""
    names = list(of.pops)
    some: st.SearchStrategy[list[str]] = st.lists(st.sampled_from(names), unique=True)
    return Announcement(
        joined=tuple(name for name in draw(some) if of.pops[name].standby),
        shunned={name: frozenset(draw(st.sets(st.sampled_from(["one", "two"])))) for name in draw(some)},
        communities={name: frozenset({draw(st.sampled_from(["known", "other"]))}) for name in draw(some)},
        prepends={name: draw(st.integers(0, 3)) for name in draw(some)},
        withdrawn=frozenset(draw(some)),
    )
