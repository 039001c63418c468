"""What the packet filter's sets should hold for an EIP, a pool, a path and our prefixes."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from anycastd.model.address import TunnelId
from anycastd.model.eip import Affinity, Bandwidth, Mode, Ping, PortMap, Shaping, Tracking, Transport
from anycastd.model.nft import BUCKETS, BY_SOURCE, REGION_MASK, Limit, NftSet
from anycastd.policy.elements import limit_of, of_eip, of_path, of_pool, of_prefixes, pool_number
from anycastd.policy.paths import path_of
from tests.unit.policy.eips import BAD, CONFIG, bound, eip, placed, to

BINDING = bound("eu/web-1", to("us/web-1", priority=2))
A4, A6 = ip_address("203.0.113.7"), ip_address("2001:db8:113::7")


def test_a_bound_eip() -> None:
    counted = {(name, A4): None for name in (NftSet.IN4, NftSet.OUT4, NftSet.NEW4)}
    assert of_eip(eip(7, BINDING), 5) == {**counted, (NftSet.EIP4, A4): 5}


def test_an_eip_that_carries_nothing() -> None:
    idle = {(NftSet.IN6, A6): None, (NftSet.OUT6, A6): None, (NftSet.IDLE6, A6): None}
    assert of_eip(eip("2001:db8:113::7"), None) == idle


def test_an_eip_without_a_path_by_choice() -> None:
    wanted = of_eip(eip(7, BINDING), 5, dark=True)
    assert wanted[NftSet.EIP4, A4] == 5
    assert (NftSet.DARK4, A4) in wanted
    assert (NftSet.IDLE4, A4) not in wanted


def test_everything_an_eip_can_have() -> None:
    full = replace(
        eip("2001:db8:113::7", BINDING, bandwidth=Bandwidth(in_bps=8_000_000, out_bps=100_000_000)),
        ping=Ping.POP,
        tracking=Tracking.STATELESS,
    )
    assert of_eip(full, BY_SOURCE | 9) == {
        (NftSet.IN6, A6): None,
        (NftSet.NEW6, A6): None,
        (NftSet.OUT6, A6): None,
        (NftSet.LIMIT_IN6, A6): Limit(1_000_000, 100_000),
        (NftSet.LIMIT_OUT6, A6): Limit(12_500_000, 1_250_000),
        (NftSet.PONG6, A6): None,
        (NftSet.FREE6, A6): None,
        (NftSet.EIP6, A6): BY_SOURCE | 9,
    }


def test_shaping_takes_a_class_in_the_place_of_the_limit_to_clients() -> None:
    shaped = eip(7, BINDING, bandwidth=Bandwidth(in_bps=8_000, out_bps=8_000, shaping=Shaping.HTB))
    wanted = of_eip(shaped, 5, minor=0x123)
    assert wanted[NftSet.CLASS4, A4] == 0x123
    assert (NftSet.LIMIT_OUT4, A4) not in wanted
    assert (NftSet.LIMIT_IN4, A4) in wanted
    assert (NftSet.CLASS4, A4) not in of_eip(eip(7, BINDING), 5, minor=0x123)


@pytest.mark.parametrize(
    ("bps", "limit"),
    [
        (1, Limit(1, 65536)),
        (1_000_000, Limit(125_000, 65536)),
        (10_000_000, Limit(1_250_000, 125_000)),
        (1_000_000_000, Limit(125_000_000, 12_500_000)),
    ],
)
def test_bursts_are_100_ms_and_never_less_than_one_large_segment(bps: int, limit: Limit) -> None:
    assert limit_of(bps) == limit


def test_pools_are_told_apart_by_all_that_their_eips_have_in_common() -> None:
    number = pool_number(BINDING, 4, False)
    assert 0 < number < BY_SOURCE
    others = [
        pool_number(BINDING, 6, False),
        pool_number(BINDING, 4, True),
        pool_number(bound("eu/web-1", to("us/web-1", priority=3)), 4, False),
        pool_number(bound(to("eu/web-1", 99), to("us/web-1", priority=2)), 4, False),
        pool_number(bound(to("eu/web-1", mode=Mode.ROUTED), to("us/web-1", priority=2)), 4, False),
        pool_number(replace(BINDING, when_unhealthy=bound(drop=True).when_unhealthy), 4, False),
    ]
    assert len({number, *others}) == 7
    by_source = pool_number(replace(BINDING, affinity=Affinity.SOURCE), 4, False)
    assert by_source & BY_SOURCE
    assert by_source & REGION_MASK == 0


def test_a_pool_of_one_path_of_several_and_of_none() -> None:
    single = placed(BINDING)
    assert of_pool(5, single) == {(NftSet.POOL, 5): single.shares[0].path.mark}
    several = placed(bound("eu/web-1", "eu/web-2"))
    slots = of_pool(5, several)
    assert set(slots) == {(NftSet.SLOT, (5, bucket)) for bucket in range(BUCKETS)}
    for share in several.shares:
        assert list(slots.values()).count(share.path.mark) == share.buckets
    assert of_pool(5, placed(bound("eu/web-1", drop=True), {"eu": BAD})) == {}


def test_the_elements_of_a_path_by_its_mode() -> None:
    ports = (PortMap(Transport.TCP, 80, 8080), PortMap(Transport.UDP, 53, 5353))
    backend = ip_address("10.2.0.2")

    def elements(mode: Mode, tunnel: str | None = "eu/b") -> tuple[int, dict[object, object]]:
        path = path_of(CONFIG, replace(to("eu/web-1", mode=mode), ports=ports), 4)
        assert path is not None
        return path.mark, dict(of_path(CONFIG, path, 4, TunnelId(tunnel) if tunnel else None))

    assert elements(Mode.ROUTED)[1] == {}
    mark, dnat = elements(Mode.DNAT)
    assert dnat == {
        (NftSet.TRANSLATED, mark): None,
        (NftSet.NAT4, mark): backend,
        (NftSet.PORT4, (mark, 6, 80)): (backend, 8080),
        (NftSet.PORT4, (mark, 17, 53)): (backend, 5353),
    }
    mark, masquerade = elements(Mode.MASQUERADE)
    assert masquerade[NftSet.HIDE4, mark] == CONFIG.tunnels[TunnelId("eu/b")].local_ipv4
    assert len(masquerade) == 5
    assert len(elements(Mode.MASQUERADE, None)[1]) == 4


def test_a_prefix_within_another_is_left_out() -> None:
    texts = ("203.0.113.0/24", "203.0.113.128/25", "198.51.100.0/24", "2001:db8:113::/48", "2001:db8:113:4::/64")
    assert of_prefixes(ip_network(text) for text in texts) == {
        (NftSet.OWN4, ip_network("203.0.113.0/24")): None,
        (NftSet.OWN4, ip_network("198.51.100.0/24")): None,
        (NftSet.OWN6, ip_network("2001:db8:113::/48")): None,
    }
