"""A file whose beacon would have no room is refused, and one that is not is said by the codec."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path

import pytest

from anycastd.config.load import examine, load
from anycastd.config.rules import fleet as rules
from anycastd.errors import ConfigError
from anycastd.fleet import codec
from anycastd.model.fleet import Beacon, Claim, Epoch
from anycastd.runtime.fleet.link import specs_of
from tests.unit.config.places import GOOD

TEXT = """
pop: {{name: p1, asn: 64500, router_id: 192.0.2.1}}
neighbors:
  up: {{address: 198.51.100.1, asn: 64496, local_address: 198.51.100.2, max_prefixes: 5000}}
  rr: {{address: 192.0.2.250, asn: 64500, local_address: 198.51.100.2, role: observer}}
fleet: {{pops: {{{pops}}}, beacon_network4: {network}}}
regions:
  eu:
    tunnels: {{t1: {{device: gre1, local: 10.255.1.1, far_end: 10.255.1.2, checks: [{{icmp: {{}}}}]}}}}
    backends: {{web: {{address: 10.10.0.11, checks: [{{tcp: {{port: 80}}}}]}}}}
prefixes: {{{prefixes}}}
"""


def text(network: str, prefixes: int, pops: int) -> str:
    return TEXT.format(
        network=network,
        pops=", ".join(f"p{number}: {{number: {number}}}" for number in range(1, pops + 1)),
        prefixes=", ".join(f"203.{n >> 8}.{n & 255}.0/24: {{}}" for n in range(prefixes)),
    )


def test_the_limits_are_those_of_the_codec() -> None:
    assert rules.HEAD_PREFIXES == codec.HEAD_PREFIXES
    assert rules.PART_PREFIXES == codec.PART_PREFIXES
    assert rules.MAX_COMMUNITIES == codec.MAX_COMMUNITIES
    assert rules.PLACES == codec.PLACES


@pytest.mark.parametrize(
    ("network", "prefixes", "pops", "wrong"),
    [
        ("10.255.0.0/24", 64, 3, ""),
        ("10.255.0.0/24", 65, 3, "10.255.0.0/24 has no room for 65 prefixes: /23 or shorter is needed"),
        ("10.255.0.0/23", 190, 3, ""),
        ("10.255.0.0/23", 191, 3, "/22 or shorter is needed"),
        ("10.255.0.0/22", 570, 3, ""),
        ("10.255.0.0/22", 571, 3, "/21 or shorter is needed"),
        ("10.255.0.0/24", 64, 130, ""),
        ("10.255.0.0/24", 64, 131, "a beacon has no room for 130 others and 64 prefixes"),
    ],
)
def test_what_the_file_may_hold_the_codec_can_say(
    network: str, prefixes: int, pops: int, wrong: str, tmp_path: Path
) -> None:
    file = tmp_path / "anycastd.yaml"
    file.write_text(text(network, prefixes, pops))
    if wrong:
        with pytest.raises(ConfigError, match=wrong):
            load(str(file))
        return
    config = load(str(file))
    assert config.fleet is not None
    (spec,) = specs_of(config, config.fleet).values()
    echoes = {number: Epoch(1, 1) for number in spec.pops if number != spec.number}
    beacon = Beacon(pop=spec.number, boot=1, seq=1, claims=dict.fromkeys(config.prefixes, Claim.NORMAL), echoes=echoes)
    routes = [codec.route_of(spec, part) for part in codec.parts_of(beacon)]
    assert all(prefix.subnet_of(ip_network(network)) for prefix, _ in routes)  # type: ignore[arg-type]


@pytest.mark.parametrize(("text", "mode", "said"), [
    ("x" * 40, 0o600, []),
    ("x" * 40, 0o644, ["can be used by others, or written by its group (mode 0644)"]),
    ("short", 0o600, ["holds 5 bytes; at least 16 are wanted"]),
    (None, 0, ["cannot be looked at: no such file or directory"]),
])  # fmt: skip
def test_the_key_of_a_fleet(text: str | None, mode: int, said: list[str], tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "fleet-key").write_text(text)
        (tmp_path / "fleet-key").chmod(mode)
    file = tmp_path / "anycastd.yaml"
    alone = (GOOD / "alone.yaml").read_text()
    file.write_text(alone.replace("beacon_network4", "key_file: fleet-key, beacon_network4"))
    examined = examine(str(file))
    found = [line for line in map(str, (*examined.problems, *examined.warnings)) if "fleet.key_file" in line]
    assert len(found) == len(said), found
    assert all(words in found[0] for words in said), found


@pytest.mark.parametrize(("written", "said"), [
    ("key_file: fleet-key, accept_unsigned: true", "take it out when every POP has the key"),
    ("accept_unsigned: true", "is of no use without key_file"),
    ("key_file: fleet-key", ""),
])  # fmt: skip
def test_that_unsigned_beacons_are_accepted_is_said(written: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "fleet-key").touch(0o600)
    (tmp_path / "fleet-key").write_text("x" * 40)
    file = tmp_path / "anycastd.yaml"
    file.write_text((GOOD / "alone.yaml").read_text().replace("beacon_network4", f"{written}, beacon_network4"))
    examined = examine(str(file))
    found = [str(line) for line in examined.warnings if "fleet.accept_unsigned" in str(line)]
    assert (not examined.problems, len(found)) == (True, bool(said))
    assert said in "".join(found)
    config = load(str(file))
    assert config.fleet is not None
    assert (config.fleet.key_file is not None, config.fleet.accepts_unsigned) == ("key_file" in written, bool(said))
