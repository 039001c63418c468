"""What the EIPs of a file are built into."""

from __future__ import annotations

import re
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anycastd.config.build import eips as build_eips
from anycastd.config.build.eips import eip_ids, region_number
from anycastd.config.load import load
from anycastd.errors import ConfigError
from anycastd.model.address import Address, BackendId
from anycastd.model.eip import (
    Affinity,
    Bandwidth,
    Binding,
    Eip,
    EipId,
    Mode,
    Ping,
    PortMap,
    Shaping,
    Source,
    Spread,
    Target,
    Tracking,
    Transport,
    WhenUnhealthy,
)  # fmt: skip
from anycastd.model.topology import EipConfig
from tests.unit.config.places import EXAMPLE, SMALLEST, load_text


def target(backend: str, **more: Any) -> Target:
    return Target(backend=BackendId(backend), **more)


def built(section: str, directory: Path, settings: str = "{}") -> Eip:
    """Return the EIP of a small configuration."""
    text = f"{SMALLEST}\neip: {settings}\neips:\n  203.0.113.9: {section}\n"
    (eip,) = load_text(text, directory).eips.values()
    return eip


def test_an_eip_without_anything(tmp_path: Path) -> None:
    eip = built("{}", tmp_path)
    assert eip == Eip(id=eip.id, address=ip_address("203.0.113.9"), source=Source.FILE)
    assert not eip.carries


def test_everything_that_can_be_written(tmp_path: Path) -> None:
    section = """
    bandwidth: {in: 1500kbit, out: 1.5gbit, shaping: htb}
    bind: [{backend: eu/web, weight: 0, priority: 100, mode: dnat, ports: ["tcp/80:8080", "udp/53:53"]}, eu/two]
    spread: ordered
    affinity: source
    when_unhealthy: drop
    ping: pop
    blocked: true
    description: "one: of many"
"""
    text = SMALLEST.replace("backends: {", "backends: {two: {address: 10.10.0.12, checks: [{icmp: {}}]}, ")
    config = load_text(f"{text}\neip: {{uplinks: [eth0]}}\neips:\n  203.0.113.9:{section}", tmp_path)
    (eip,) = config.eips.values()
    ports = (PortMap(Transport.TCP, 80, 8080), PortMap(Transport.UDP, 53, 53))
    assert eip == Eip(
        id=eip.id,
        address=ip_address("203.0.113.9"),
        binding=Binding(
            targets=(target("eu/web", weight=0, priority=100, mode=Mode.DNAT, ports=ports), target("eu/two")),
            spread=Spread.ORDERED,
            affinity=Affinity.SOURCE,
            when_unhealthy=WhenUnhealthy.DROP,
        ),
        bandwidth=Bandwidth(in_bps=1_500_000, out_bps=1_500_000_000, shaping=Shaping.HTB),
        ping=Ping.POP,
        blocked=True,
        blocked_reason="blocked in the configuration file",
        description="one: of many",
        source=Source.FILE,
    )


def test_stateless_in_a_routed_region(tmp_path: Path) -> None:
    eip = built("{bind: [{backend: eu/web, mode: routed}], tracking: stateless}", tmp_path)
    assert eip.tracking is Tracking.STATELESS


def test_settings(tmp_path: Path) -> None:
    text = (
        "eip: {region_hysteresis_ms: 2.5, seed: 7, uplinks: [eth0, eth1], keep_released: 1h, traffic_interval: 10s, "
        "history: 2d, max_eips: 5, max_targets: 6, conntrack_alarm: 50, "
        "conntrack_max: 1048576, conntrack_liberal: false}\n"
    )
    assert load_text(f"{SMALLEST}\n{text}", tmp_path).eip == EipConfig(
        region_hysteresis_ms=2.5,
        seed=7,
        uplinks=("eth0", "eth1"),
        keep_released_s=3600.0,
        traffic_interval_s=10.0,
        history_s=172800.0,
        max_eips=5,
        max_targets=6,
        conntrack_alarm_percent=50,
        conntrack_max=1_048_576,
        conntrack_liberal=False,
    )


def test_the_example_has_both_families_and_every_mode() -> None:
    config = load(str(EXAMPLE))
    assert {address.version for address in config.eips} == {4, 6}
    targets = [one for eip in config.eips.values() if eip.binding for one in eip.binding.targets]
    modes = {one.mode or config.regions[config.backends[one.backend].region].mode for one in targets}
    assert modes == set(Mode)


def test_ids_look_like_ids_and_follow_from_the_address() -> None:
    one, two = ip_address("203.0.113.1"), ip_address("2001:db8::1")
    ids = eip_ids([one, two])
    assert all(re.fullmatch(r"eip-[0-9a-f]{8}", id_) for id_ in ids.values())
    assert ids == {one: EipId("eip-a1ceb3dc"), two: EipId("eip-5afd19e8")}
    assert eip_ids([two, ip_address("203.0.113.2"), one])[one] == ids[one]


@given(st.sets(st.ip_addresses(), max_size=40))
def test_ids_that_fall_together_are_told_apart(addresses: set[Address]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build_eips, "_digits", lambda text: f"{hash(text) % 50:08x}")
        ids = eip_ids(addresses)
    assert ids.keys() == addresses
    assert len(set(ids.values())) == len(addresses)


@given(st.text(min_size=1, max_size=32))
def test_every_name_has_a_number(name: str) -> None:
    assert 1 <= region_number(name, None) <= 255
    assert region_number(name, 7) == 7


def test_more_regions_than_numbers(tmp_path: Path) -> None:
    text = _many_regions(256)
    with pytest.raises(ConfigError, match="256 regions; there are numbers for 255"):
        load_text(text, tmp_path)


def test_numbers_that_are_proposed_are_free(tmp_path: Path) -> None:
    text, tries = _many_regions(40), 0
    while True:
        try:
            config = load_text(text, tmp_path)
            break
        except ConfigError as error:
            tries += 1
            assert tries == 1, "one round of what was proposed is enough"
            for problem in error.problems:
                name = problem.path.partition(".")[2]
                number = re.search(r"number: ([0-9]+)", problem.message)
                assert number is not None, problem
                text = text.replace(f"  {name}: {{", f"  {name}: {{number: {number[1]}, ")
    assert tries == 1
    assert len({region.number for region in config.regions.values()}) == 40


def _many_regions(count: int) -> str:
    rows = "".join(
        f"  r{n}: {{tunnels: {{t: {{device: d{n}, local: 10.1.{n // 250}.{n % 250 + 1}, far_end: 10.2.0.1, "
        f"checks: [ping]}}}}, backends: {{b: {{address: 10.3.0.1, checks: [ping]}}}}}}\n"
        for n in range(count)
    )
    head = SMALLEST.partition("regions:")[0]
    return f"{head}checks: {{ping: {{icmp: {{}}}}}}\nregions:\n{rows}prefixes: {{203.0.113.0/24: {{}}}}\n"
