"""The segment size that fits every tunnel."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest

from anycastd.model.address import RegionName, TunnelId
from anycastd.model.topology import Tunnel
from anycastd.policy.mss import mss


def tunnel(device: str, *, v4: bool = True, v6: bool = True, mtu_bytes: int | None = None) -> Tunnel:
    return Tunnel(
        id=TunnelId(f"eu/{device}"),
        region=RegionName("eu"),
        device=device,
        local_ipv4=IPv4Address("10.0.0.1") if v4 else None,
        local_ipv6=IPv6Address("fd00::1") if v6 else None,
        mtu_bytes=mtu_bytes,
    )


@pytest.mark.parametrize(
    ("tunnels", "mtus", "sizes"),
    [
        ([tunnel("a"), tunnel("b")], {"a": 1450, "b": 1430}, (1390, 1370)),
        ([tunnel("a"), tunnel("b", v6=False)], {"a": 1450, "b": 1400}, (1360, 1390)),
        ([tunnel("a", mtu_bytes=1476)], {}, (1436, 1416)),
        ([tunnel("a", mtu_bytes=1476)], {"a": 1300}, (1260, 1240)),
        ([tunnel("a")], {"other": 1280}, (1380, 1360)),
        ([], {}, (1380, 1360)),
    ],
)
def test_it_is_that_of_the_smallest(tunnels: list[Tunnel], mtus: dict[str, int], sizes: tuple[int, int]) -> None:
    assert mss(tunnels, mtus) == sizes
