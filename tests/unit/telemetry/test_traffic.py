"""The metrics of EIPs, read back with Prometheus' own parser."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

from prometheus_client.parser import text_string_to_metric_families

from anycastd.model.address import Address, BackendId, RegionName
from anycastd.model.conntrack import ConntrackStats, PathConnections
from anycastd.model.eip import Eip, EipId, EipStatus, EipView, Mode, Path, Placement, PlacementReason, Share
from anycastd.model.nft import Count, NamedCounter
from anycastd.model.traffic import EipStanding, EipTraffic, Rates, Sample, Totals, Unforwarded
from anycastd.telemetry.catalogue import TRAFFIC
from anycastd.telemetry.traffic import PIECE_EIPS, TrafficFacts, pieces_of

A, SIX = ip_address("203.0.113.10"), ip_address("2001:db8:113::10")


def view(address: Address, *shares: tuple[str, int]) -> EipView:
    """Return an EIP placed at these backends with so many buckets each."""
    eip = Eip(id=EipId("eip-1"), address=address)
    if not shares:
        return EipView(eip, EipStatus.UNBIND, PlacementReason.UNBOUND, "")
    placed = tuple(
        Share(Path(BackendId(to), RegionName(to.partition("/")[0]), Mode.DNAT, (), 1, number), buckets)
        for number, (to, buckets) in enumerate(shares)
    )
    placement = Placement(placed, PlacementReason.PREFERRED, "", 0.0)
    return EipView(eip, EipStatus.BIND, PlacementReason.PREFERRED, "", placement)


def facts() -> TrafficFacts:
    """Return two EIPs, one with a limit, one that has dropped for a limit it no longer has."""
    standing = EipStanding(EipId("eip-1"), in_limit_bps=8_000_000)
    totals = Totals(*range(1, 13))
    eips = {
        A: EipTraffic(standing, 1, 0.0, totals, Rates()),
        SIX: EipTraffic(replace(standing, in_limit_bps=None), 2, 0.0, totals._replace(limit_in_packets=0), Rates()),
    }
    named = {name: Count(20 + number, 1000 + number) for number, name in enumerate(NamedCounter)}
    sample = Sample(0.0, 0.0, 5.0, eips, totals, Rates(), named)
    views = {A: view(A, ("eu-central/web-1", 16), ("eu-central/web-1", 16), ("us-east/web-2", 32)), SIX: view(SIX)}
    pinned = [PathConnections("eu-central", "web-1", "dnat", 40), PathConnections("us-east", "", "", 2)]
    tracking = ConntrackStats(100, 262_144, 2, 1, 3)
    return TrafficFacts(sample, views, tracking, {A: 21}, {A: 42}, pinned, {4: Unforwarded(5, 6, 7)})


def samples(given: TrafficFacts) -> dict[tuple[str, ...], float]:
    text = b"".join(pieces_of(given)).decode()
    families = list(text_string_to_metric_families(text))
    known = {spec.name.removesuffix("_total"): spec for spec in TRAFFIC}
    assert [family.name for family in families] == list(known)
    for family in families:
        spec = known[family.name]
        assert (family.type, family.documentation) == (spec.kind.value, spec.text)
        assert all(set(sample.labels) == set(spec.labels) for sample in family.samples)
    return {
        (sample.name.removeprefix("anycastd_"), *sample.labels.values()): sample.value
        for family in families
        for sample in family.samples
    }


def test_an_eip_is_told_by_direction_and_cause() -> None:
    found = samples(facts())
    a, six = str(A), str(SIX)
    assert [found["eip_packets_total", a, way] for way in ("in", "out")] == [1, 3]
    assert [found["eip_bytes_total", six, way] for way in ("in", "out")] == [2, 4]
    causes = [("in", "limit"), ("out", "limit"), ("in", "unbound"), ("in", "no_path")]
    assert [found["eip_dropped_packets_total", a, *cause] for cause in causes] == [5, 7, 9, 11]
    assert [found["eip_dropped_bytes_total", a, *cause] for cause in causes] == [6, 8, 10, 12]
    assert found["eip_limit_bits_per_second", a, "in"] == 8_000_000
    assert ("eip_limit_bits_per_second", a, "out") not in found
    assert found["eip_shaped_dropped_packets_total", a] == 21
    assert ("eip_shaped_dropped_packets_total", six) not in found
    assert ("eip_limit_bits_per_second", six, "in") not in found


def test_drops_for_a_limit_are_there_with_the_limit_or_once_there_were_some() -> None:
    found = samples(facts())
    assert ("eip_dropped_packets_total", str(SIX), "in", "limit") not in found
    assert ("eip_dropped_packets_total", str(SIX), "out", "limit") in found


def test_status_and_the_share_of_each_backend() -> None:
    found = samples(facts())
    assert found["eip_status", str(A), "BIND"] == found["eip_status", str(SIX), "UNBIND"] == 1.0
    assert found["eip_placement", str(A), "eu-central", "web-1"] == 0.5
    assert found["eip_placement", str(A), "us-east", "web-2"] == 0.5
    assert not any(key[:2] == ("eip_placement", str(SIX)) for key in found)


def test_the_pop_and_connection_tracking() -> None:
    found = samples(facts())
    assert (found["pop_bytes_total", "in"], found["pop_packets_total", "out"]) == (2.0, 3.0)
    assert [found["pop_dropped_packets_total", name.value] for name in NamedCounter] == [20, 21, 22, 23]
    assert found["pop_dropped_bytes_total", "untracked"] == 1003
    refused = [found["unforwarded_packets_total", "ipv4", cause] for cause in ("expired", "too_big", "no_route")]
    assert refused == [5, 6, 7]
    assert found["conntrack_entries",] == 100
    assert found["conntrack_limit",] == 262_144
    assert [found[f"conntrack_{name}_total",] for name in ("insert_failed", "drop", "early_drop")] == [3, 2, 1]


def test_connections_by_eip_and_by_path() -> None:
    found = samples(facts())
    assert {key[1:]: value for key, value in found.items() if key[0] == "eip_connections"} == {(str(A),): 42.0}
    assert {key[1:]: value for key, value in found.items() if key[0] == "path_connections"} == {
        ("eu-central", "web-1", "dnat"): 40.0,
        ("us-east", "", ""): 2.0,
    }


def test_before_the_first_reading_nothing_is_told() -> None:
    assert samples(TrafficFacts()) == {}


def test_the_text_comes_in_pieces_and_none_ends_it_early() -> None:
    addresses = [A + number for number in range(3 * PIECE_EIPS)]
    views = {address: view(address) for address in addresses[:-1]} | {addresses[-1]: view(A, ("eu/web", 64))}
    base = facts()
    assert base.sample is not None
    sample = replace(base.sample, eips=dict.fromkeys(addresses, base.sample.eips[A]))
    found = samples(TrafficFacts(sample, views))
    assert found["eip_placement", str(addresses[-1]), "eu", "web"] == 1.0
    assert sum(key[0] == "eip_bytes_total" for key in found) == 2 * len(addresses)
    longest = max(piece.count(b"\n") for piece in pieces_of(TrafficFacts(sample, views)))
    assert longest <= 4 * PIECE_EIPS
