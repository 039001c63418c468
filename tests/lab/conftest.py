"""Labs shared by the lab tests: each topology is brought up once a session and is whole again after every test."""

from __future__ import annotations

import os
import shutil
import zlib
from collections.abc import Iterator

import pytest

from anycastd.lab import runner
from anycastd.lab.running import Lab
from tests.lab.eip_stage import Stage, on_stage, wait_whole
from tests.lab.fleet import Fleet
from tests.lab.measured import Measured
from tests.lab.topology_facts import GLOBAL, SITES, TWO_POPS

NEEDED = {"ip": "iproute2", "nft": "nftables", "vtysh": "frr", "birdc": "bird2", "unshare": "util-linux"}


OF_THE_WORLD = {"world_lab", "pair_lab", "measured"}
EVEN_BIT = 15
"""Of the checksum of a file's name: the bit by which both halves took the same time when it was chosen."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that use a lab of everybody, before `-m` chooses: all others can run beside them.

    Of the others every second file, whatever files there are, is marked `even`: they take two processes.
    """
    for item in items:
        if isinstance(item, pytest.Function) and OF_THE_WORLD & set(item.fixturenames):
            item.add_marker("world")
        if zlib.crc32(item.path.name.encode()) >> EVEN_BIT & 1:
            item.add_marker("even")


@pytest.fixture(scope="session", autouse=True)
def privileged() -> None:
    """Lab tests need root and real programs; without them they fail, saying what is missing."""
    if os.geteuid() != 0:
        pytest.fail("lab tests need root (network namespaces)", pytrace=False)
    missing = [package for tool, package in NEEDED.items() if shutil.which(tool) is None]
    if missing:
        pytest.fail(f"missing Debian packages: {', '.join(missing)}", pytrace=False)


@pytest.fixture(scope="session")
def measured() -> Iterator[Measured]:
    """What the faults did, measured; written for docs/failures.md when ANYCASTD_MEASURED names a file."""
    table = Measured()
    yield table
    table.write(os.environ.get("ANYCASTD_MEASURED"))


@pytest.fixture(scope="session")
def world_lab() -> Iterator[Lab]:
    """global.clab.yml: three POPs, three transits, two regions."""
    runner.down(GLOBAL)
    with runner.up(GLOBAL) as lab:
        yield lab


@pytest.fixture
def world(world_lab: Lab) -> Iterator[Fleet]:
    """The world in its normal state, before and after the test."""
    fleet = Fleet(world_lab, tuple(SITES.values()))
    fleet.wait_normal()
    # a backend that is seen well again may still be given connections, or lose them
    wait_whole(world_lab)
    fleet.wait_quiet()
    yield fleet
    fleet.heal()


@pytest.fixture(scope="session")
def calm(world_lab: Lab) -> Fleet:
    """The world, once waited for: what the tests of EIPs do moves no route, so that they need not wait each time."""
    fleet = Fleet(world_lab, tuple(SITES.values()))
    fleet.wait_normal()
    return fleet


@pytest.fixture
def stage(calm: Fleet) -> Iterator[Stage]:
    """EIPs of the world; they are released after the test."""
    yield from on_stage(calm)


@pytest.fixture(scope="session")
def pair_lab() -> Iterator[Lab]:
    """two-pops.clab.yml: the smallest."""
    runner.down(TWO_POPS)
    with runner.up(TWO_POPS) as lab:
        yield lab
