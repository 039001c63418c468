"""The lab's files agree with each other: schema, runner, address plan, router and POP configurations."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from ipaddress import ip_address, ip_interface
from itertools import pairwise
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from anycastd.config.build.config import build
from anycastd.config.check import check
from anycastd.config.document import parse
from anycastd.lab.shape import Endpoint, Topology
from anycastd.lab.topology import read_topology
from anycastd.model.topology import LastResort
from tests.lab import topology_facts as facts

SCHEMA = Path(os.environ.get("ANYCASTD_CLAB_SCHEMA", "/nonexistent"))
FILES = (facts.GLOBAL, facts.TWO_POPS)
each_file = pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)


def topology_of(path: Path) -> Topology:
    return read_topology(path, {})


def pops_of(topology: Topology) -> list[facts.Site]:
    return [site for name, site in facts.SITES.items() if name in topology.nodes]


def address_of(topology: Topology, node: str, device: str) -> Endpoint:
    return next(end for end in topology.ends_of(node) if end.interface == device)


def bare(address: str | None) -> str:
    assert address
    return str(ip_interface(address).ip)


def tunnels_of(topology: Topology, node: str) -> dict[str, tuple[int, str, str]]:
    words = [entry.split(",") for entry in topology.nodes[node].env["TUNNELS"].split()]
    return {device: (int(vni), local, remote) for device, vni, local, remote in words}


def file_at(topology: Topology, node: str, target: str) -> Path:
    return next(bind.source for bind in topology.nodes[node].binds if bind.target == target)


@each_file
@pytest.mark.skipif(not SCHEMA.is_file(), reason="ANYCASTD_CLAB_SCHEMA names no file")
def test_containerlab_would_take_the_file(path: Path) -> None:
    document = yaml.safe_load(path.read_text())
    errors = list(jsonschema.Draft7Validator(json.loads(SCHEMA.read_text())).iter_errors(document))
    assert [f"{list(error.absolute_path)}: {error.message[:200]}" for error in errors] == []


@each_file
def test_every_bound_file_exists_and_every_script_runs(path: Path) -> None:
    topology = topology_of(path)
    for node in topology.nodes.values():
        for bind in node.binds:
            assert bind.source.exists(), (node.name, bind.source)
        words = [word for word in node.argv if word.startswith("/lab/")]
        for word in words:
            assert (facts.CONTAINERLAB / "nodes" / Path(word).name).exists(), (node.name, word)


@each_file
def test_both_ends_of_a_link_share_a_network_and_no_address_is_used_twice(path: Path) -> None:
    topology = topology_of(path)
    used: Counter[str] = Counter()
    for link in topology.links:
        for a, b in ((link.a.ipv4, link.b.ipv4), (link.a.ipv6, link.b.ipv6)):
            if a and b:
                assert ip_interface(a).network == ip_interface(b).network, link
            used.update(bare(end) for end in (a, b) if end)
    assert [address for address, times in used.items() if times > 1] == []


@each_file
def test_devices_are_numbered_without_a_hole(path: Path) -> None:
    topology = topology_of(path)
    for node in topology.nodes.values():
        devices = sorted(end.interface for end in topology.ends_of(node.name))
        assert devices == [f"eth{number}" for number in range(1, len(devices) + 1)], node.name
        if "LINKS" in node.env:
            assert int(node.env["LINKS"]) == len(devices), node.name


@each_file
def test_every_tunnel_has_its_far_end_and_the_planned_vni(path: Path) -> None:
    topology = topology_of(path)
    seen = 0
    for site in pops_of(topology):
        for device, (vni, local, remote) in tunnels_of(topology, site.pop).items():
            region, underlay = device.split("-")
            wire = facts.UNDERLAY_DEVICE[underlay]
            assert vni == facts.vni_of(region, underlay, site.pop)
            assert local == bare(address_of(topology, site.pop, wire).ipv4)
            assert remote == facts.gateway_outer(region, underlay)
            assert tunnels_of(topology, f"{region}-gw")[f"{site.pop}-{underlay}"] == (vni, remote, local)
            far_wire = {"a": "eth1", "b": "eth2"}[underlay]
            assert remote == bare(address_of(topology, f"{region}-gw", far_wire).ipv4)
            seen += 1
    regions = [name for name in facts.REGIONS if f"{name}-gw" in topology.nodes]
    assert seen == len(pops_of(topology)) * len(regions) * 2
    assert seen == sum(len(tunnels_of(topology, f"{region}-gw")) for region in regions)


@each_file
def test_every_default_route_and_gateway_is_the_far_end_of_the_nodes_own_link(path: Path) -> None:
    topology = topology_of(path)
    for node in topology.nodes.values():
        routed = [words[-1] for words in node.commands if "default" in words]
        routed += [node.env[key] for key in ("GATEWAY4", "GATEWAY6") if key in node.env]
        far = topology.peer_of(node.name, "eth1")
        if routed:
            assert far
            assert routed == [bare(far.ipv4), bare(far.ipv6)], node.name


@each_file
def test_a_gateway_knows_exactly_its_backends(path: Path) -> None:
    topology = topology_of(path)
    for name, node in topology.nodes.items():
        if "BACKENDS" not in node.env:
            continue
        region = name.removesuffix("-gw")
        ends = [end for other in topology.nodes for end in topology.ends_of(other) if other.startswith(f"{region}-b")]
        first = ends[0]
        assert node.env["BACKENDS"].split() == [f"{bare(first.ipv4)},{bare(first.ipv6)}"]
        assert node.env["SERVICES6"].split() == [facts.PREFIX_B6], "the prefix whose EIP is routed"
        for end in ends:
            commands = topology.nodes[end.node].commands
            owned = {words[4].split("/")[0] for words in commands if "lo" in words}
            assert owned == {facts.SERVICE[facts.PREFIX_B6]}, end.node


def sessions_of(config: str) -> dict[str, int]:
    """Read neighbor -> AS number of a router's file, FRR or BIRD."""
    bird = re.findall(r"neighbor (\S+) as (\d+);", config)
    frr = re.findall(r"^ neighbor (\S+) remote-as (\d+)$", config, re.M)
    groups = re.findall(r"^ neighbor (\S+) peer-group (\S+)$", config, re.M)
    direct = {name: int(asn) for name, asn in [*bird, *frr]}
    grouped = {name: direct[group] for name, group in groups if name not in direct}
    return {
        name: asn for name, asn in {**direct, **grouped}.items() if re.fullmatch(r"[0-9a-f:.]*[.:][0-9a-f:.]*", name)
    }


@each_file
def test_a_router_speaks_to_its_pop_and_to_every_other_transit_in_both_families(path: Path) -> None:
    topology = topology_of(path)
    sites = {site.transit: site for site in pops_of(topology)}
    for name, site in sites.items():
        target = "/etc/bird/bird.conf" if site.router == "bird" else "/etc/frr/frr.conf"
        config = file_at(topology, name, target).read_text()
        expected: dict[str, int] = {}
        for end in topology.ends_of(name):
            far = topology.peer_of(name, end.interface)
            assert far
            if far.node == site.pop or far.node in sites:
                asn = facts.POP_ASN if far.node == site.pop else sites[far.node].transit_asn
                expected |= {bare(far.ipv4): asn, bare(far.ipv6): asn}
        assert len(expected) == 2 * len(sites)
        assert sessions_of(config) == expected
        assert re.search(rf"(router bgp|local as) {site.transit_asn}\b", config)
        password = (facts.CONTAINERLAB / "nodes/secrets/transit").read_text().strip()
        assert re.search(rf'password "?{password}"?;?$', config, re.M)


def pop_config(topology: Topology, pop: str) -> dict[str, Any]:
    config: dict[str, Any] = yaml.safe_load(file_at(topology, pop, "/etc/anycastd/anycastd.yaml").read_text())
    return config


@each_file
def test_a_pops_configuration_says_what_the_topology_builds(path: Path) -> None:
    topology = topology_of(path)
    for site in pops_of(topology):
        config = pop_config(topology, site.pop)
        assert (config["pop"]["name"], config["pop"]["asn"]) == (site.pop, facts.POP_ASN)
        env = topology.nodes[site.pop].env
        neighbors = {n["address"]: n for n in config["neighbors"].values()}
        assert set(neighbors) == {env["GATEWAY4"], env["GATEWAY6"]}
        for address, neighbor in neighbors.items():
            assert neighbor["asn"] == site.transit_asn
            assert neighbor["local_address"] == site.pop_address(ip_address(address).version)
        assert set(config["prefixes"]) == set(facts.PREFIXES)
        built = tunnels_of(topology, site.pop)
        written = {t["device"]: t for region in config["regions"].values() for t in region["tunnels"].values()}
        assert set(written) == set(built)
        for device, tunnel in written.items():
            vni = built[device][0]
            assert (tunnel["local"], tunnel["far_end"]) == (f"10.200.{vni}.1", f"10.200.{vni}.2")
            assert (tunnel["local6"], tunnel["far_end6"]) == (f"fd00:200:{vni}::1", f"fd00:200:{vni}::2")


@each_file
def test_a_pop_checks_every_backend_of_every_region(path: Path) -> None:
    topology = topology_of(path)
    for site in pops_of(topology):
        for name, region in pop_config(topology, site.pop)["regions"].items():
            nodes = {f"{name}-{backend}": spec["address"] for backend, spec in region["backends"].items()}
            links = {n: address_of(topology, n, "eth1") for n in topology.nodes if n.startswith(f"{name}-b")}
            there = {node: bare(link.ipv4) for node, link in links.items()}
            assert nodes == there | {f"{node}-6": bare(link.ipv6) for node, link in links.items()}


@each_file
def test_the_daemon_takes_every_pops_configuration(path: Path, tmp_path: Path) -> None:
    topology = topology_of(path)
    secret = tmp_path / "transit"
    secret.write_text("lab-only-password\n")
    secret.chmod(0o600)
    for site in pops_of(topology):
        text = file_at(topology, site.pop, "/etc/anycastd/anycastd.yaml").read_text()
        document = parse(text.replace("/etc/anycastd/secrets/transit", str(secret)), site.pop)
        verdict = check(document, str(tmp_path), Path.stat)
        assert verdict.problems == ()
        assert verdict.root
        config = build(verdict.root, path=site.pop, directory=str(tmp_path), digest="", warnings=())
        assert config.pop.name == site.pop
        resorts = {str(prefix): spec.last_resort for prefix, spec in config.prefixes.items()}
        assert {prefix for prefix, resort in resorts.items() if resort is LastResort.WITHDRAW} == {
            facts.PREFIX_A4,
            facts.PREFIX_A6,
        }
        assert {tunnel.device for tunnel in config.tunnels.values()} == set(tunnels_of(topology, site.pop))


def test_a_pop_prefers_the_near_region() -> None:
    topology = topology_of(facts.GLOBAL)
    first = {}
    for site in pops_of(topology):
        regions = pop_config(topology, site.pop)["regions"]
        assert all(a["priority"] < b["priority"] for a, b in pairwise(regions.values()))
        first[site.pop] = next(iter(regions))
    assert first == {"fra": "eu", "sin": "eu", "iad": "us"}
