"""EIPs at their edges: bad input, changes without end, sizes and ICMP, and a flood."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from tests.lab.eip_count import drops
from tests.lab.eip_load import loaded
from tests.lab.eip_stage import BOTH, MODES, POP, USER, Stage, listed
from tests.lab.measured import Measured, Row
from tests.lab.numbered import numbered
from tests.wait import wait_until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(120)]

AGAIN_AND_AGAIN = """
import http.client, json, socket, sys, time
address, body, count = sys.argv[1], sys.argv[2], int(sys.argv[3])

class Connection(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect("/run/anycastd/api.sock")

def ask(method, body=None):
    connection = Connection("localhost", timeout=30)
    connection.request(method, f"/v1/eips/{address}/association?wait=10s", body)
    answer = connection.getresponse()
    said = json.loads(answer.read())
    assert answer.status == 200, (answer.status, said)
    assert said["task"]["state"] == "SUCCESS", said
    connection.close()

begun_s = time.monotonic()
for _ in range(count):
    ask("DELETE")
    ask("PUT", body)
print(json.dumps({"took_s": time.monotonic() - begun_s}))
"""


@pytest.mark.parametrize("count", [100, pytest.param(1000, marks=[pytest.mark.soak, pytest.mark.timeout(900)])])
def test_unbinding_one_eip_again_and_again_loses_no_packet_of_others(
    stage: Stage, measured: Measured, count: int
) -> None:
    one, *others = (stage.bound(4, "eu/b1", "eu/b2"), *(stage.bound(version, "eu/b1", "eu/b2") for version in BOTH))
    body = json.dumps({"targets": [stage.target(one, "eu/b1", None), stage.target(one, "eu/b2", None)]})
    begun = drops(stage.lab)
    with (
        loaded(stage, others, others, patience_ms=4000) as load,
        numbered(stage, *others, at=("eu-b1", "eu-b2")) as numbers,
    ):
        words = ("python3", "-S", "-c", AGAIN_AND_AGAIN, one, body, str(count))
        # on an idle machine each takes about ten milliseconds, on a busy one more than fifty
        said = stage.lab.exec(POP, *words, timeout_s=max(110, 0.8 * count))
        assert said.returncode == 0, said.stderr
        numbers.more()
    took_s = json.loads(said.stdout)["took_s"]
    print(f"\n{numbers.whole()} datagrams, each came back once")
    load.fresh.all_ok()
    load.kept.all_ok()
    assert drops(stage.lab) == begun
    each_ms = took_s / (2 * count) * 1000
    asked = len(load.fresh.rows)
    measured.add(
        Row(f"EIP: another one unbound and bound {count} times", "nothing", each_ms, load.gap_ms(others[0]), 0, asked)
    )
    stage.ask(one, count=20).all_ok()


def test_bad_input_is_refused_whole_and_says_why(stage: Stage) -> None:
    address, last = stage.bound(4, "eu/b1"), stage.bound(6, "eu/b1")
    before = elements(stage)
    refused = [
        (("eip", "allocate", "192.0.2.1"), "prefix"),
        (("eip", "allocate", address), "taken|allocated|in use"),
        (("eip", "allocate", "203.0.113.300"), "address"),
        (("eip", "associate", "--replace", address, "eu/b1-6"), "IPv6|family"),
        (("eip", "associate", "--replace", last, "eu/b1"), "IPv4|family"),
        (("eip", "associate", "--replace", address, "eu/b1:256"), "255"),
        (("eip", "associate", "--replace", address, "eu/b9"), "b9"),
        (("eip", "associate", "--replace", address, "eu/b2", "eu/nothing:5"), "nothing"),
        (("eip", "associate", address, "eu/b2"), "bound"),
        (("eip", "modify", address, "--in", "0"), "kbit|limit|0"),
        (("eip", "modify", address, "--out", "0bit"), "kbit|limit|0"),
        (("eip", "modify", address, "--tracking", "stateless"), "stateless|routed"),
        (("eip", "release", address), "bound"),
        (("eip", "show", "203.0.113.250"), "203.0.113.250"),
        (("region", "dial", "eu", "101"), "100"),
    ]
    with ThreadPoolExecutor(4) as pool:
        runs = pool.map(lambda one: stage.lab.exec(POP, "/opt/anycastd/.venv/bin/anycastd", *one[0]), refused)
        for (words, why), done in zip(refused, runs, strict=True):
            said = done.stdout + done.stderr
            assert done.returncode in (2, 64, 65), (words, done.returncode, said)
            assert re.search(why, said), (words, said)
            assert "Traceback" not in said
    assert elements(stage) == before
    assert stage.ask(address, last).all_ok().by() == {"eu/b1": 20}


def elements(stage: Stage) -> dict[str, object]:
    """Return what our maps hold."""
    return {name: listed(stage.lab, POP, "map", name) for name in ("eip4", "eip6", "pool", "slot", "nat4", "nat6")}


def test_of_concurrent_writers_one_wins_and_nothing_is_half_done(stage: Stage) -> None:
    address = stage.bound(4, "eu/b1")
    generation = stage.get(f"/v1/eips/{address}")["generation"]

    def write(number: int) -> int:
        target = {"backend": "eu/b2", "weight": 1 + number}
        query = f"/v1/eips/{address}/association?replace=true&wait=10s"
        return stage.status_of("PUT", query, {"targets": [target]}, If_Match=f'"{generation}"')[0]

    with ThreadPoolExecutor(8) as pool:
        codes = list(pool.map(write, range(8)))
    assert sorted(codes)[0] in (200, 202)
    assert all(code in (409, 412) for code in sorted(codes)[1:]), codes
    assert stage.get(f"/v1/eips/{address}")["generation"] == generation + 1
    status, said = stage.status_of("DELETE", f"/v1/eips/{address}/association", If_Match=f'"{generation}"')
    assert (status, said["error"]["code"]) == (412, "PreconditionFailed")
    assert stage.ask(address).all_ok().by() == {"eu/b2": 10}

    def dial(number: int) -> int:
        return stage.status_of("PATCH", f"/v1/eips/{address}?wait=10s", {"description": f"d{number}"})[0]

    with ThreadPoolExecutor(8) as pool:
        codes = list(pool.map(dial, range(16)))
    assert set(codes) <= {200, 202, 409}, codes
    written = sum(code < 300 for code in codes)
    assert stage.get(f"/v1/eips/{address}")["generation"] == generation + 1 + written


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("version", BOTH)
def test_a_packet_too_large_for_the_tunnel_is_answered_with_the_size_that_fits(
    stage: Stage, version: int, mode: str
) -> None:
    address = stage.bound(version, "eu/b1", mode=mode)
    head = 28 if version == 4 else 48
    fits = ("ping", "-c", "1", "-W", "2", "-M", "do", "-s", str(1450 - head), address)
    large = ("ping", "-c", "1", "-W", "2", "-M", "do", "-s", str(1500 - head), address)
    said = stage.lab.exec(USER, *large).stdout
    assert re.search(r"mtu ?= ?1450", said), said
    assert " 1 received" in stage.lab.exec(USER, *fits).stdout
    # each end learns of the size by losing a packet, where no router makes fragments
    pieces = ("ping", "-c", "2", "-i", "0.05", "-W", "1", "-M", "dont", "-s", "4000", address)
    wait_until("fragments there and back", 5, lambda: " 2 received" in stage.lab.exec(USER, *pieces).stdout)


def test_large_answers_fit_the_tunnel_in_every_mode(stage: Stage) -> None:
    eips = [stage.bound(version, "eu/b1", mode=mode) for version in BOTH for mode in MODES]
    got = stage.ask(*eips, count=3, options=("--path", "/bytes/200000")).all_ok()
    assert len(got.rows) == 3 * len(eips)


NARROW = 1300
FORGET_SIZES = ("ip", "route", "flush", "cache"), ("ip", "-6", "route", "flush", "cache")


def errors_sent(stage: Stage, version: int) -> int:
    """Return how many times the client's router has said that a packet is too big for its link."""
    if version == 6:
        text = stage.lab.exec("t-fra", "cat", "/proc/net/snmp6", check=True).stdout
        return int(re.findall(r"^Icmp6OutPktTooBigs\s+(\d+)", text, re.M)[0])
    text = stage.lab.exec("t-fra", "cat", "/proc/net/snmp", check=True).stdout
    names, numbers = (line.split() for line in text.splitlines() if line.startswith("Icmp: "))
    return int(numbers[names.index("OutDestUnreachs")])


@pytest.mark.parametrize("version", BOTH)
def test_errors_about_an_untracked_flow_reach_its_backend(stage: Stage, version: int) -> None:
    """The client's link is narrow: backends learn of it by errors sent to the EIP, of which nothing is tracked."""
    address = stage.allocate(version, tracking="stateless")
    stage.give(address, "eu/b1", "us/b1")
    stage.bind(address, "eu/b1", "us/b1", mode="routed", spread="weighted")
    for node in ("eu-b1", "us-b1"):
        for forget in FORGET_SIZES:
            stage.lab.exec(node, *forget, check=True)
            stage.world.undo.append(partial(stage.lab.exec, node, *forget))
    width = ("ip", "link", "set", "eth4", "mtu")
    stage.lab.exec("t-fra", *width, str(NARROW), check=True)
    stage.world.undo.append(partial(stage.lab.exec, "t-fra", *width, "1500"))
    assert set(stage.ask(address, count=40, every_ms=2).all_ok().by()) == {"eu/b1", "us/b1"}
    assert not tracked(stage, address)
    before = errors_sent(stage, version)
    stage.ask(address, count=40, every_ms=5, options=("--path", "/bytes/50000")).all_ok()
    assert errors_sent(stage, version) > before, "answers were too big, or nothing was shown"


def tracked(stage: Stage, address: str) -> list[str]:
    lines = stage.lab.exec(POP, "cat", "/proc/net/nf_conntrack", check=True).stdout.splitlines()
    return [line for line in lines if address in line]
