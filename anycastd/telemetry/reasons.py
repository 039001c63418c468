"""What every reason means and what to do about it. docs/reasons.md is made from this; a test holds it complete."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum

from anycastd.model.access import Denied
from anycastd.model.decision import Reason
from anycastd.model.eip import PlacementReason
from anycastd.model.fleet import FleetFault, NotCounted
from anycastd.model.health import HealthReason
from anycastd.model.journal import EntryKind, LostWhy
from anycastd.telemetry.alarm_meanings import ALARMS
from anycastd.telemetry.attack_meanings import ATTACKS
from anycastd.telemetry.meaning import Meaning
from anycastd.telemetry.probe_meanings import PROBES
from anycastd.telemetry.safety_meanings import EFFECTS, EXPORTS, REFUSED_ORDERS

DECISIONS: Mapping[Reason, Meaning] = {
    Reason.SERVING: Meaning("Enough is usable: `announce_when` is true, so the prefix is announced."),
    Reason.UNABLE_TO_SERVE: Meaning(
        "Too little is usable: `announce_when` is false. The prefix goes to DEPREF at once; what follows is for the "
        "guard to say.",
        "`anycastd explain PREFIX` names the checks that failed.",
    ),
    Reason.DEGRADED: Meaning(
        "`announce_when` is met only with the help of what is DEGRADED, and the prefix has `when_degraded: depref`.",
        "`anycastd status` shows loss, latency and jitter of the tunnels.",
    ),
    Reason.HEALTH_UNKNOWN: Meaning(
        "It cannot be told whether enough is usable. What is announced stays, what is absent stays absent.",
        "Look for checks that are UNKNOWN: their fault is ours (`check_broken`).",
    ),
    Reason.FIRST_CHECKS: Meaning(
        "The first verdicts are awaited after a start or a new configuration; nothing changes until then.",
        "Wait rise x interval of the slowest check.",
    ),
    Reason.DATA_PLANE_NOT_READY: Meaning(
        "The prefix's routes were not yet read back from the kernel; without them its packets would loop or be lost, "
        "so it is not announced.",
        "`anycastd explain PREFIX`, line kernel; then the alarms `kernel_refused` and `kernel_not_as_wanted`.",
    ),
    Reason.OBSERVATION_MISSING: Meaning(
        "ExaBGP has not said yet what it sends. Nothing is changed on the strength of what was not seen.",
        "If it lasts longer than some seconds: the alarms `speaker_absent` and `speaker_wedged`.",
    ),
    Reason.SLOW_START: Meaning(
        "The prefix is fine again and waits, depreferenced, `return_after` long before it is NORMAL; the time doubles "
        "with each relapse.",
        "Wait; `anycastd status` counts the time down.",
    ),
    Reason.CHANGE_BUDGET: Meaning(
        "One more change could make a neighbor's route flap damping (RFC 2439) suppress the prefix, so it waits.",
        "Wait, and find out what flaps: `anycastd events --types check,tunnel,backend`.",
    ),
    Reason.SETTLING: Meaning(
        "The prefix is depreferenced and waits `settle` long before it asks to withdraw: a passing fault then costs "
        "one attribute change."
    ),
    Reason.CHECKER_SUSPECT: Meaning(
        "Many different targets failed together and so did a self-test target: probably this machine is at fault, so "
        "nothing is withdrawn.",
        "Look at this machine: its uplink, CPU, conntrack table, firewall.",
    ),
    Reason.STATIC_GUARD: Meaning(
        "Health would withdraw the prefix, but nobody can be asked whether others announce it. It stays, "
        "depreferenced: a bad way is better than none (never dark).",
        "If other POPs do announce it, write `last_resort: withdraw` for the prefix, or stop this daemon.",
    ),
    Reason.NOT_ENOUGH_ANNOUNCERS: Meaning(
        "Fewer than `min_announcers` other POPs say that they announce the prefix normally and have seen that this one "
        "is depreferenced. So it stays, depreferenced; or, if it was withdrawn, it came back.",
        "`anycastd explain PREFIX` says of each POP why it is not counted ([below](#pops-that-are-not-counted)).",
    ),
    Reason.OBSERVERS_BLIND: Meaning(
        "No session with an observer is established, nor is the store there where beacons go through it, so no other "
        "POP can be seen. The prefix stays, depreferenced; one that was withdrawn comes back after `blind`.",
        "Bring an observer up; have two, one of them not over the tunnels.",
    ),
    Reason.DRAIN_QUEUED: Meaning(
        "The POP is drained. The others are told first; or another POP that is drained too goes before this one. Until "
        "then the prefix stays as it is.",
        "Wait for the other drain to end, or drain with `--force` and a reason.",
    ),
    Reason.GSHUT_WAIT: Meaning(
        "Others are confirmed. The prefix is announced with GSHUT for `gshut_wait`, then looked at again and withdrawn."
    ),
    Reason.BOOT_FAIL_OPEN: Meaning(
        "The start took longer than it may, and too few other POPs announce the prefix: it is announced, "
        "depreferenced, though it is not known whether it can be served.",
        "Look for checks that are UNKNOWN, and for routes that are not in the kernel.",
    ),
    Reason.CIRCUIT_BREAKER: Meaning(
        "As many prefixes were withdrawn within the window as `safety.breaker` allows, so this one stays announced, "
        "depreferenced: one cause that hits many is more often a mistake than the end of this POP.",
        "See the alarm `circuit_breaker`.",
    ),
    Reason.UNDER_ATTACK: Meaning(
        "An attack is on (or ended less than `attack.absorb.calm` ago), so health alone takes nothing off the air: "
        "what this POP left would fall on the next one. The prefix stays as it is; health may depreference it only "
        "while the others are known to have room. What an operator orders is done.",
        "`anycastd attack status`; to leave all the same: `anycastd drain` or `anycastd override`.",
    ),
    Reason.FLEET_TOKEN: Meaning(
        "Another POP withdrew the prefix for its health less than `store.withdrawals_apart` ago, or the fleet's store "
        "cannot be asked. So it stays, depreferenced.",
        "Wait; if the store is away, `anycastd fleet status`.",
    ),
    Reason.ONLY_NEIGHBOR: Meaning(
        "A drained neighbor still gets the prefix, depreferenced, since no other established neighbor has had it for "
        "`operator.settled`: without it the prefix could be dark.",
        "Bring another neighbor up that carries the prefix, or drain with `--force` and a reason.",
    ),
    Reason.FROZEN: Meaning(
        "Announcements are frozen: nothing that is announced changes. The decision says what it would be.",
        "`anycastd status` says who froze and why; `anycastd unfreeze`.",
    ),
    Reason.STANDBY: Meaning(
        "This POP is a standby for the prefix (`announce: standby`), or the neighbor is one, and nobody calls on it. "
        "Having joined it leaves slowly, as far as the guard lets it.",
        "Nothing. To announce it all the same: `anycastd override prefix PREFIX --level normal`.",
    ),
    Reason.CALLED_ON: Meaning(
        "This POP is a standby for the prefix, and another POP calls on standbys: it announces as health says.",
        "`anycastd attack playbook list` at the POP that calls says why.",
    ),
    Reason.SPREADING: Meaning(
        "A step of a playbook is in force: neighbors get a longer path, other communities, or less.",
        "`anycastd attack playbook list` says which and how long; `anycastd attack playbook stop` ends it in stages.",
    ),
    Reason.DRAINING: Meaning(
        "An operator drained the POP or the neighbor; it leaves phase by phase: DEPREF, GSHUT, WITHDRAWN.",
        "`anycastd drains` shows how far it is; `anycastd undrain` takes it back at any phase.",
    ),
    Reason.OVERRIDDEN: Meaning(
        "An operator forced the level by hand; health has no say until it ends.",
        "`anycastd overrides` says who, why and until when; `anycastd override clear`.",
    ),
    Reason.OTHERS_CONFIRMED: Meaning(
        "`min_announcers` other POPs say NORMAL, and have seen that this one is depreferenced: it may leave."
    ),
    Reason.LAST_RESORT_WITHDRAW: Meaning(
        "The prefix is withdrawn because the configuration says `last_resort: withdraw` for it."
    ),
    Reason.STOPPING: Meaning(
        "The daemon was told to leave (SIGTERM). Every prefix is withdrawn; where other POPs can be seen, only those "
        "that enough of them announce, the others stay in ExaBGP, depreferenced."
    ),
    Reason.FORCED: Meaning("An operator forced it past the guard, with `--force` and a reason."),
}

HEALTH: Mapping[HealthReason, Meaning] = {
    HealthReason.CHECKS_PASS: Meaning("Every check passes."),
    HealthReason.CHECKS_PENDING: Meaning("A check has no verdict yet.", "Wait rise x interval."),
    HealthReason.CHECK_FAILED: Meaning(
        "A check failed `fall` times in a row, and it is the target's fault.",
        "`anycastd explain` or `/v1/checks` name the check and how it ended.",
    ),
    HealthReason.TOO_MANY_FAILURES: Meaning(
        "Too large a share of a check's last probes failed (`failures`), whether or not `fall` in a row: a brownout. "
        "It is UNHEALTHY until the share is at its lower limit and `rise` probes in a row pass.",
        "`/v1/checks` shows the share; look at the target: overload, or one bad process of several.",
    ),
    HealthReason.CHECK_DEGRADED: Meaning(
        "A check exceeds its `loss`, `latency` or `jitter`: what it looks at works, but not well. It is used where "
        "nothing HEALTHY is at hand.",
        "`anycastd status` says which limit, and for how long; look at the underlay.",
    ),
    HealthReason.CHECK_BROKEN: Meaning(
        "A check could not be carried out, by our own fault; nothing is said of the target.",
        "See the alarm `check_broken`.",
    ),
    HealthReason.NO_USABLE_TUNNEL: Meaning(
        "Every tunnel of the region is down, so it cannot be reached from this POP.",
        "Look at the underlay and the far end of the tunnels.",
    ),
    HealthReason.TUNNELS_UNKNOWN: Meaning(
        "It cannot be told of the region's tunnels whether they work.", "Look at the tunnels' checks."
    ),
    HealthReason.TOO_FEW_BACKENDS: Meaning(
        "Fewer backends are healthy than `usable_when` asks for.", "Look at the backends' checks."
    ),
    HealthReason.ENOUGH_BACKENDS: Meaning("As many backends are healthy as `usable_when` asks for, or more."),
    HealthReason.TUNNELS_DEGRADED: Meaning(
        "Every usable tunnel of the region is DEGRADED.", "See `check_degraded` for the tunnels."
    ),
    HealthReason.BACKENDS_DEGRADED: Meaning(
        "As many backends answer as `usable_when` asks for, but only with DEGRADED ones.",
        "See `check_degraded` for the backends.",
    ),
    HealthReason.RULE_HOLDS: Meaning("The rule that the region has as `usable_when` holds."),
    HealthReason.RULE_HOLDS_DEGRADED: Meaning(
        "The region's rule holds, but only with the help of what is DEGRADED.", "See `check_degraded`."
    ),
    HealthReason.RULE_FAILS: Meaning(
        "The region's rule does not hold, whatever what is unknown turns out to be.",
        "`/v1/regions` shows the rule; look at the tunnels, backends and checks that it names.",
    ),
    HealthReason.NO_CHECKS: Meaning(
        "Nothing checks it, so nothing is known of it: it is UNKNOWN.",
        "Give it a check.",
    ),
    HealthReason.DRAINED: Meaning("An operator drained it: it counts as not usable.", "`anycastd drains`."),
    HealthReason.OVERRIDDEN: Meaning("An operator forced its state; its checks have no say.", "`anycastd overrides`."),
}


PLACEMENTS: Mapping[PlacementReason, Meaning] = {
    PlacementReason.UNBOUND: Meaning("The EIP is bound to nothing; its packets are dropped and counted."),
    PlacementReason.BLOCKED: Meaning("An operator blocked the EIP; its packets are dropped and counted."),
    PlacementReason.RELEASED: Meaning("The EIP was released and can still be restored; its packets are dropped."),
    PlacementReason.AWAITS_CHECKS: Meaning(
        "No check has risen yet since the start: packets go to the preferred backend, unproven.",
        "Wait rise x interval of the slowest check.",
    ),
    PlacementReason.PREFERRED: Meaning("Packets go where the binding wants them first."),
    PlacementReason.OTHER_REGION: Meaning(
        "The first region has no usable backend or tunnel: packets go to the next region.",
        "`anycastd status` shows what is wrong in the first.",
    ),
    PlacementReason.OTHER_BACKEND: Meaning(
        "A backend of the region is not usable: the others share its part.", "`anycastd status`, backends."
    ),
    PlacementReason.OTHER_PRIORITY: Meaning(
        "No target of the first priority is usable: packets go to the next priority.", "`anycastd eip show EIP`."
    ),
    PlacementReason.DRAINED: Meaning(
        "An operator drained what would be first: new connections go elsewhere, others go on.", "`anycastd drains`."
    ),
    PlacementReason.DIALED_AWAY: Meaning(
        "A traffic dial below 100 % sends a part, or all, to the next region.", "`anycastd region list`."
    ),
    PlacementReason.LAST_RESORT: Meaning(
        "Only targets of weight 0, or in regions dialed to 0 %, are usable: they get the packets for want of others.",
        "Raise the dial or the weight, or mend the others.",
    ),
    PlacementReason.FAIL_OPEN: Meaning(
        "Nothing is usable anywhere: packets go to the least bad target.", "See the alarm `eip_fail_open`."
    ),
    PlacementReason.NO_PATH: Meaning(
        "Nothing is usable, and the binding says `when_unhealthy: drop`, or none of its backends is configured."
    ),
}

ACCESS: Mapping[Denied, Meaning] = {
    Denied.HOST_REFUSED: Meaning(
        "The Host header is none of the API's own names: a web page whose name was pointed here, or a proxy.",
        "Ask by address, or as localhost; beyond loopback use TLS.",
    ),
    Denied.READ_ONLY: Meaning(
        "A change over TCP, and no token is configured.", "Use the unix socket, or configure `api.tokens`."
    ),
    Denied.TOKEN_MISSING: Meaning(
        "What is asked needs a token, and none was shown.", "`--token-file FILE`, or `Authorization: Bearer TOKEN`."
    ),
    Denied.TOKEN_UNKNOWN: Meaning(
        "The token shown is none of this daemon's.",
        "Look whether it was rotated; a token file that changed is read by `anycastd reload`.",
    ),
    Denied.ROLE_TOO_LOW: Meaning(
        "The token may do less than what was asked.", "Use another, or raise `api.tokens.NAME.role`."
    ),
    Denied.PEER_REFUSED: Meaning(
        "A user asked on the unix socket who is neither root, nor the daemon's user, nor of `api.group`.",
        "Make the user a member of the group; `ls -l` the socket, which should be 0660.",
    ),
}

UNCOUNTED: Mapping[NotCounted, Meaning] = {
    NotCounted.BLIND: Meaning(
        "No session with an observer is established, and beacons do not come through the store.",
        "Look at the observers' sessions, and at `anycastd fleet status`.",
    ),
    NotCounted.NOT_HEARD: Meaning(
        "No beacon of the POP is there: it is down, has no session with an observer, or one was never up.",
        "`anycastd status` on that POP; the observer's table for the beacon's address.",
    ),
    NotCounted.STALE: Meaning(
        "Its beacon is there but has not moved for three heartbeats: its daemon is down or held up, or the observer "
        "keeps what is gone.",
        "Look at that POP's daemon; no graceful restart on sessions with observers.",
    ),
    NotCounted.NOT_ANSWERED: Meaning(
        "Its beacons move, but none has echoed the present start of this daemon: it has not heard of it, or somebody "
        "plays a recording of it. Till it answers it is neither counted nor taken for present.",
        "After a start it takes one round trip. If it lasts: `anycastd explain PREFIX` at that POP, whether it hears "
        "this one; an observer may pass beacons one way only.",
    ),
    NotCounted.UNREADABLE: Meaning(
        "Its beacon's communities were stripped, added to or changed on the way, or are of another release.",
        "Let large communities pass on the observer; the alarm's detail says what is wrong.",
    ),
    NotCounted.DUPLICATE: Meaning(
        "Two POPs send beacons with one number; or another POP has ours, and then nobody counts.",
        "Give each POP its own number.",
    ),
    NotCounted.INCOMPLETE: Meaning("A part of its beacon is missing or older than the rest.", "Wait a heartbeat."),
    NotCounted.NO_UPSTREAM: Meaning("It has no established session with an upstream."),
    NotCounted.NOT_CARRIED: Meaning("It does not speak of this prefix: its configuration has not got it."),
    NotCounted.NAME_SHARED: Meaning(
        "The prefix and another one here have the same short name in beacons (one in 10^17 pairs has).",
        "Use another prefix length for one of them.",
    ),
    NotCounted.GONE: Meaning("It does not announce the prefix."),
    NotCounted.DEPREF: Meaning("It announces the prefix, depreferenced: it is on its way out itself, or back."),
    NotCounted.DRAINING: Meaning("It announces the prefix, depreferenced by a drain."),
    NotCounted.NOT_ECHOED: Meaning(
        "It announces the prefix normally, but has not seen yet that this POP is depreferenced."
    ),
    NotCounted.SAME_DOMAIN: Meaning(
        "It would count, but another POP of its failure domain counts already: the two fail together."
    ),
}

FAULTS: Mapping[FleetFault, Meaning] = {
    FleetFault.BEACON_UNREADABLE: Meaning(
        "A beacon cannot be read: its communities were stripped, added to or changed. The POP is not counted.",
        "Let large communities pass on the observer; all POPs need releases that understand each other.",
    ),
    FleetFault.BEACON_REPLAYED: Meaning(
        "A beacon came again that its POP said long ago. It changes nothing: what was heard since stays.",
        "Find who announces it; an observer that was long cut off from the POP may too, or a store that was restored.",
    ),
    FleetFault.UNKNOWN_POP: Meaning(
        "A beacon of a POP that the configuration does not name.", "Add it to `fleet`, on every POP."
    ),
    FleetFault.POP_TWICE: Meaning(
        "Two POPs send beacons with one number: neither counts.", "Give each POP its own number."
    ),
    FleetFault.OWN_NUMBER_TAKEN: Meaning(
        "Another POP sends beacons with this POP's number: nobody counts, so nothing is withdrawn.",
        "Give each POP its own number; a machine copied from another one needs a new one.",
    ),
    FleetFault.NAME_SHARED: Meaning(
        "Two prefixes have the same short name in beacons; for them nobody counts.",
        "Use another prefix length for one of them.",
    ),
}

ENTRIES: Mapping[EntryKind, Meaning] = {
    EntryKind.DECISION: Meaning(
        "A prefix's level, reason or hold changed. The entry holds the facts, the memory and the trail of rules: "
        "`anycastd decisions replay NUMBER` makes it again."
    ),
    EntryKind.CHECK: Meaning("A check changed its verdict; the reason is of the probe that tipped it."),
    EntryKind.TUNNEL: Meaning("A tunnel is believed to be otherwise; the detail names the checks."),
    EntryKind.BACKEND: Meaning("A backend is believed to be otherwise; the detail names the checks."),
    EntryKind.REGION: Meaning("A region became usable or not."),
    EntryKind.REROUTE: Meaning("A region's packets of one IP version take another tunnel."),
    EntryKind.EIP: Meaning("An EIP was changed, or the packets of EIPs with the same binding go elsewhere."),
    EntryKind.SESSION: Meaning("A BGP session came up or went down."),
    EntryKind.SPEAKER: Meaning("ExaBGP was started, taken over, found wedged, or ended."),
    EntryKind.ALARM: Meaning("An alarm was raised; the reason is its name."),
    EntryKind.ALARM_CLEARED: Meaning("An alarm stands no more."),
    EntryKind.ORDER: Meaning(
        "A drain, override or freeze began, went on to its next phase or ended; the detail says who and why."
    ),
    EntryKind.ATTACK: Meaning(
        "Traffic to the POP or to an EIP became NORMAL, ELEVATED or an ATTACK; the detail says how much comes in."
    ),
    EntryKind.PLAYBOOK: Meaning(
        "A step of a playbook was taken, verified, proposed, held or undone for a prefix, or a standby joined or left."
    ),
    EntryKind.RELOAD: Meaning("A new configuration was applied or refused; the detail says what changed, or why not."),
    EntryKind.FLEET: Meaning(
        "Another POP is heard by beacons, or is not and why; or the guard is another one (echo, blind, static)."
    ),
    EntryKind.START: Meaning("The daemon began its work."),
    EntryKind.STOP: Meaning("The daemon was told to leave (SIGTERM) or to hand over (SIGUSR2)."),
    EntryKind.GAP: Meaning("Entries are missing here: how many, and why."),
}

LOSSES: Mapping[LostWhy, Meaning] = {
    LostWhy.QUEUE_FULL: Meaning(
        "More entries at once than may wait to be written.", "Raise `journal.max_waiting` if it comes again."
    ),
    LostWhy.FILE_REFUSES: Meaning(
        "The file could not be written for so long that no more entries could wait.", "See the alarm `journal_trouble`."
    ),
    LostWhy.SLOW_READER: Meaning(
        "A reader of events did not take them as fast as they came; other readers got them, and the journal has them.",
        "Read on from the last number (`Last-Event-ID`), or raise `journal.reader_backlog`.",
    ),
    LostWhy.NOT_KEPT: Meaning(
        "A reader asked for events after a number that the journal does not hold any more, or never did.",
        "Raise `journal.max_events` or `journal.keep` if the past is needed for longer.",
    ),
    LostWhy.NOT_READABLE: Meaning(
        "The journal's file could not be read for a reader of events; live ones are sent.", "`state_dir`, and its disk."
    ),
}

SECTIONS: tuple[tuple[str, str, Iterable[tuple[StrEnum, Meaning]]], ...] = (
    (
        "Decisions",
        "Why a prefix is announced as it is (`reason`), or what holds a change back (`hold`).",
        tuple(DECISIONS.items()),
    ),
    (
        "POPs that are not counted",
        "Why another POP does not count when a prefix wants to be withdrawn: docs/never-dark.md.",
        tuple(UNCOUNTED.items()),
    ),
    ("Faults of the fleet", "What is wrong with the beacons that are heard.", tuple(FAULTS.items())),
    ("Health", "Why a tunnel, backend or region is believed to be as it is.", tuple(HEALTH.items())),
    (
        "Probe results",
        "How one probe ended. Only what is the target's fault makes it unhealthy.",
        tuple(PROBES.items()),
    ),
    ("Placements", "Why an EIP's packets go where they go.", tuple(PLACEMENTS.items())),
    (
        "Effects",
        "What came of a change of level: log lines `effect`, `anycastd_effects_total`, alarm `effect_missing`.",
        tuple(EFFECTS.items()),
    ),
    (
        "Attacks",
        "Why traffic to the POP or to an EIP is ELEVATED or an ATTACK: docs/attack.md.",
        tuple(ATTACKS.items()),
    ),
    (
        "Refused orders",
        "Why an order of an operator is refused: the `code` of the answer, `anycastd_orders_refused_total`.",
        tuple(REFUSED_ORDERS.items()),
    ),
    (
        "Refused routes",
        "Why a route does not leave: alarm `export_refused`, `anycastd_exports_refused_total`.",
        tuple(EXPORTS.items()),
    ),
    (
        "Refused requests",
        "Why the API turned a request away: the `code` of its answer.",
        tuple(ACCESS.items()),
    ),
    (
        "Alarms",
        "What an operator must look at: `anycastd status`, `anycastd_alarm`, log lines `alarm`.",
        tuple(ALARMS.items()),
    ),
    (
        "Entries of the journal",
        "What an entry tells of: `anycastd events`, `/v1/events`, `anycastd_journal_entries_total`.",
        tuple(ENTRIES.items()),
    ),
    ("Losses of the journal", "Why entries are missing, in the file or for a reader.", tuple(LOSSES.items())),
)
