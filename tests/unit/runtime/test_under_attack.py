"""The loop under attack: whose prefixes are held, which EIPs are handled as attacked, and how it ends."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

from anycastd.model.absorb import AbsorbConfig, Untrack
from anycastd.model.address import Address
from anycastd.model.attack import AttackReason, AttackState, AttackView, Rate, Standing
from anycastd.model.attack_config import AttackConfig
from anycastd.model.decision import Level, Reason
from anycastd.model.eip import Eip, Mode
from anycastd.model.nft import NftSet
from anycastd.model.probe import Why
from anycastd.model.safety import CapacityConfig, PopCapacity, SafetyConfig
from anycastd.model.topology import Config
from anycastd.model.traffic import Rates, Sample, Totals
from anycastd.policy.desired import nft_settings
from anycastd.policy.elements import may_be_loose
from anycastd.runtime.loop.under_attack import attacked_prefixes
from tests.unit.runtime.test_control import healthy_world
from tests.unit.runtime.world import A, B, World, config, eip_of

FLOODED = Standing(AttackState.ATTACK, reasons=(AttackReason.PACKETS_ABOVE_USUAL,), rate=Rate(packets=1e6))
QUIET = Standing()
ELEVATED = replace(FLOODED, state=AttackState.ELEVATED)


def seen(*addresses: Address, pop: Standing = QUIET) -> AttackView:
    return AttackView(pop=pop, eips=dict.fromkeys(addresses, FLOODED))


def told(world: World, view: AttackView) -> None:
    world.control.take_attack(view, world.now_s)
    world.settle()


def with_absorb(its_config: Config, absorb: AbsorbConfig) -> Config:
    return replace(its_config, attack=AttackConfig(absorb=absorb))


def routed(its_config: Config) -> Config:
    regions = {name: replace(region, mode=Mode.ROUTED) for name, region in its_config.regions.items()}
    return replace(its_config, regions=regions)


def loose(world: World) -> set[Address]:
    return {key for key in world.nft.elements[NftSet.LOOSE4] if not isinstance(key, int | tuple)}  # type: ignore[misc]


def test_an_attack_on_an_eip_holds_its_prefix_and_no_other() -> None:
    world = healthy_world()
    told(world, seen(eip_of(A)))
    world.answer("backend/", Why.TIMEOUT)
    world.wait(60.0)
    assert world.control.levels == {A: Level.NORMAL, B: Level.DEPREF}
    decision = world.control.decisions[A]
    assert (decision.hold, decision.wanted) == (Reason.UNDER_ATTACK, Level.WITHDRAWN)
    assert f"{eip_of(A)} (packets_above_usual)" in decision.trail[1].evidence
    # it is over: calm first, then down the ladder as ever (A may be withdrawn)
    told(world, seen())
    world.wait(59.0)
    assert world.control.levels[A] is Level.NORMAL
    world.wait(1.5)
    assert world.control.levels[A] is Level.DEPREF
    world.wait(5.0)
    assert world.control.levels[A] is Level.WITHDRAWN


def test_an_attack_on_the_pop_holds_every_prefix_and_what_is_elevated_none() -> None:
    world = healthy_world()
    told(world, AttackView(pop=FLOODED))
    world.answer("", Why.TIMEOUT)
    world.wait(60.0)
    assert set(world.control.levels.values()) == {Level.NORMAL}
    assert len(world.speaker.said) == 2 + 1, "both prefixes and the End-of-RIB"
    other = healthy_world()
    told(other, AttackView(pop=ELEVATED, eips={eip_of(A): ELEVATED}))
    other.answer("", Why.TIMEOUT)
    assert Level.NORMAL not in other.control.levels.values()


def test_what_was_depreferenced_before_the_attack_was_seen_is_announced_normally_again() -> None:
    world = healthy_world()
    world.answer("", Why.TIMEOUT)
    assert set(world.control.levels.values()) == {Level.DEPREF}
    world.wait(1.0)
    told(world, seen(eip_of(B)))
    world.wait(60.0)
    assert world.control.levels == {A: Level.WITHDRAWN, B: Level.NORMAL}
    route = world.speaker.holds(B)
    assert route is not None
    assert route.as_path == (64500,)


def test_switched_off_nothing_is_held() -> None:
    world = World(with_absorb(config(), AbsorbConfig(enabled=False)))
    world.answer("")
    told(world, AttackView(pop=FLOODED, eips={eip_of(A): FLOODED}))
    assert not loose(world)
    world.answer("", Why.TIMEOUT)
    world.wait(10.0)
    assert world.control.levels == {A: Level.WITHDRAWN, B: Level.DEPREF}


def test_a_reload_in_the_middle_of_an_attack_is_followed() -> None:
    off = with_absorb(config(prefixes=(B,)), AbsorbConfig(enabled=False))
    world = World(off)
    world.answer("")
    told(world, AttackView(pop=FLOODED))
    # switched on, and a prefix more: the watch has nothing new to tell
    world.configure(config())
    world.answer("")
    assert world.control.levels == {A: Level.NORMAL, B: Level.NORMAL}
    world.answer("", Why.TIMEOUT)
    world.wait(10.0)
    assert world.control.levels == {A: Level.NORMAL, B: Level.NORMAL}
    world.configure(off)
    world.settle()
    assert world.control.levels == {B: Level.DEPREF}


def test_room_is_asked_for_while_an_attack_is_on() -> None:
    spec = SafetyConfig(capacity=CapacityConfig(pops={"ams": PopCapacity(capacity_bps=10**10)}))
    world = World(replace(config(), safety=spec))
    world.answer("")
    rates = Rates(in_bps=1e9, out_bps=2e8)
    sample = Sample(0.0, 0.0, 10.0, {}, Totals(), rates, {})
    world.control.attacks.ask(lambda: sample, lambda: {"ams": 1e9})
    # a flood of 50 Gbit/s has no room there, whatever of it is let through
    told(world, AttackView(pop=replace(FLOODED, rate=Rate(bits=50e9))))
    world.answer("", Why.TIMEOUT)
    assert set(world.control.levels.values()) == {Level.NORMAL}
    assert "ams would carry 33500 Mbit/s" in world.control.decisions[A].trail[1].evidence
    told(world, AttackView(pop=replace(FLOODED, rate=Rate(bits=2e9))))
    world.control.step(world.now_s)
    world.settle()
    assert set(world.control.levels.values()) == {Level.DEPREF}
    world.wait(60.0)
    assert set(world.control.levels.values()) == {Level.DEPREF}


def test_what_begins_at_an_attacked_eip_is_not_tracked_until_it_was_calm() -> None:
    world = World(routed(config()))
    told(world, seen(eip_of(A)))
    assert loose(world) == {eip_of(A)}
    told(world, seen())
    world.wait(30.0)
    # it flares up, and is over
    for view in (seen(eip_of(A)), seen()):
        told(world, view)
    world.wait(59.0)
    assert loose(world) == {eip_of(A)}
    world.wait(1.5)
    assert not loose(world)
    assert world.nft.marks_of(eip_of(A))


def test_who_says_never_has_everything_tracked() -> None:
    world = World(with_absorb(routed(config()), AbsorbConfig(untrack=Untrack.NEVER)))
    told(world, seen(eip_of(A)))
    assert not loose(world)


def test_what_needs_a_translation_stays_tracked() -> None:
    its_config = routed(config())
    one: Eip = its_config.eips[eip_of(A)]
    assert may_be_loose(its_config, one)
    assert one.binding is not None
    target = replace(one.binding.targets[0], mode=Mode.DNAT)
    mixed = replace(one, binding=replace(one.binding, targets=(target, *one.binding.targets[1:])))
    assert not may_be_loose(its_config, mixed)
    assert not may_be_loose(its_config, replace(one, binding=None))
    world = World(replace(its_config, eips={**its_config.eips, eip_of(A): mixed}))
    told(world, seen(eip_of(A), eip_of(B)))
    assert loose(world) == {eip_of(B)}
    # a reload may make it one that can
    world.configure(its_config)
    world.settle()
    assert loose(world) == {eip_of(A), eip_of(B)}


def test_the_words_name_what_is_attacked() -> None:
    its_config = config()
    many = [ip_address(f"203.0.113.{number}") for number in range(5)]
    found = attacked_prefixes(seen(*many), its_config)
    assert found == {
        A: "an attack is on: 203.0.113.0 (packets_above_usual), 203.0.113.1 (packets_above_usual), "
        "203.0.113.2 (packets_above_usual) and 2 more"
    }
    both = attacked_prefixes(seen(eip_of(A), pop=FLOODED), its_config)
    assert both[B] == "an attack is on: the POP (packets_above_usual)"
    assert str(eip_of(A)) in both[A]
    assert attacked_prefixes(seen(ip_address("192.0.2.1")), its_config) == {}


def test_packets_of_our_own_go_first_by_the_addresses_from_which_we_check() -> None:
    its_config = config()
    found = nft_settings(its_config, {})
    assert [str(one) for one in found.own_sources] == ["10.1.1.1", "10.1.2.1", "10.2.1.1", "10.2.2.1"]
    assert (found.own_first, found.dscp) == (True, 48)
    off = nft_settings(with_absorb(its_config, AbsorbConfig(enabled=False)), {})
    assert (off.own_first, off.own_sources) == (False, ())
