"""Nothing is changed on the strength of what was not observed (I5)."""

from __future__ import annotations

from anycastd.model.decision import Level, Memory, Reason, Truth
from anycastd.policy.draft import Draft, Facts


def observation(facts: Facts, memory: Memory, draft: Draft) -> Draft:
    """Before ExaBGP has told what it holds, what was decided last stands."""
    if facts.bgp_observed or draft.level is memory.level:
        return draft
    return draft.say("observation", Reason.OBSERVATION_MISSING, memory.level, "ExaBGP has not said what it holds")


def data_plane(facts: Facts, memory: Memory, draft: Draft) -> Draft:
    """An absent prefix stays absent until its routes were read back from the kernel.

    For one that only keeps the prefix from going dark, as it cannot be served, the blackhole is enough.
    """
    stopgap = memory.was_lost and facts.condition is Truth.FALSE and facts.blackhole_ready
    ready = facts.data_plane_ready or stopgap
    if ready or memory.level is not Level.WITHDRAWN or draft.level is Level.WITHDRAWN:
        return draft
    detail = "its blackhole route or tunnel route is not in the kernel"
    return draft.say("data_plane", Reason.DATA_PLANE_NOT_READY, Level.WITHDRAWN, detail)
