"""A gateway's file, and what is made of it: golden files, and what holds for every file."""

from __future__ import annotations

from ipaddress import IPv4Address, ip_address, ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anycastd.config.document import parse
from anycastd.config.slots import table_slots
from anycastd.errors import ConfigError
from anycastd.gateway.load import load, read
from anycastd.gateway.render import BLACKHOLE_METRIC, MAIN, ip_lines, nft_script, page, routes, rules
from anycastd.gateway.spec import Gateway, GatewayTunnel

GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize("name", ["full", "smallest"])
def test_the_page_is_as_it_was_read_and_found_good(name: str) -> None:
    """After a wanted change: `anycastd gateway render -c FILE.yaml > FILE.txt`, and read it."""
    assert page(load(str(GOLDEN / f"{name}.yaml"))) + "\n" == (GOLDEN / f"{name}.txt").read_text()


def test_every_mistake_is_told_at_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(GOLDEN)
    with pytest.raises(ConfigError) as refused:
        load("bad.yaml")
    assert [str(problem) for problem in refused.value.problems] == (GOLDEN / "bad.txt").read_text().splitlines()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{}", "tunnels: is missing or empty"),
        ("", "the file is empty"),
        ("tunnels: {}", "is missing or empty"),
        ("tunnels:\n", "has no value"),
        ("tunnels: [a]", "a mapping is wanted here, not a list"),
        ("tunnels: {a: {device: b, pop: c, far_end: 10.0.0.1}}\nmss: 9", "mss: a mapping is wanted"),
    ],
)
def test_a_file_without_tunnels_is_refused_whole(text: str, said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        read(parse(text))
    assert len(refused.value.problems) == 1
    assert said in str(refused.value)


def test_every_key_of_the_file_is_taken(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(
        'tunnels: {one: {device: vx0, pop: fra, far_end: 10.0.0.1, far_end6: "fd00::1"}}\nroutes: {203.0.113.0/24: '
        "[10.9.0.1]}\nmss: {ipv4: 1400, ipv6: 1300}\ntune: false\nprotocol: 77\nmark_base: 256\ntable_base: 300\n"
    )
    number = table_slots(["one"])["one"] + 1
    assert load(str(file)) == Gateway(
        tunnels=(
            GatewayTunnel(
                name="one", device="vx0", pop="fra", number=number,
                far_end_ipv4=IPv4Address("10.0.0.1"), far_end_ipv6=ip_address("fd00::1"),  # type: ignore[arg-type]
            ),
        ),
        routes={ip_network("203.0.113.0/24"): (ip_address("10.9.0.1"),)},
        mss_ipv4=1400, mss_ipv6=1300, tune=False, protocol=77, mark_base=256, table_base=300,
    )  # fmt: skip


def tunnel(name: str, pop: str, number: int) -> GatewayTunnel:
    far_end = IPv4Address(f"10.0.0.{number}")
    return GatewayTunnel(name=name, device=name, pop=pop, number=number, far_end_ipv4=far_end)


gateways = st.lists(st.sampled_from(["fra", "iad", "sin"]), min_size=1, max_size=8).map(
    lambda pops: Gateway(tunnels=tuple(tunnel(f"t{n}", pop, n + 1) for n, pop in enumerate(pops)))
)


@given(gateways)
def test_answers_go_by_their_own_tunnel_else_by_one_of_the_same_pop_and_never_by_another(gateway: Gateway) -> None:
    pops = {one.device: one.pop for one in gateway.tunnels}
    for one in gateway.tunnels:
        table = sorted(
            (route for route in routes(gateway) if route.table == gateway.table(one) and route.prefix.version == 4),
            key=lambda route: route.metric,
        )
        assert table[0].device == one.device
        assert {pops[route.device] for route in table if route.device} == {one.pop}
        assert len(table) == 1 + sum(pop == one.pop for pop in pops.values())
        assert (table[-1].hops, table[-1].metric) == ((), BLACKHOLE_METRIC)
    assert len({route.key for route in routes(gateway)}) == len(routes(gateway))
    assert len({rule.mark for rule in rules(gateway)}) == len(gateway.tunnels)
    assert all(route.table != MAIN for route in routes(gateway))


@given(gateways)
def test_every_route_and_rule_has_one_line(gateway: Gateway) -> None:
    lines = [*ip_lines(gateway, 4), *ip_lines(gateway, 6)]
    assert len(lines) == len(set(ip_lines(gateway, 4))) + len(set(ip_lines(gateway, 6)))
    assert len(lines) == len(routes(gateway)) + len(rules(gateway))
    assert all(line.endswith("protocol 202") for line in lines)


def test_the_documentation_shows_what_is_rendered() -> None:
    text = (Path(__file__).parents[3] / "docs" / "gateway.md").read_text()
    gateway = load(str(GOLDEN / "full.yaml"))
    assert (GOLDEN / "full.yaml").read_text() in text
    assert nft_script(gateway) in text
    assert "\n".join(ip_lines(gateway, 4)) in text
