"""What the safety rules found or refused: part of docs/reasons.md, see reasons.py."""

from __future__ import annotations

from collections.abc import Mapping

from anycastd.model.effect import Effect
from anycastd.model.export import ExportRefusal
from anycastd.resources.refusal import Code
from anycastd.telemetry.meaning import Meaning

REFUSED_ORDERS: Mapping[Code, Meaning] = {
    Code.ANNOUNCE_WHEN: Meaning(
        "A drain or override would leave a prefix without enough that is usable, so that it could be served no more.",
        "Mend what is down first, or `--force` with a reason.",
    ),
    Code.WITHDRAW_GUARD: Meaning(
        "The guard does not let the prefix off the air (never dark), or a forced order would be renewed without force.",
        "`--force` with a reason.",
    ),
    Code.FROZEN: Meaning("Orders are frozen too.", "`anycastd status` says who froze and why; `anycastd unfreeze`."),
    Code.FLEET_BUDGET: Meaning(
        "Too many POPs of the fleet would be away at once (`store.budget_percent`).",
        "`anycastd fleet status` shows who is away; wait, or `--force` with a reason.",
    ),
    Code.SINGLE_FLIGHT: Meaning(
        "Another POP with a prefix of ours began to leave, or came back, a moment ago (`store.single_flight`).",
        "Wait as long as it says, or `--force` with a reason.",
    ),
    Code.BLACKHOLE_QUOTA: Meaning(
        "As many blackholes stand as `attack.filter.max_blackholes` allows.", "`anycastd attack release ID`."
    ),
    Code.FLOW_QUOTA: Meaning(
        "As many flow rules stand as `attack.filter.max_flow_rules` allows.", "`anycastd attack release ID`."
    ),
    Code.FLOW_WIDE: Meaning(
        "A flow rule that would drop everything: of one address that is a blackhole, of a prefix a withdrawal.",
        "Name the protocol, ports, sources, lengths or flags; or limit instead of dropping.",
    ),
    Code.FILTER_NEIGHBOR: Meaning(
        "A neighbor is named that takes no blackholes, or no flow rules.", "`blackhole: true` or `flowspec: true`."
    ),
    Code.ANNOUNCED: Meaning(
        "The address is announced as a prefix of its own, and a blackhole would take its place.", "Withdraw it."
    ),
    Code.CAPACITY: Meaning(
        "Another POP could not take the traffic that a drain of this one moves to it (`safety.capacity`).",
        "Wait for a quiet hour, drain a part (a neighbor), or `--force` with a reason.",
    ),
}

EFFECTS: Mapping[Effect, Meaning] = {
    Effect.EFFECT_SEEN: Meaning("The traffic followed the change."),
    Effect.EFFECT_NOT_MEASURED: Meaning(
        "The route is sent as decided; there is too little traffic to tell more, or it is too early."
    ),
    Effect.ROUTE_NOT_SENT: Meaning(
        "ExaBGP does not send what was decided.",
        "See the alarms `command_refused`, `export_refused`, `speaker_absent`.",
    ),
    Effect.NO_SESSION: Meaning("No neighbor that carries the prefix is established.", "See the alarm `session_down`."),
    Effect.TRAFFIC_STAYED: Meaning(
        "The prefix was depreferenced or withdrawn, and its traffic has not fallen as `safety.effect` asks for.",
        "See the alarm `effect_missing`.",
    ),
    Effect.TRAFFIC_DID_NOT_COME: Meaning(
        "The prefix is NORMAL again, and its traffic has not come back as `safety.effect` asks for.",
        "Is the route suppressed at a neighbor (route flap damping), or filtered?",
    ),
}

EXPORTS: Mapping[ExportRefusal, Meaning] = {
    ExportRefusal.NEIGHBOR_UNKNOWN: Meaning("No neighbor of that name is configured."),
    ExportRefusal.PREFIX_NOT_CONFIGURED: Meaning(
        "The prefix is not in the file with exactly this length: a more or less specific one is another. Of what is "
        "not in the file only single addresses with NO_EXPORT may go, to neighbors that carry no prefix: beacons."
    ),
    ExportRefusal.PREFIX_NOT_FOR_NEIGHBOR: Meaning("The neighbor does not carry the prefix, or its family."),
    ExportRefusal.FOREIGN_ORIGIN: Meaning("An AS number is in the path that is not ours, or ours is missing."),
    ExportRefusal.FOREIGN_NEXT_HOP: Meaning(
        "The next hop is neither our address of the session nor the one that `export` names."
    ),
    ExportRefusal.TOO_MANY_PREFIXES: Meaning("The neighbor was told `max_prefixes` others already."),
    ExportRefusal.FILTER_NOT_TAKEN: Meaning(
        "A blackhole or flow rule for a neighbor without `blackhole: true` or `flowspec: true`, or without the family; "
        "or a blackhole without NO_EXPORT."
    ),
    ExportRefusal.NOT_OUR_ADDRESS: Meaning("A blackhole or flow rule of what is in no prefix of the file."),
    ExportRefusal.TOO_MANY_FILTERS: Meaning(
        "The neighbor was told `attack.filter.max_blackholes` blackholes, or `max_flow_rules` flow rules, already."
    ),
}
