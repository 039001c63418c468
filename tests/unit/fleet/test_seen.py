"""Who is heard, over several channels, and who of them counts: stale, doubled, forged, late, incomplete."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from ipaddress import ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anycastd.fleet import codec
from anycastd.fleet.codec import BeaconError, names_of, parts_of, place_of, read, route_of
from anycastd.fleet.own import Entered, Own, honest_claim
from anycastd.fleet.rank import rank
from anycastd.fleet.seen import Ears, Seen, down, hear, lost, unreadable, up
from anycastd.fleet.standing import View, beacon_of, tells_news
from anycastd.model.address import Prefix
from anycastd.model.decision import Level, Memory
from anycastd.model.fleet import (
    Beacon,
    Claim,
    Epoch,
    FleetFault,
    FleetSpec,
    NotCounted,
    Others,
    Part,
    Uncounted,
)

P, Q = ip_network("203.0.113.0/24"), ip_network("2001:db8:1::/48")
SPEC = FleetSpec(number=1, pops={1: "fra", 2: "ams", 3: "nyc"}, base=ip_network("10.255.0.0/20"), asn=64500)
BOOT, AMS_BOOT = 1000, 900
HEARD = {1: Epoch(BOOT, 0)}
AMS = Beacon(pop=2, boot=AMS_BOOT, seq=1, upstreams=1, claims={P: Claim.NORMAL, Q: Claim.DEPREF}, echoes=HEARD)
MANY: tuple[Prefix, ...] = tuple(ip_network((0x0A000000 + (n << 8), 24)) for n in range(300))
START_S = 5000.0


@dataclass
class Fra:
    """POP 1, listening; `own` is at epoch 7, which P entered DEPREF with."""

    now_s: float = START_S
    seen: Seen = field(default_factory=lambda: Seen.deaf(START_S))
    own: Own = field(default_factory=lambda: Own(BOOT, 7, {P: Entered(3, 7), Q: Entered(1, 2)}))
    seq: int = 50

    @property
    def ears(self) -> Ears:
        return Ears(SPEC, self.own.boot, self.seq)

    def up(self, *channels: str) -> Fra:
        for channel in channels:
            self.seen = up(self.seen, channel, self.now_s)
        return self

    def hear(self, said: Beacon | Part, *channels: str, before: tuple[Part, ...] = ()) -> tuple[Part, ...]:
        """Hear a beacon as it comes through the codec, or one part."""
        parts = parts_of(said, before) if isinstance(said, Beacon) else (said,)
        for part in parts:
            prefix, communities = route_of(SPEC, part)
            for channel in channels or ("rr1",):
                self.seen = hear(self.seen, self.ears, channel, read(SPEC, prefix, communities), self.now_s)
        return parts

    def view(self) -> View:
        return View(self.seen, SPEC, self.own, self.now_s)

    def others(self, prefix: Prefix = P) -> Others:
        return self.view().others(prefix)

    def why(self, pop: str = "ams", prefix: Prefix = P) -> NotCounted | None:
        return next((one.why for one in self.others(prefix).uncounted if one.pop == pop), None)


@pytest.fixture
def fra() -> Fra:
    return Fra().up("rr1", "rr2")


def echoing(beacon: Beacon, counter: int, boot: int = BOOT) -> Beacon:
    return replace(beacon, echoes={1: Epoch(boot, counter)})


def test_who_is_normal_and_has_seen_our_epoch_counts(fra: Fra) -> None:
    fra.hear(AMS)
    assert fra.others() == Others(
        pops=3, entry=3, present=("ams",), normal=("ams",), sure_from_s=START_S + 3.0, boot_at_s=START_S + 60.0,
        uncounted=(Uncounted("ams", NotCounted.NOT_ECHOED), Uncounted("nyc", NotCounted.NOT_HEARD)),
    )  # fmt: skip
    fra.hear(echoing(replace(AMS, seq=2), 6))
    assert fra.why() is NotCounted.NOT_ECHOED
    fra.hear(echoing(replace(AMS, seq=3), 7))
    assert fra.others().counted == ("ams",)
    assert fra.why(prefix=Q) is NotCounted.DEPREF
    fra.own = replace(fra.own, counter=8, entered={**fra.own.entered, P: Entered(4, 8)})
    assert (fra.why(), fra.others().entry) == (NotCounted.NOT_ECHOED, 4)


def test_an_echo_of_another_boot_of_ours_is_worth_nothing(fra: Fra) -> None:
    for seq, boot in enumerate((BOOT - 1, BOOT + 1), start=1):
        fra.hear(echoing(replace(AMS, seq=seq), 9, boot=boot))
        assert (fra.why(), fra.others().present, fra.others().normal) == (NotCounted.NOT_ANSWERED, (), ())


@pytest.mark.parametrize(("claim", "why", "present"), [
    (Claim.GONE, NotCounted.GONE, False), (Claim.DEPREF, NotCounted.DEPREF, True),
    (Claim.DRAINING, NotCounted.DRAINING, True), (Claim.NORMAL, None, True),
])  # fmt: skip
def test_only_normal_counts_and_any_announcement_is_present(
    fra: Fra, claim: Claim, why: NotCounted | None, present: bool
) -> None:
    fra.hear(echoing(replace(AMS, claims={P: claim}), 7))
    assert (fra.why(), fra.others().present) == (why, ("ams",) if present else ())
    assert fra.why(prefix=Q) is NotCounted.NOT_CARRIED


def test_without_an_upstream_nothing_that_is_said_counts(fra: Fra) -> None:
    fra.hear(echoing(replace(AMS, upstreams=0), 7))
    assert (fra.why(), fra.others().present) == (NotCounted.NO_UPSTREAM, ())


def test_a_beacon_that_does_not_move_is_stale_on_our_own_clock(fra: Fra) -> None:
    fra.hear(echoing(AMS, 7))
    fra.now_s += 8.999
    assert fra.others().counted == ("ams",)
    fra.hear(echoing(AMS, 7), "rr2")
    fra.now_s = START_S + 9.0
    assert (fra.why(), fra.others().present) == (NotCounted.STALE, ())
    fra.hear(echoing(replace(AMS, seq=2), 7))
    assert fra.others().counted == ("ams",)


def test_the_newest_over_all_channels_is_believed_whatever_comes_late(fra: Fra) -> None:
    fra.hear(replace(echoing(AMS, 7), seq=5), "rr2")
    fra.hear(replace(AMS, seq=4, claims={P: Claim.GONE}), "rr1")
    assert fra.others().counted == ("ams",)
    fra.seen = down(fra.seen, SPEC, "rr2", fra.now_s)
    # what is left is older, and was made before our epoch was seen
    assert fra.why() is NotCounted.GONE
    fra.hear(replace(AMS, seq=4), "rr1")
    assert fra.why() is NotCounted.NOT_ECHOED


def test_nobody_is_seen_without_a_channel_and_who_is_absent_is_known_after_a_while() -> None:
    fra = Fra()
    fra.hear(AMS)
    others = fra.others()
    assert {one.why for one in others.uncounted} == {NotCounted.BLIND}
    assert (others.blind_since_s, others.sure_from_s) == (START_S, START_S + 10.0)
    fra.now_s += 9.0
    fra.up("rr1").hear(echoing(AMS, 7))
    assert (fra.others().counted, fra.others().blind_since_s) == (("ams",), None)
    # a channel that came up just now does not put it off
    assert fra.others().sure_from_s == START_S + 10.0
    fra.seen = down(fra.seen, SPEC, "rr1", fra.now_s)
    assert fra.others().sure_from_s == START_S + 10.0
    fra.now_s += 5.0
    fra.up("rr1")
    fra.now_s += 60.0
    fra.seen = down(fra.seen, SPEC, "rr1", fra.now_s)
    assert (fra.others().blind_since_s, fra.others().sure_from_s) == (fra.now_s, fra.now_s + 10.0)


def test_a_withdrawn_or_garbled_beacon_counts_no_more(fra: Fra) -> None:
    fra.hear(echoing(AMS, 7))
    place = place_of(SPEC, 2, 0)
    seen = fra.seen
    fra.seen = lost(seen, SPEC, "rr1", place)
    assert fra.why() is NotCounted.NOT_HEARD
    fra.seen = unreadable(seen, SPEC, "rr1", place, BeaconError("stripped"))
    assert fra.why() is NotCounted.UNREADABLE
    (fault,) = fra.view().faults()
    assert (fault.kind, fault.subject, fault.detail) == (FleetFault.BEACON_UNREADABLE, "ams", "part 0 by rr1: stripped")
    fra.hear(echoing(replace(AMS, seq=2), 7), "rr2")
    assert fra.others().counted == ("ams",)
    fra.hear(echoing(replace(AMS, seq=3), 7))
    assert not list(fra.view().faults())
    foreign = ip_network("192.0.2.1/32")
    assert lost(fra.seen, SPEC, "rr1", foreign) is fra.seen
    assert unreadable(fra.seen, SPEC, "rr1", foreign, BeaconError("x")) is fra.seen


def test_our_own_beacon_comes_back_and_is_dropped(fra: Fra) -> None:
    fra.hear(Beacon(pop=1, boot=BOOT, seq=50, claims={P: Claim.NORMAL}))
    for seq in (3, 3, 3, 3):  # a former life, which reflectors still hold
        fra.hear(Beacon(pop=1, boot=BOOT - 5, seq=seq, claims={P: Claim.NORMAL}))
    assert not list(fra.view().faults())


@pytest.mark.parametrize("forged", [
    (Beacon(pop=1, boot=BOOT, seq=51),), (Beacon(pop=1, boot=BOOT + 1, seq=1),),
    tuple(Beacon(pop=1, boot=BOOT - 5, seq=seq) for seq in range(1, 5)),
], ids=["a seq we never sent", "a later boot", "a former life that goes on"])  # fmt: skip
def test_another_pop_with_our_number_makes_nobody_count(fra: Fra, forged: tuple[Beacon, ...]) -> None:
    fra.hear(echoing(AMS, 7))
    for beacon in forged:
        fra.hear(beacon)
    assert fra.why() is NotCounted.DUPLICATE
    assert [fault.kind for fault in fra.view().faults()] == [FleetFault.OWN_NUMBER_TAKEN]
    fra.now_s += 18.0
    fra.hear(echoing(replace(AMS, seq=2), 7))
    assert fra.others().counted == ("ams",)


def test_two_pops_with_one_number_are_not_counted(fra: Fra) -> None:
    for turn in range(1, 6):
        for boot in (AMS_BOOT, AMS_BOOT + 1):
            fra.now_s += 1.5
            fra.hear(echoing(replace(AMS, boot=boot, seq=turn), 7))
    assert (fra.why(), fra.others().present) == (NotCounted.DUPLICATE, ())
    assert [fault.kind for fault in fra.view().faults()] == [FleetFault.POP_TWICE]


def test_one_seq_that_says_two_things_is_two_pops(fra: Fra) -> None:
    fra.hear(echoing(AMS, 7), "rr1")
    fra.hear(AMS, "rr2")
    assert fra.why() is NotCounted.DUPLICATE


def test_a_reboot_is_no_second_pop_also_when_late_news_of_the_old_one_come(fra: Fra) -> None:
    fra.hear(replace(AMS, seq=90), "rr1")
    fra.hear(echoing(replace(AMS, boot=AMS_BOOT + 9), 7), "rr1")
    fra.hear(replace(AMS, seq=91), "rr2")
    fra.hear(echoing(replace(AMS, boot=AMS_BOOT + 9, seq=2), 7), "rr2")
    assert fra.others().counted == ("ams",)


def test_a_pop_whose_clock_went_back_counts_once_the_old_boot_is_silent(fra: Fra) -> None:
    fra.hear(echoing(replace(AMS, seq=90), 7))
    reborn = echoing(replace(AMS, boot=AMS_BOOT - 100), 7)
    fra.hear(reborn)
    # as long as it would count had it fallen silent
    assert fra.others().counted == ("ams",)
    fra.now_s += 9.5
    for seq in (2, 3):
        fra.hear(replace(reborn, seq=seq))
    assert fra.others().counted == ("ams",)


def test_an_unknown_number_is_told_and_nothing_else(fra: Fra) -> None:
    fra.hear(replace(echoing(AMS, 7), pop=9))
    assert fra.others().counted == ()
    assert [(fault.kind, fault.subject) for fault in fra.view().faults()] == [(FleetFault.UNKNOWN_POP, "9")]
    heard = fra.seen
    fra.now_s += 9.5
    assert not list(fra.view().faults())
    fra.now_s -= 9.5
    fra.seen = lost(heard, SPEC, "rr1", place_of(SPEC, 9, 0), fra.now_s)
    assert not list(fra.view().faults()), "its beacon was withdrawn"


def test_who_calls_on_standbys_is_told_as_long_as_it_is_heard(fra: Fra) -> None:
    assert fra.view().callers(P) is None, "nobody was heard yet"
    fra.hear(replace(AMS, calls=frozenset({P})))
    assert fra.view().callers(P) == ("ams",), "a call is taken at once"
    assert fra.view().callers(Q) is None
    fra.now_s += 3.0
    assert fra.view().callers(Q) == ()
    fra.hear(replace(AMS, seq=2, calls=frozenset({P, Q})), "rr2")
    assert (fra.view().callers(P), fra.view().callers(Q)) == (("ams",), ("ams",))
    fra.hear(replace(AMS, seq=1, calls=frozenset({P})), "rr2")
    assert fra.view().callers(Q) == ("ams",), "an older beacon takes nothing back"
    fra.now_s += 9.0
    assert (fra.view().callers(P), fra.view().callers(Q)) == ((), ()), "it is stale"
    fra.seen = down(down(fra.seen, SPEC, "rr1", fra.now_s), SPEC, "rr2", fra.now_s)
    assert fra.view().callers(P) is None


def test_a_call_for_all_is_for_what_the_caller_has(fra: Fra) -> None:
    calls = frozenset(MANY[:100])
    fra.hear(replace(AMS, claims=dict.fromkeys(MANY[:200], Claim.NORMAL), calls=calls))
    fra.now_s += 3.0
    assert fra.view().callers(MANY[0]) == fra.view().callers(MANY[199]) == ("ams",)
    assert fra.view().callers(MANY[200]) == ()


def test_a_call_that_is_a_recording_is_none(fra: Fra) -> None:
    fra.hear(replace(echoing(AMS, 7, boot=BOOT - 1), calls=frozenset({P})))
    fra.now_s += 3.0
    assert fra.view().callers(P) == ()


def test_who_carries_a_prefix_and_is_silent_may_be_a_standby(fra: Fra) -> None:
    fra.hear(replace(AMS, claims={P: Claim.GONE}))
    assert (fra.view().silent(P), fra.view().silent(Q)) == (("ams",), ())
    fra.hear(replace(AMS, seq=2, claims={P: Claim.DEPREF}))
    assert fra.view().silent(P) == ()


def test_prefixes_that_share_a_name_are_not_counted(fra: Fra, monkeypatch: pytest.MonkeyPatch) -> None:
    fra.hear(echoing(AMS, 7))
    monkeypatch.setattr(codec, "name_of", lambda prefix: 5)
    view = View(fra.seen, SPEC, fra.own, fra.now_s, names_of((P, Q))[1])
    assert Uncounted("ams", NotCounted.NAME_SHARED) in view.others(P).uncounted
    assert [fault.kind for fault in view.faults()] == [FleetFault.NAME_SHARED] * 2


def large(seq: int, counter: int, **claims: Claim) -> Beacon:
    told = {**dict.fromkeys(MANY, Claim.NORMAL), **{MANY[int(key[1:])]: claim for key, claim in claims.items()}}
    return echoing(replace(AMS, seq=seq, claims=told), counter)


def test_a_part_that_did_not_change_still_counts_with_a_newer_head(fra: Fra) -> None:
    fra.own = replace(fra.own, entered={MANY[0]: Entered(1, 7)})
    parts = fra.hear(large(1, 6))
    assert fra.why(prefix=MANY[0]) is NotCounted.NOT_ECHOED
    head = parts_of(large(2, 7), parts)[-1]
    fra.hear(head)
    assert fra.others(MANY[0]).counted == ("ams",)


def test_an_old_part_is_never_taken_together_with_a_newer_echo(fra: Fra) -> None:
    """ams leaves NORMAL, then sees our epoch: its new head must not vouch for the part from before."""
    prefix = MANY[0]
    fra.own = replace(fra.own, entered={prefix: Entered(1, 7)})
    before = fra.hear(large(1, 6))
    changed = parts_of(large(2, 7, p0=Claim.DEPREF), before)
    (moved,) = [part for part in changed[:-1] if part.seq == 2]
    fra.hear(changed[-1])
    assert fra.why(prefix=prefix) is NotCounted.INCOMPLETE
    # that it was there a moment ago is still known, but not for ever
    assert fra.others(prefix).present == ("ams",)
    for seq in range(3, 7):
        fra.now_s += 2.9
        fra.hear(parts_of(large(seq, 7, p0=Claim.DEPREF), changed)[-1])
    assert (fra.why(prefix=prefix), fra.others(prefix).present) == (NotCounted.INCOMPLETE, ())
    fra.hear(moved)
    assert fra.why(prefix=prefix) is NotCounted.DEPREF
    assert fra.others(MANY[1]).counted == () and fra.why(prefix=MANY[1]) is NotCounted.NOT_ECHOED


def test_a_part_that_came_before_its_head_counts_with_the_echo_that_was_there_already(fra: Fra) -> None:
    fra.own = replace(fra.own, entered={MANY[0]: Entered(1, 7)})
    before = fra.hear(large(1, 7, p0=Claim.DEPREF))
    back = parts_of(large(2, 7), before)
    (moved,) = [part for part in back[:-1] if part.seq == 2]
    fra.hear(moved)
    assert fra.others(MANY[0]).counted == ("ams",)


def test_a_part_that_is_missing_makes_its_prefixes_uncounted(fra: Fra) -> None:
    fra.own = replace(fra.own, entered={prefix: Entered(1, 7) for prefix in MANY})
    for part in parts_of(large(1, 7))[1:]:
        fra.hear(part)
    found = {fra.why(prefix=prefix) for prefix in MANY}
    assert found == {None, NotCounted.INCOMPLETE}


@pytest.mark.parametrize("shifted", [False, True], ids=["each part with names of its own", "a part from before"])
def test_among_many_parts_the_right_one_is_found(fra: Fra, shifted: bool) -> None:
    every: tuple[Prefix, ...] = tuple(ip_network((0x0A000000 + (n << 8), 24)) for n in range(1000))
    fra.own = replace(fra.own, entered={prefix: Entered(1, 7) for prefix in every})
    told = {prefix: Claim.NORMAL if n % 3 else Claim.DEPREF for n, prefix in enumerate(every)}
    parts = fra.hear(echoing(replace(AMS, claims=told), 7))
    assert len(parts) == 7
    if shifted:
        # names move from part to part, and one of the new parts is not there yet
        told = {prefix: claim for prefix, claim in told.items() if prefix not in every[:300]}
        after = parts_of(echoing(replace(AMS, seq=2, claims=told), 7), parts)
        for part in (after[0], *after[2:]):
            fra.hear(part)
    found = {prefix: fra.why(prefix=prefix) for prefix in told}
    right = {prefix: None if claim is Claim.NORMAL else NotCounted.DEPREF for prefix, claim in told.items()}
    wrong = {prefix for prefix in told if found[prefix] is not right[prefix]}
    assert {found[prefix] for prefix in wrong} == ({NotCounted.INCOMPLETE} if shifted else set())
    assert len(wrong) < len(told) / 2


def test_the_better_rank_goes_first_and_only_if_it_counts(fra: Fra) -> None:
    first = {prefix: rank(prefix, 2) < rank(prefix, 1) for prefix in MANY}
    assert 100 < sum(first.values()) < 200
    fra.own = replace(fra.own, entered={prefix: Entered(1, 7) for prefix in MANY})
    fra.hear(replace(large(1, 7), intents=frozenset(MANY)))
    for prefix in MANY[:40]:
        assert fra.others(prefix).goes_first == (("ams",) if first[prefix] else ())
    fra.hear(large(2, 7))
    assert not any(fra.others(prefix).goes_first for prefix in MANY[:40])


def test_heartbeats_are_no_news_and_everything_else_is(fra: Fra) -> None:
    fra.hear(echoing(AMS, 6))

    def news(beacon: Beacon, after_s: float = 3.0) -> bool:
        before, fra.now_s = fra.seen, fra.now_s + after_s
        fra.hear(beacon)
        return tells_news(before, fra.seen, SPEC, 2, fra.now_s)

    assert not news(echoing(replace(AMS, seq=2), 6))
    assert news(echoing(replace(AMS, seq=3), 7))
    assert not news(replace(echoing(replace(AMS, seq=4), 7), upstreams=3))
    assert news(replace(echoing(replace(AMS, seq=5), 7), upstreams=0))
    assert news(echoing(replace(AMS, seq=6, claims={P: Claim.GONE}), 7))
    assert news(echoing(replace(AMS, seq=7, claims={P: Claim.GONE}), 7), after_s=9.5)
    assert news(echoing(replace(AMS, boot=AMS_BOOT + 1, claims={P: Claim.GONE}), 7))


def test_when_to_look_again(fra: Fra) -> None:
    assert fra.view().next_s() == START_S + 3.0
    fra.now_s += 4.0
    fra.hear(AMS)
    assert fra.view().next_s() == START_S + 13.0
    fra.now_s += 10.0
    assert fra.view().next_s() == START_S + 60.0
    fra.now_s += 60.0
    assert fra.view().next_s() is None


@given(st.floats(0.0, 1e7), st.floats(0.1, 100.0))
@settings(max_examples=100, deadline=None)
def test_at_the_moment_to_look_again_what_is_silent_is_stale(heard_s: float, heartbeat_s: float) -> None:
    """A POP that is woken then sees it: it would not be woken for it again."""
    spec = replace(SPEC, heartbeat_s=heartbeat_s, boot_s=0.0, blind_s=0.0)
    seen = hear(up(Seen.deaf(0.0), "rr1", 0.0), Ears(spec, BOOT, 0), "rr1", parts_of(AMS)[0], heard_s)
    own, now_s = Own(BOOT), heard_s
    while (next_s := View(seen, spec, own, now_s).next_s()) is not None:
        now_s = next_s
    why = {one.pop: one.why for one in View(seen, spec, own, now_s).others(P).uncounted}
    assert why["ams"] is NotCounted.STALE


def test_our_beacon_says_what_we_are_and_whom_we_have_seen(fra: Fra) -> None:
    fra.hear(replace(AMS, epoch=4))
    fra.hear(replace(AMS, pop=9, epoch=5))
    fra.hear(replace(AMS, pop=1, boot=BOOT - 1))
    beacon = beacon_of(SPEC, fra.own, fra.seen, 51, 2, {P: Claim.DEPREF}, frozenset({Q}))
    assert beacon == Beacon(
        pop=1, boot=BOOT, seq=51, epoch=7, upstreams=2, claims={P: Claim.DEPREF}, intents=frozenset({Q}),
        echoes={2: Epoch(AMS_BOOT, 4)},
    )  # fmt: skip
    # what was seen stays seen, also when the observer is gone
    fra.seen = down(down(fra.seen, SPEC, "rr1", fra.now_s), SPEC, "rr2", fra.now_s)
    assert beacon_of(SPEC, fra.own, fra.seen, 52, 2, {}).echoes == {2: Epoch(AMS_BOOT, 4)}


def test_each_entry_into_depref_is_a_new_epoch_and_many_at_once_are_one() -> None:
    down_at = Memory(level=Level.DEPREF, epoch=1)
    own = Own(BOOT).follow({P: Memory(), Q: Memory()})
    assert (own.counter, own.epoch) == (1, Epoch(BOOT, 1))
    assert own.follow({P: Memory(), Q: Memory(level=Level.NORMAL)}) is own
    own = own.follow({P: down_at, Q: down_at})
    assert (own.counter, own.entered) == (2, {P: Entered(1, 2), Q: Entered(1, 2)})
    own = own.follow({P: replace(down_at, epoch=2)})
    assert (own.counter, own.entered[P], own.entered[Q]) == (3, Entered(2, 3), Entered(1, 2))
    assert own.keep({Q}).entered == {Q: Entered(1, 2)}
    # begun anew, everything is; as it is when a beacon's 16 bits are full
    assert Own(BOOT + 1).follow({P: down_at}).entered[P] == Entered(1, 1)
    full = replace(own, counter=0xFFFF).follow({P: replace(down_at, epoch=3)})
    assert (full.epoch, full.entered) == (Epoch(BOOT + 1, 1), {P: Entered(3, 1), Q: Entered(1, 1)})


W, G, D, N = Level.WITHDRAWN, Level.GSHUT, Level.DEPREF, Level.NORMAL


@pytest.mark.parametrize(("decided", "sent", "claim"), [
    (N, (N,), Claim.NORMAL), (N, (D, N), Claim.NORMAL), (N, (D,), Claim.DEPREF), (N, (W,), Claim.GONE),
    (N, (), Claim.GONE), (D, (N, N), Claim.DEPREF), (G, (N,), Claim.DEPREF), (N, (G,), Claim.DEPREF),
    (W, (N, N), Claim.GONE), (D, (W, W), Claim.GONE),
])  # fmt: skip
def test_a_claim_is_never_above_what_was_decided_or_acknowledged(
    decided: Level, sent: tuple[Level, ...], claim: Claim
) -> None:
    assert honest_claim(decided, sent) is claim


def test_a_claim_can_ask_for_more_than_one_upstream() -> None:
    assert honest_claim(N, (N, D), min_upstreams=2) is Claim.DEPREF
    assert honest_claim(N, (N,), min_upstreams=2) is Claim.GONE
    assert honest_claim(N, (N, N), min_upstreams=2) is Claim.NORMAL
    assert honest_claim(D, (N, N), could_serve=True) is Claim.DRAINING
    assert honest_claim(N, (N, N), could_serve=True) is Claim.NORMAL
