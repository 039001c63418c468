"""Each EIP: from the meter's readings to states. An EIP without traffic costs nothing, a quiet one a few additions."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace

from anycastd.attack.assess import ALONE, CALM, EASE, Track, is_limited, judge, step
from anycastd.attack.pop import Risen
from anycastd.attack.usual import Pace, Usual
from anycastd.model.address import Address
from anycastd.model.attack import AttackReason, AttackState, Rate
from anycastd.model.attack_config import DetectConfig
from anycastd.model.traffic import EipTraffic, Sample, Totals

BITE = 256
"""How many EIPs are looked at before the caller gets the word again: below a millisecond."""

_AT = Totals._fields.index
_PACKETS = tuple(map(_AT, ("in_packets", "limit_in_packets", "unbound_packets", "no_path_packets")))
_BYTES = tuple(map(_AT, ("in_bytes", "limit_in_bytes", "unbound_bytes", "no_path_bytes")))
_P0, _P1, _P2, _P3 = _PACKETS
_B0, _B1, _B2, _B3 = _BYTES


class EipWatch:
    """`usual` of every EIP that ever had traffic here, `tracks` and `rates` of those that are not plainly NORMAL."""

    def __init__(self, usual: Mapping[Address, Usual] | None = None) -> None:
        self.usual = dict(usual or {})
        self.tracks: dict[Address, Track] = {}
        self.rates: dict[Address, Rate] = {}
        self.changed: list[Address] = []
        """Whose state or reasons the last reading changed."""
        self._before: Mapping[Address, EipTraffic] | None = None
        self._before_s = 0.0

    def feed(
        self,
        sample: Sample,
        hurts: Collection[AttackReason],
        config: DetectConfig,
        opened: Mapping[Address, float] | None = None,
    ) -> None:
        """Take in a reading at once."""
        for _ in self.steps(sample, hurts, config, opened):
            pass

    def steps(
        self,
        sample: Sample,
        hurts: Collection[AttackReason],
        config: DetectConfig,
        opened: Mapping[Address, float] | None = None,
    ) -> Iterator[None]:
        """Take in a reading in bites. What came in counts, whatever became of it; `hurts` are the POP's pains.

        `opened`: new connections a second of those that have some; None: nobody counted them. The first reading only
        begins, and so does the first of an EIP that is new at its address.
        """
        before, before_s = self._before, self._before_s
        self._before, self._before_s, self.changed = sample.eips, sample.at_s, []
        span_s = sample.at_s - before_s
        if before is None or span_s <= 0.0:
            return
        # what is bad enough alone says nothing of one EIP
        hurts, pace = [one for one in hurts if one not in ALONE], Pace.of(config, span_s)
        # two lists: ten thousand new pairs would be collected as garbage at once
        for position, (address, traffic) in enumerate(
            zip(list(sample.eips), list(sample.eips.values()), strict=True), 1
        ):
            if position % BITE == 0:
                yield
            was = before.get(address)
            if was is traffic:
                if address in self.tracks:
                    self._calmed(address, sample.at_s, pace, config)
                continue
            if was is None or was.number != traffic.number:
                self._forget(address)
                continue
            begun = None if opened is None else opened.get(address, 0.0)
            self._look_at(address, was.counts, traffic.counts, begun, pace, sample.at_s, hurts, config)
        for position, address in enumerate([*self.usual, *self.tracks], 1):
            if position % (4 * BITE) == 0:
                yield
            if address not in sample.eips:
                self._forget(address)

    def _forget(self, address: Address) -> None:
        self.usual.pop(address, None)
        self.rates.pop(address, None)
        if self.tracks.pop(address, Track()).state is not AttackState.NORMAL:
            self.changed.append(address)

    def _look_at(
        self,
        address: Address,
        was: tuple[int, ...],
        now: tuple[int, ...],
        opened: float | None,
        pace: Pace,
        at_s: float,
        hurts: Collection[AttackReason],
        config: DetectConfig,
    ) -> None:
        span_s, bounds = pace.span_s, config.eip
        limited = now[_P1] - was[_P1]
        lost = limited + now[_P2] - was[_P2] + now[_P3] - was[_P3]
        packets = (now[_P0] - was[_P0] + lost) / span_s
        bits = (now[_B0] + now[_B1] + now[_B2] + now[_B3] - was[_B0] - was[_B1] - was[_B2] - was[_B3]) * 8.0 / span_s
        usual = self.usual.get(address)
        if usual is None:
            usual = self.usual[address] = Usual(at_s=at_s - span_s)
        usual.idle_until(at_s - span_s, config)
        track = self.tracks.get(address)
        if track is None and bounds.say_nothing_of(packets, bits, opened or 0.0):
            usual.learn(packets, bits, opened, pace, bounds, config, alarmed=False)
            return
        rate = Rate(packets, bits, opened, lost / span_s)
        pains = (*hurts, AttackReason.DROPPED_BY_LIMIT) if is_limited(rate, limited / span_s, bounds) else hurts
        self._judge(address, rate, usual, pains, pace, at_s, config)

    def suspect(
        self,
        address: Address,
        rate: Rate,
        limited_packets: float,
        lasted_s: float,
        at_s: float,
        hurts: Collection[AttackReason],
        config: DetectConfig,
        risen: Risen | None = None,
    ) -> bool:
        """Judge one by a reading of its own, between those of all; return whether it is above.

        `lasted_s`: for how long, if it is. `risen`: before that the POP's rates rose so. If that was this EIP, and as
        much, it was so in that interval too, and began in the middle of it on average.
        Nothing is learnt by it, and nothing gets milder: that is for the others.
        """
        usual = self.usual.get(address) or Usual()
        pains = [one for one in hurts if one not in ALONE]
        if is_limited(rate, limited_packets, config.eip):
            pains.append(AttackReason.DROPPED_BY_LIMIT)
        normal = Rate(usual.packets, usual.bits, usual.connections)
        known = usual.is_known(config)
        now = judge(rate, normal, config.eip, config, pains, known=known)
        before = self.tracks.get(address, Track())
        if now.state is AttackState.NORMAL:
            return False
        if risen is not None:
            then = judge(_least(rate, risen.rate), normal, config.eip, config, pains, known=known)
            lasted_s += risen.span_s / 2.0 if then.state >= now.state else 0.0
        after = step(replace(before, attack_for_s=0.0, elevated_for_s=0.0), now, now.state, at_s, lasted_s, config)
        if after.state >= before.state:
            self.tracks[address], self.rates[address] = after, rate
        return True

    def _calmed(self, address: Address, at_s: float, pace: Pace, config: DetectConfig) -> None:
        """Take in that nothing came for one whose state is not NORMAL yet."""
        self._judge(address, Rate(), self.usual.setdefault(address, Usual(at_s=at_s)), (), pace, at_s, config)

    def _judge(
        self,
        address: Address,
        rate: Rate,
        usual: Usual,
        hurts: Collection[AttackReason],
        pace: Pace,
        at_s: float,
        config: DetectConfig,
    ) -> None:
        known, normal = usual.is_known(config), Rate(usual.packets, usual.bits, usual.connections)
        now = stays = CALM
        if rate.packets:
            now = judge(rate, normal, config.eip, config, hurts, known=known)
            stays = judge(rate, normal, config.eip, config, hurts, known=known, ease=EASE)
        before = self.tracks.get(address, Track())
        after = step(before, now, stays.state, at_s, pace.span_s, config)
        alarmed = max(now.state, after.state) is not AttackState.NORMAL
        usual.learn(rate.packets, rate.bits, rate.connections, pace, config.eip, config, alarmed=alarmed)
        if (before.state, before.reasons) != (after.state, after.reasons):
            self.changed.append(address)
        if after.is_plain:
            self.tracks.pop(address, None)
            self.rates.pop(address, None)
        else:
            self.tracks[address], self.rates[address] = after, rate


def _least(one: Rate, other: Rate) -> Rate:
    connections = None if one.connections is None else min(one.connections, other.connections or 0.0)
    return Rate(min(one.packets, other.packets), min(one.bits, other.bits), connections)
