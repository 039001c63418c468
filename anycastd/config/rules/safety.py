"""Settings of the safety rules that do not fit together."""

from __future__ import annotations

from anycastd.config.rules.findings import Findings
from anycastd.config.values.eip import rate_text


def other_pops(found: Findings) -> None:
    """The POPs that would take our traffic are others, and are not full already."""
    own = found.root.pop.name if found.root.pop is not None else None
    for name, pop in found.root.safety.capacity.pops.items():
        path = ("safety", "capacity", "pops", name)
        if name == own:
            found.error(path, "is this POP itself", at_key=True)
        if pop.usual is not None and pop.usual > pop.capacity:
            found.error((*path, "usual"), f"{rate_text(pop.usual)} is more than the capacity")


def return_prepends(found: Findings) -> None:
    """The steps of a return fall from the whole prepend, else a step up would be one down."""
    for path, _, section in found.prefixes():
        before = section.depref_prepend
        for number, prepend in enumerate(section.return_prepends):
            if prepend >= before:
                what = "depref_prepend" if number == 0 else "the step before"
                found.error((*path, "return_prepends", number), f"{prepend} is not less than {what} ({before})")
            before = prepend


RULES = (other_pops, return_prepends)
"""Of the whole file first, then of each prefix."""
