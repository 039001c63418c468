"""Whether what is set against an attack acts where it helps. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from anycastd.doctor.facts import Facts
from anycastd.doctor.finding import Check, Trouble, warning
from anycastd.model.filters import Auto


def _takers(facts: Facts) -> Iterator[Trouble]:
    upstreams = [neighbor for neighbor in facts.config.neighbors.values() if not neighbor.is_observer]
    if facts.config.attack.filter.auto is Auto.APPLY and not any(one.flowspec for one in upstreams):
        mend = "neighbors.NAME.flowspec: true   # ask the transit first"
        yield warning("attack.filter.auto is apply, and no neighbor takes flow rules: they act in this POP only", mend)
    for one in upstreams:
        if one.flowspec and not one.graceful_restart_s:
            mend = f"neighbors.{one.name}.graceful_restart: 120s"
            yield warning(f"{one.name} takes flow rules, and forgets them with each restart of ExaBGP", mend)


FILTERS = (
    Check("filters", "Flow rules reach a neighbor",
          "A flow rule that acts in the POP alone drops what has already filled the uplink.",
          "`flowspec: true` for a neighbor that takes them, with graceful restart (docs/attack.md).", _takers),
)  # fmt: skip
