"""I7: our own RFC 2439 penalty, kept below what makes a router with default `bgp dampening` suppress a prefix.

One budget a prefix: every neighbor is sent the same changes. Two readings are kept, because routers differ in what
a re-advertisement costs: 0 (limit 2000) or 1000 (limit 3000). A withdrawal pays for its return beforehand, so that
announcing again never has to wait.
"""

from __future__ import annotations

import math
from dataclasses import replace

from anycastd.model.decision import Level, Penalty

WITHDRAWAL = 1000.0
ATTRIBUTE_CHANGE = 500.0
READVERTISEMENT = 1000.0
PLAIN_LIMIT = 2000.0
STRICT_LIMIT = 3000.0
MARGIN = 50.0
"""Stay below the limits by this: a router's figure decays less than ours. FRR counts decay in whole steps of 5 s
(`DELTA_T` in bgpd/bgp_damp.c: up to 7.7 of 2000 are not taken off at each change), and a change that an MRAI timer
(30 s by default, RFC 4271 section 10) held back on the way has decayed up to 46 of 2000 less when the next arrives."""
TOLERANCE = 0.01


def decayed(penalty: Penalty, now_s: float, half_life_s: float) -> Penalty:
    """Return the penalty at `now_s`: halved each `half_life_s` (RFC 2439 section 2.2)."""
    factor = 0.5 ** (max(now_s - penalty.at_s, 0.0) / half_life_s)
    return Penalty(penalty.plain * factor, penalty.strict * factor, now_s)


def charged(
    penalty: Penalty, before: Level, after: Level, *, was_announced: bool, now_s: float, half_life_s: float
) -> Penalty:
    """Return the penalty after a change from one level to another."""
    penalty = decayed(penalty, now_s, half_life_s)
    if before is after:
        return penalty
    if after is Level.WITHDRAWN:
        return replace(penalty, plain=penalty.plain + WITHDRAWAL, strict=penalty.strict + WITHDRAWAL)
    if before is Level.WITHDRAWN:
        return replace(penalty, strict=penalty.strict + READVERTISEMENT) if was_announced else penalty
    return replace(penalty, plain=penalty.plain + ATTRIBUTE_CHANGE, strict=penalty.strict + ATTRIBUTE_CHANGE)


def withdrawal_fits_in_s(penalty: Penalty, now_s: float, half_life_s: float) -> float:
    """Return how many seconds until a withdrawal and its return fit; 0 = now."""
    return _wait_s(penalty, now_s, half_life_s, plain=WITHDRAWAL, strict=WITHDRAWAL + READVERTISEMENT)


def return_fits_in_s(penalty: Penalty, now_s: float, half_life_s: float) -> float:
    """Return how many seconds until DEPREF -> NORMAL fits, and the next depreference, which never waits, after it."""
    return _wait_s(penalty, now_s, half_life_s, plain=2 * ATTRIBUTE_CHANGE, strict=2 * ATTRIBUTE_CHANGE)


def _wait_s(penalty: Penalty, now_s: float, half_life_s: float, *, plain: float, strict: float) -> float:
    now = decayed(penalty, now_s, half_life_s)
    return max(
        _until_below_s(now.plain, PLAIN_LIMIT - MARGIN - plain, half_life_s),
        _until_below_s(now.strict, STRICT_LIMIT - MARGIN - strict, half_life_s),
    )


def _until_below_s(value: float, limit: float, half_life_s: float) -> float:
    # the tolerance ends a wait that rounding would else prolong by nothing, again and again
    return 0.0 if value <= limit + TOLERANCE else half_life_s * math.log2(value / limit)
