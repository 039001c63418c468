"""The queue, the picture, refusals, and the text of the rules."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anycastd.actuators.nft import codec, rules
from anycastd.actuators.nft.picture import BITE, Picture
from anycastd.actuators.nft.queue import Queue
from anycastd.actuators.nft.refusals import REMEMBERED, Refusals, subject_of
from anycastd.model.eip import FlushConnections
from anycastd.model.nft import (
    Count,
    DropElement,
    NamedCounter,
    NftChange,
    NftSet,
    NftSettings,
    PutElement,
)

A4, A6 = IPv4Address("198.51.100.5"), IPv6Address("2001:db8::5")


def pool(number: int, mark: int = 1) -> PutElement:
    return PutElement(NftSet.POOL, number, mark)


def drained(queue: Queue) -> list[list[NftChange] | FlushConnections]:
    found = []
    for _ in queue.sort_in():
        pass
    while queue:
        found.append(queue.next())
    return found


def test_calls_are_joined_up_to_the_limit_and_never_cut_if_they_fit() -> None:
    queue = Queue(limit=5)
    queue.put([pool(1), pool(2), pool(3)])
    queue.put([pool(4), pool(5), pool(6)])
    queue.put([pool(7)])
    assert drained(queue) == [[pool(1), pool(2), pool(3)], [pool(4), pool(5), pool(6), pool(7)]]


def test_a_call_above_the_limit_is_cut_in_order() -> None:
    queue = Queue(limit=2)
    queue.put([pool(1), pool(2), pool(3)])
    assert drained(queue) == [[pool(1), pool(2)], [pool(3)]]


def test_of_one_element_only_the_last_change_is_left_at_its_own_place() -> None:
    queue = Queue()
    queue.put([pool(1, 10), pool(2)])
    queue.put([pool(3), pool(1, 11), DropElement(NftSet.POOL, 2), PutElement(NftSet.TRANSLATED, 2)])
    assert drained(queue) == [[pool(3), pool(1, 11), DropElement(NftSet.POOL, 2), PutElement(NftSet.TRANSLATED, 2)]]


def test_a_flush_waits_for_the_changes_before_it() -> None:
    queue, flush = Queue(), FlushConnections(7)
    queue.put([pool(1)])
    queue.flush([flush])
    queue.put([pool(2)])
    assert drained(queue) == [[pool(1)], flush, [pool(2)]]


def test_a_flush_waits_also_for_a_change_before_it_that_is_asked_again() -> None:
    queue, flush = Queue(), FlushConnections(7)
    queue.put([pool(1, 20)])
    queue.flush([flush])
    queue.put([pool(1, 20), pool(2)])
    assert drained(queue) == [[pool(1, 20), pool(2)], flush]


@given(st.lists(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 3)), max_size=8), max_size=6), st.integers(1, 5))
def test_the_queue_ends_in_what_its_changes_say(calls: list[list[tuple[int, int]]], limit: int) -> None:
    queue, wanted = Queue(limit), dict[int, int]()
    for call in calls:
        queue.put([pool(number, mark) for number, mark in call])
        wanted |= dict(call)
    done: dict[int, int] = {}
    for part in drained(queue):
        assert isinstance(part, list)
        assert len(part) <= limit
        done |= {change.key: change.value for change in part if isinstance(change, PutElement)}  # type: ignore[misc]
    assert done == wanted


def test_the_picture_tells_what_is_news() -> None:
    picture = Picture()
    assert picture.observed.elements is None
    key, value = codec.encode_key(NftSet.EIP4, A4), codec.encode_value(NftSet.EIP4, 5)
    assert picture.take(NftSet.EIP4, key, value)
    assert not picture.take(NftSet.EIP4, key, value)
    picture.publish(rules=True)
    seen = picture.observed
    assert seen.elements == {name: {A4: 5} if name is NftSet.EIP4 else {} for name in NftSet}
    assert picture.take(NftSet.EIP4, key, None)
    assert not picture.take(NftSet.EIP4, key, None)
    picture.publish()
    assert picture.observed is not seen
    assert (picture.observed.rules, picture.observed.resync) == (True, 0)
    assert not any((picture.observed.elements or {}).values())


def test_a_whole_set_is_taken_in_a_bite_at_a_time() -> None:
    picture = Picture()
    keys = [codec.encode_key(NftSet.IN4, A4 + number) for number in range(BITE * 3)]
    assert len(list(picture.become(NftSet.IN4, dict.fromkeys(keys, b"")))) >= 3
    assert picture.size(NftSet.IN4) == BITE * 3
    assert list(picture.become(NftSet.IN4, dict.fromkeys(keys, b""))) == []
    assert list(picture.become(NftSet.IN4, dict.fromkeys(keys[1:], b"")))
    assert picture.value(NftSet.IN4, keys[0]) is None
    picture.publish(resync=True)
    assert picture.observed.resync == 1


@pytest.mark.parametrize(
    ("change", "subject"),
    [
        (PutElement(NftSet.EIP4, A4, 5), "eip4 198.51.100.5"),
        (DropElement(NftSet.SLOT, (6, 63)), "slot 0x6 . 0:3f"),
        (PutElement(NftSet.OWN4, IPv4Network("10.0.0.0/8")), "own4 10.0.0.0/8"),
        (PutElement(NftSet.EIP4, A6, 5), "eip4 2001:db8::5"),
        (PutElement(NftSet.POOL, A4, 5), "pool 198.51.100.5"),
        (PutElement(NftSet.SLOT, 5, 5), "slot 5"),
    ],
)
def test_a_refusal_names_its_element(change: NftChange, subject: str) -> None:
    assert subject_of(change) == subject


def test_refusals_are_told_once_and_their_end_too() -> None:
    told: list[tuple[str, str | None]] = []
    found = Refusals(lambda subject, detail: told.append((subject, detail)))
    for _ in range(3):
        found.failed(pool(1), "Invalid argument")
    found.settled(pool(2))
    found.settled(pool(1))
    found.settled(pool(1))
    assert told == [("pool 0x1", "refused: Invalid argument"), ("pool 0x1", None)]
    for number in range(REMEMBERED + 5):
        found.failed(pool(number), "x")
    assert len(told) == 2 + REMEMBERED


def test_refusals_of_what_nobody_wants_any_more_are_over_and_may_be_told_again() -> None:
    told: list[tuple[str, str | None]] = []
    found = Refusals(lambda subject, detail: told.append((subject, detail)))
    found.failed(pool(1), "x")
    found.say("rules", "y")
    found.all_over(but=("rules",))
    found.all_over(but=("rules",))
    found.failed(pool(1), "x")
    assert told == [("pool 0x1", "refused: x"), ("rules", "y"), ("pool 0x1", None), ("pool 0x1", "refused: x")]


SETTINGS = NftSettings(mss4=1300, mss6=1200, seed=0xABC, outer_udp_ports=(4789, 51820))


@pytest.mark.parametrize(
    ("chain", "rule"),
    [
        ("untrack", "udp dport { 4789, 51820 } fib daddr type local notrack accept"),
        ("untrack", "ip6 saddr @free6 notrack"),
        ("own_out", "udp dport { 4789, 51820 } notrack accept"),
        ("pre", "ip daddr @own4 goto in4"),
        ("in6", "ip6 daddr @limin6 counter name limited drop"),
        ("in4", "counter name unbound4 drop"),
        ("go", "ct mark set meta mark"),
        ("stateless", "meta mark @translated counter name untracked drop"),
        ("routed", "fib daddr . mark oif missing counter name no_path drop"),
        ("pick", "meta mark set meta mark . meta priority map @slot"),
        ("bucket4", "meta priority set jhash ip saddr . ip daddr mod 64 seed 0x00000abc return"),
        ("nat6", "dnat ip6 to meta mark map @nat6"),
        ("hide_client", "snat ip to meta mark map @hide4"),
        (
            "mss",
            "ct mark & 0xff000000 != 0 meta nfproto ipv6 tcp option maxseg size > 1200 tcp option maxseg size set 1200",
        ),
        ("leave", "meta mark & 0xff000000 != 0 meta mark set 0"),
        ("out4", "ip saddr @limout4 drop"),
    ],
)
def test_the_rules_say_what_they_must(chain: str, rule: str) -> None:
    assert rule in rules.chains(SETTINGS)[chain][1]


def test_chains_stand_before_those_that_jump_to_them() -> None:
    seen: set[str] = set()
    for name, (_, lines) in rules.chains(SETTINGS).items():
        for line in lines:
            words = line.split()
            assert {words[at + 1] for at, word in enumerate(words) if word in ("goto", "jump")} <= seen
        seen.add(name)


def test_only_definitions_make_another_table_of_it() -> None:
    assert rules.digest(SETTINGS) == rules.digest(NftSettings())
    assert rules.install(SETTINGS) != rules.install(NftSettings())
    assert rules.digest(SETTINGS) in rules.install(SETTINGS)


def test_an_installation_takes_foreign_chains_out_and_no_element() -> None:
    text = rules.install(SETTINGS, ["strange"])
    assert text.index("flush chain inet anycastd strange") < text.index("delete chain inet anycastd strange")
    assert "element" not in text
    assert "delete table" not in text
    assert "flush set" not in text


def test_a_replacement_carries_contents_and_named_counters() -> None:
    text = rules.replace(
        SETTINGS, ["add element inet anycastd in4 { 1.2.3.4 }"], {NamedCounter.NO_PATH: Count(3, 4)}, {}
    )
    assert "counter no_path { packets 3 bytes 4 }" in text
    assert text.index("delete table") < text.index("set in4") < text.index("add element") < text.index("goto in4")


def test_a_replacement_names_each_prefix_until_the_sets_hold_them() -> None:
    own = {NftSet.OWN4: ["192.0.2.0/25", "198.51.100.0/24"], NftSet.OWN6: []}
    text = rules.replace(SETTINGS, (), {}, own)
    for chain in ("daddr {} goto in4", "daddr {} goto nat4", "saddr {} goto out4"):
        assert all(f"ip {chain.format(prefix)}\n" in text for prefix in own[NftSet.OWN4])
    assert "@own4" not in text
    assert "goto in6" not in text
    assert "@own4" in rules.install(SETTINGS)
