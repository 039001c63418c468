"""What a machine lacks is told before anything is made, with the Debian package."""

from __future__ import annotations

from pathlib import Path

import pytest

from anycastd.lab.equipment import ALWAYS, check_binds, check_machine
from anycastd.lab.errors import LabError, NotEquipped
from anycastd.lab.topology import parse_topology

NODE = "kind: linux, network-mode: none"


def provided(directory: Path, *names: str) -> str:
    """A search path on which exactly these programs are."""
    for name in names:
        program = directory / name
        program.write_text("#!/bin/sh\n", encoding="utf-8")
        program.chmod(0o755)
    return str(directory)


def test_missing_tools_are_named_with_their_packages(tmp_path: Path) -> None:
    topology = parse_topology(
        f"name: x\ntopology: {{nodes: {{a: {{{NODE}, cmd: sleep 1, exec: ['/sbin/bird -p', birdc]}}}}}}\n",
        tmp_path,
        {},
    )
    path = provided(tmp_path, *(name for name in ALWAYS if name not in ("nft", "nsenter")))
    with pytest.raises(NotEquipped) as refused:
        check_machine(topology, path)
    assert str(refused.value).splitlines() == [
        "birdc is missing: apt install bird2",
        "nft is missing: apt install nftables",
        "nsenter is missing: apt install util-linux",
    ]


def test_router_is_needed_when_its_configuration_is_bound(tmp_path: Path) -> None:
    topology = parse_topology(
        f"name: x\ntopology: {{nodes: {{a: {{{NODE}, cmd: /start, binds: ['x:/etc/bird/bird.conf']}}}}}}\n",
        tmp_path,
        {},
    )
    with pytest.raises(NotEquipped, match=r"^bird is missing: apt install bird2$"):
        check_machine(topology, provided(tmp_path, *ALWAYS))
    check_machine(topology, provided(tmp_path, "bird"))


def test_missing_bind_sources_are_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "there").touch()
    topology = parse_topology(
        f"name: x\ntopology: {{nodes: {{a: {{{NODE}, cmd: x, binds: ['p:/p', 'there:/q', 'r:/r']}}}}}}\n", tmp_path, {}
    )
    with pytest.raises(LabError) as refused:
        check_binds(topology)
    assert str(refused.value).splitlines() == [
        f"topology.nodes.a.binds: no such file or directory: {tmp_path / name}" for name in "pr"
    ]
