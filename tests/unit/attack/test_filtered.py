"""An attack that is filtered is still one."""

from __future__ import annotations

from anycastd.attack.eips import EipWatch
from anycastd.attack.filtered import with_filtered
from anycastd.model.attack import AttackState
from anycastd.model.attack_config import DetectConfig
from anycastd.model.nft import Count
from anycastd.model.traffic import Totals
from tests.unit.attack.readings import A, B, Eips


def test_what_filters_drop_is_counted_of_the_eip_and_of_no_other() -> None:
    eips = Eips(A, B)
    plain = eips.reading(5.0, {A: Totals(in_packets=10, in_bytes=1000)})
    assert with_filtered(plain, {}) is plain
    seen = with_filtered(plain, {A: Count(100, 9000)})
    assert seen.eips[B] is plain.eips[B], "nobody looks at what is the same object"
    assert seen.eips[A].totals == plain.eips[A].totals._replace(no_path_packets=100, no_path_bytes=9000)


def test_a_flood_that_a_rule_drops_keeps_its_eip_in_attack() -> None:
    eips, watch, config, dropped = Eips(A, B), EipWatch(), DetectConfig(warm_up_s=10.0), Count()
    for turn in range(60):
        sample = eips.reading(5.0, {A: Totals(in_packets=1000, in_bytes=100_000)})
        if turn >= 30:
            # 200,000 packets a second, all of them dropped before the EIP is looked up
            dropped += Count(1_000_000, 1_000_000_000)
        watch.feed(with_filtered(sample, {A: dropped}), (), config)
        state = watch.tracks[A].state if A in watch.tracks else AttackState.NORMAL
    assert state is AttackState.ATTACK
    assert B not in watch.tracks
