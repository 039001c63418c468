"""What announcements do to catchments where nothing of one's own was measured. Pure.

Source: the measurements published with "Anygility" (USENIX Security 2022), github.com/LMBertholdo/anygility-tangled,
commit 186a2e17: one testbed, one moment, about 3.4 million answering targets; prepends and withdrawals at six sites
(CDG IAD LHR MIA POA SYD), `tools/bgp-tuner/dataset/prepend+withdraw-dataframe.csv`; communities at four (CDG LHR MIA
SYD, about 9,000 targets), `dataset/communities`. Shapes, not laws: each is used with its range.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Range:
    """A share (0 to 1) as it was measured: the median, the least and the most."""

    likely: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.likely:.0%} of a catchment moves ({self.low:.0%} to {self.high:.0%})"


PREPEND = {1: Range(0.79, 0.04, 0.91), 2: Range(0.87, 0.04, 0.92), 3: Range(0.89, 0.04, 0.92)}
"""How much of a site's catchment leaves with so many prepends; six sites each."""

COMMUNITY = Range(0.46, 0.0, 1.0)
"""The same for one provider community; 14 pairs of community and site, two of which drew traffic instead."""

NEIGHBOR = Range(0.5, 0.0, 1.0)
"""How much of what entered by a neighbor leaves the POP when it is depreferenced there, or withdrawn. Not measured."""

JOIN = Range(1.0, 0.43, 1.4)
"""What a site that joins draws, as a multiple of an even share: the six had 7.2 to 23.4 % of all, even is 16.7 %."""

ONE_TAKES = 0.65
"""The most that one neighbor took of a withdrawn site's traffic; the largest taker had 33 to 65 % of it."""

SPREAD_ERROR_POINTS = (6.8, 10.6)
"""Mean and largest error of a spread in proportion to catchments: half the summed differences, points of all."""

SOURCE = "one testbed of six sites, 2022 (docs/attack-planning.md)"
