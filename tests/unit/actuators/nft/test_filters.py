"""Blackholes and flow rules in the words of nft; the real nft is asked in tests/lab."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network

from anycastd.actuators.nft import rules
from anycastd.actuators.nft.filters import lines, merged
from anycastd.model.flow import FlowMatch
from anycastd.model.nft import LocalFilter, NftSettings

TO = ip_network("203.0.113.10")
FULL = FlowMatch(
    destination=TO,
    source=ip_network("10.0.0.0/8"),
    protocols=(6,),
    destination_ports=((53, 53), (1000, 2000), (1500, 2500), (2501, 2501)),
    source_ports=((1, 1),),
    lengths=((0, 100),),
    tcp_set=2,
    tcp_unset=16,
)


def test_each_is_one_rule_with_a_counter_of_its_name() -> None:
    filters = (
        LocalFilter("blackhole-1a", FlowMatch(destination=TO), until_unix_s=1_790_000_000),
        LocalFilter("flow-2b", FULL, 1_250_000),
    )
    assert lines(filters, 4) == [
        "ip daddr 203.0.113.10/32 meta time < 1790000000 counter name filter_blackhole_1a drop",
        "ip daddr 203.0.113.10/32 ip saddr 10.0.0.0/8 meta l4proto { 6 } th dport { 53, 1000-2501 } th sport { 1 } "
        "meta length { 0-100 } tcp flags & 0x12 == 0x2 limit rate over 1250000 bytes/second burst 125000 bytes "
        "counter name filter_flow_2b drop",
    ]
    assert lines(filters, 6) == []


def test_a_limit_has_room_for_one_large_segment() -> None:
    (line,) = lines([LocalFilter("flow-1", replace(FULL, tcp_set=0, tcp_unset=0), 9600)], 4)
    assert "burst 16384 bytes" in line


def test_ranges_that_overlap_or_touch_are_one() -> None:
    assert merged([(5, 6), (1, 2), (3, 4), (9, 9)]) == [(1, 6), (9, 9)]


def test_filters_change_rules_and_counters_and_nothing_that_tells_a_table_of_another_make() -> None:
    plain, filtered = NftSettings(), NftSettings(filters=(LocalFilter("flow-1", FULL),))
    assert rules.comment(plain) == rules.comment(filtered)
    assert "filter_flow_1" not in rules.install(plain)
    for text in (rules.install(filtered), rules.replace(filtered, (), {}, {})):
        assert text.count("filter_flow_1") == 2, "the counter, and the rule"
        assert text.index("counter filter_flow_1 {") < text.index("counter name filter_flow_1")
