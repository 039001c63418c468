"""S22 in the daemon: what is looked at when, and which alarm stands how long."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from dataclasses import replace
from ipaddress import ip_address, ip_network

from anycastd.model.bgp import SessionState, SessionView
from anycastd.model.decision import Level
from anycastd.model.effect import Effect
from anycastd.model.eip import EipId
from anycastd.model.probe import Why
from anycastd.model.status import Alarm
from anycastd.model.traffic import EipStanding, EipTraffic, Rates, Sample, Totals
from anycastd.runtime.alarms import Reported
from anycastd.runtime.followed.effects import LOOKED_AT, Effects, rates_of
from tests.unit.runtime.world import UP, A, B, Notes, World, eip_of


def sample_of(**bps: float) -> Sample:
    """Return a reading in which the EIPs of A and B get so much."""
    eips = {}
    for number, (prefix, rate) in enumerate(((A, bps.get("a", 0.0)), (B, bps.get("b", 0.0)))):
        standing = EipStanding(EipId(f"eip-{number:08x}"))
        eips[eip_of(prefix)] = EipTraffic(standing, number, 0.0, tuple(Totals()), tuple(Rates(in_bps=rate)))
    return Sample(0.0, 0.0, 5.0, eips, Totals(), Rates(), {})


class Telling(Notes):
    """Tells the effects of each decision, as the recorder does."""

    effects: Effects

    def decided(self, before, snapshot, seen_s) -> None:  # type: ignore[no-untyped-def]
        super().decided(before, snapshot, seen_s)
        if hasattr(self, "effects"):
            self.effects.note(before, snapshot.decision, snapshot.facts.now_s)


class Watched:
    """A POP that serves, with effects that are looked at by hand."""

    def __init__(self) -> None:
        self.world = World()
        self.world.answer("")
        self.reported, self.counted = Reported(), Counter[Effect]()
        self.sample: Sample | None = sample_of(a=100e6, b=100e6)
        self.effects = Effects(
            self.world.control, lambda: self.sample, self.reported, lambda e: self.counted.update([e]),
            lambda: self.world.now_s,
        )  # fmt: skip
        notes = Telling()
        notes.effects = self.effects
        self.world.control._record = notes

    async def wait(self, seconds: float) -> None:
        """Let time pass with a look each second."""
        for _ in range(int(seconds)):
            self.world.wait(1.0)
            self.world.settle()
            await self.effects.look()

    @property
    def alarms(self) -> dict[str, str]:
        return {
            subject: words for (alarm, subject), words in self.reported.details.items() if alarm is Alarm.EFFECT_MISSING
        }


async def test_traffic_that_stays_is_an_alarm_until_it_falls() -> None:
    watched = Watched()
    watched.world.answer("", Why.TIMEOUT)
    await watched.effects.look()
    await watched.wait(40)
    assert watched.alarms == {}
    await watched.wait(40)
    # A went on to WITHDRAWN after it had settled: what it had before DEPREF is what counts
    words = re.sub(r"\d+ s ago", "a while ago", watched.alarms[str(A)])
    assert words.startswith("NORMAL -> WITHDRAWN, a while ago: 100.0 Mbit/s before, 100.0 Mbit/s now")
    assert watched.alarms[str(B)].startswith("NORMAL -> DEPREF")
    watched.sample = sample_of(a=1e6, b=95e6)
    await watched.wait(11)
    assert set(watched.alarms) == {str(B)}
    await watched.wait(229)
    watched.sample = sample_of(a=1e6, b=50e6)
    await watched.wait(11)
    assert watched.alarms == {}
    assert watched.counted[Effect.TRAFFIC_STAYED] == 3
    assert watched.counted[Effect.EFFECT_SEEN] == 3
    looks = sum(watched.counted.values())
    await watched.wait(700)
    assert sum(watched.counted.values()) == looks, "what had its effect is looked at no more"


async def test_traffic_that_does_not_come_back_is_an_alarm() -> None:
    watched = Watched()
    watched.world.answer("", Why.TIMEOUT)
    await watched.wait(5)
    watched.sample = sample_of(b=1e6)
    watched.world.answer("")
    await watched.wait(500)
    assert watched.alarms[str(B)].startswith("DEPREF -> NORMAL")
    assert "1.0 Mbit/s now; 10 % of it should have come" in watched.alarms[str(B)]
    watched.sample = sample_of(a=100e6, b=80e6)
    await watched.wait(11)
    assert watched.alarms == {}


async def test_a_route_that_is_not_sent_and_a_session_that_is_down_are_told_at_the_first_look() -> None:
    watched = Watched()
    watched.world.answer("", Why.TIMEOUT)
    await watched.wait(5)
    speaker = watched.world.speaker
    held = {UP: {B: replace(speaker.holds(B), as_path=(64500,))}}  # type: ignore[type-var]
    speaker.observed = replace(speaker.observed, routes=held)  # type: ignore[arg-type]
    watched.world.now_s += 10.0
    await watched.effects.look()
    assert "ExaBGP does not send what was decided" in watched.alarms[str(B)]
    watched = Watched()
    down = SessionView(SessionState.DOWN)
    watched.world.speaker.observed = replace(watched.world.speaker.observed, sessions={UP: down})
    watched.world.answer("", Why.TIMEOUT)
    await watched.wait(15)
    assert "no neighbor that carries it is established" in watched.alarms[str(B)]
    # another change begins anew
    watched.world.answer("")
    await watched.wait(330)
    assert not watched.alarms or "DEPREF -> NORMAL" in watched.alarms[str(B)]


async def test_what_is_not_measured_raises_nothing_and_a_removed_prefix_is_forgotten() -> None:
    watched = Watched()
    watched.sample = None
    watched.world.answer("", Why.TIMEOUT)
    await watched.wait(400)
    assert watched.alarms == {}
    assert set(watched.counted) == {Effect.EFFECT_NOT_MEASURED}
    watched.sample = sample_of(a=100e6, b=100e6)
    watched.world.answer("")
    await watched.wait(310)
    watched.world.answer("", Why.TIMEOUT)
    await watched.wait(70)
    assert str(B) in watched.alarms
    config = watched.world.control.config
    watched.world.configure(replace(config, prefixes={A: config.prefixes[A]}, eips={}))
    await watched.wait(2)
    assert str(B) not in watched.alarms


async def test_rates_are_those_of_the_eips_inside() -> None:
    sample = sample_of(a=3.0, b=4.0)
    assert await rates_of({A, B}, sample) == {A: 3.0, B: 4.0}
    assert await rates_of({A}, sample) == {A: 3.0}
    assert await rates_of({A}, replace(sample, interval_s=0.0)) == {}
    other = replace(sample, eips={ip_address("2001:db8::1"): sample.eips[eip_of(A)]})
    assert await rates_of({A}, other) == {A: 0.0}


async def test_thousands_that_turn_at_once_do_not_hold_the_loop() -> None:
    watched = Watched()
    many = 4 * LOOKED_AT
    prefixes = [ip_network((f"10.{n >> 8}.{n & 255}.0", 24)) for n in range(many)]
    spec = watched.world.control.config.prefixes[A]
    config = watched.world.control.config
    watched.world.control.config = replace(config, prefixes={**config.prefixes, **dict.fromkeys(prefixes, spec)})
    decided = watched.world.control.decisions[A]
    for prefix in prefixes:
        before = replace(decided, prefix=prefix)
        watched.effects.note(before, replace(before, level=Level.WITHDRAWN), watched.world.now_s)
    turns, looking = 0, asyncio.ensure_future(watched.effects.look())
    while not looking.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns >= many // LOOKED_AT
