"""Paths: numbers by content, the same everywhere, unlike within a region."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

from anycastd.model.address import BackendId, RegionName, TunnelId
from anycastd.model.eip import Mode, Path, PortMap, Transport
from anycastd.policy.paths import PATH_NUMBERS, hide_address, number_paths, path_of
from tests.unit.policy.eips import CONFIG, to, world

HTTP, DNS = PortMap(Transport.TCP, 80, 8080), PortMap(Transport.UDP, 53, 5353)


def path(backend: str = "eu/web-1", mode: Mode | None = None, ports: tuple[PortMap, ...] = ()) -> Path:
    found = path_of(CONFIG, replace(to(backend, mode=mode), ports=ports), 4)
    assert found is not None
    return found


def test_a_path_is_a_backend_a_mode_and_ports() -> None:
    one = path()
    assert (one.backend, one.region, one.mode, one.region_number) == ("eu/web-1", "eu", Mode.DNAT, 2)
    assert one.mark == 2 << 24 | one.number
    others = [
        path("eu/web-2"),
        path(mode=Mode.ROUTED),
        path(ports=(HTTP,)),
        path(ports=(DNS,)),
        path(ports=(HTTP, DNS)),
    ]
    assert len({one.number, *(other.number for other in others)}) == 6
    assert all(1 <= other.number <= PATH_NUMBERS for other in others)
    assert path(ports=(HTTP, DNS)) == path(ports=(DNS, HTTP))
    assert path(mode=Mode.DNAT) == one


def test_a_number_never_changes_between_versions_of_the_program() -> None:
    assert (path().number, path(ports=(HTTP,)).number) == (5341955, 1705014)


def test_what_is_not_configured_or_of_another_family_has_no_path() -> None:
    assert path_of(CONFIG, to("eu/gone"), 4) is None
    assert path_of(CONFIG, to("eu/six"), 4) is None
    assert path_of(CONFIG, to("eu/six"), 6) is not None


def test_collisions_are_told_apart_within_a_region_and_nobody_else_is_disturbed() -> None:
    many = [replace(path(), backend=BackendId(f"eu/b{n}"), number=n % 50 + 1) for n in range(100)]
    elsewhere = [replace(one, region=RegionName("us"), region_number=3) for one in many[:50]]
    found = number_paths([*many, *elsewhere])
    assert len({one.mark for one in found.values()}) == 150
    assert all(found[one] == one for one in elsewhere)
    assert sum(found[one] == one for one in many) == 50
    assert number_paths([*elsewhere, *reversed(many)]) == found


def test_masquerading_takes_our_address_of_the_tunnel() -> None:
    config = world(modes={"eu": Mode.MASQUERADE})
    hidden = path_of(config, to("eu/web-1"), 4)
    assert hidden is not None
    assert hide_address(config, hidden, 4, TunnelId("eu/b")) == ip_address("10.255.2.2")
    assert hide_address(config, hidden, 6, TunnelId("eu/b")) == config.tunnels[TunnelId("eu/b")].local_ipv6
    assert hide_address(config, hidden, 4, TunnelId("eu/gone")) is None
    assert hide_address(config, hidden, 4, None) is None
    assert hide_address(config, path(), 4, TunnelId("eu/b")) is None
