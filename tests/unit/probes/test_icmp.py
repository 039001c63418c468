"""The ICMP check: the wire, and real sockets of both kinds in a namespace of its own."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anycastd.probes.icmp import packet
from anycastd.probes.icmp.filter import attach
from tests.wait import wait_until

ROOT = Path(__file__).parents[3]
PING_GROUPS = {"ping socket": "0 2147483647", "raw socket": "1 0"}
SET_UP = """
link set lo up
addr add 10.77.0.1/32 dev lo
addr add 10.77.0.2/32 dev lo
addr add 10.77.0.3/32 dev lo
addr add fd77::1/128 dev lo nodad
link add v0 type veth peer name v1
addr add 10.78.0.1/24 dev v0
link set v0 up
link set v1 up
route add blackhole 10.79.1.0/24
route add prohibit 10.79.2.0/24
route add unreachable 10.79.3.0/24
route add blackhole fd79:1::/32
route add prohibit fd79:2::/32
route add 10.79.4.0/24 dev v0
route add 10.79.5.0/24 dev v0
route add default dev v0 src 10.78.0.1 table 99
"""
RULES = """
table inet probing {
  chain output {
    type filter hook output priority 0
    ip daddr 10.79.4.1 drop
    ip daddr 10.79.5.1 tcp dport 80 reject with tcp reset
    ip daddr 10.79.5.1 tcp dport 81 reject with icmp type host-unreachable
    ip daddr 10.77.0.3 meta l4proto icmp accept
  }
  chain input {
    type filter hook input priority 0
    ip daddr 10.77.0.3 icmp type echo-request reject with icmp type host-unreachable
  }
}
"""


@given(st.binary(max_size=40), st.integers(0, 65535), st.integers(0, 65535))
def test_packets(payload: bytes, identifier: int, sequence: int) -> None:
    """A request sums to zero (RFC 1071) and reads back as what an error would quote; it is never a reply."""
    data = packet.request(4, identifier, sequence, payload)
    assert packet.checksum(data) == 0
    assert packet.quoted(4, data) == packet.Echo(identifier, sequence, payload)
    assert packet.reply(4, data) is None


@given(st.binary(max_size=64), st.sampled_from([4, 6]))
def test_any_bytes_are_taken(data: bytes, version: int) -> None:
    """What others send never raises."""
    packet.reply(version, data)
    packet.quoted(version, data)
    packet.reply(4, packet.without_ipv4_header(data))


def _enter(space: str) -> list[str]:
    return ["nsenter", f"--net=/proc/{space}/ns/net"]


def _in(space: str, *command: str, **options: object) -> subprocess.CompletedProcess[str]:
    argv = [*_enter(space), *command]
    return subprocess.run(argv, check=True, text=True, capture_output=True, cwd=ROOT, **options)  # type: ignore[call-overload,no-any-return]


def _probe(space: str, *checks: str) -> dict[str, str]:
    """Run checks inside; return how each ended."""
    out = _in(space, sys.executable, "-m", "tests.unit.probes.inside", *checks).stdout.splitlines()[-1]
    found: dict[str, str] = json.loads(out)
    return found


@contextlib.contextmanager
def _forger(space: str, way: str) -> Iterator[subprocess.Popen[bytes]]:
    argv = [*_enter(space), sys.executable, "-m", "tests.unit.probes.forger", way]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, cwd=ROOT)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def space() -> Iterator[str]:
    """Make a namespace with loopback addresses, one wire to nobody, and routes that refuse; give the holder's pid.

    It has no name: it is gone with its holder, which ends when this process does, however that ends.
    """
    argv = ["unshare", "--net", "sh", "-c", "echo ready; exec cat"]
    holder = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"ready\n"
        space = str(holder.pid)
        for line in SET_UP.strip().splitlines():
            _in(space, "ip", *(["-6"] if "fd7" in line else []), *line.split())
        _in(space, "nft", "-f", "-", input=RULES)
        yield space
    finally:
        holder.kill()
        holder.communicate()


@pytest.fixture(params=PING_GROUPS)
def either_kind(request: pytest.FixtureRequest, space: str) -> str:
    """Let the kernel of the namespace offer ping sockets, or only raw ones."""
    kind: str = request.param
    _in(space, "sysctl", "-qw", f"net.ipv4.ping_group_range={PING_GROUPS[kind]}", "net.ipv4.icmp_echo_ignore_all=0")
    return space


@pytest.mark.lab
def test_ends(either_kind: str) -> None:
    """Answers, silence, ICMP errors, and all that is our own: one verdict each, from one shared socket."""
    assert _probe(
        either_kind,
        "four=icmp,10.77.0.2", "six=icmp,::1", "from=icmp,10.77.0.2,10.77.0.1", "six from=icmp,fd77::1,fd77::1",
        "silent=icmp,10.78.0.9", "rejected=icmp,10.77.0.3", "gone=icmp,10.77.0.2,10.99.0.1",
        "blackhole=icmp,10.79.1.1", "prohibit=icmp,10.79.2.1", "unreachable=icmp,10.79.3.1", "none=icmp,203.0.113.1",
        "six blackhole=icmp,fd79:1::1", "six prohibit=icmp,fd79:2::1", "six none=icmp,2001:db8::1",
        "our filter=icmp,10.79.4.1",
    ) == {
        "four": "answered", "six": "answered", "from": "answered", "six from": "answered",
        "silent": "timeout", "rejected": "unreachable", "gone": "no_address",
        "blackhole": "no_route", "prohibit": "no_route", "unreachable": "no_route", "none": "no_route",
        "six blackhole": "no_route", "six prohibit": "no_route", "six none": "no_route",
        "our filter": "no_permission",
    }  # fmt: skip


@pytest.mark.lab
@pytest.mark.parametrize(
    ("way", "why"),
    [("right", "answered"), *((way, "timeout") for way in ("payload", "sequence", "identifier", "sender"))],
)
def test_foreign_replies_are_ignored(way: str, why: str, either_kind: str) -> None:
    """Only the target's own reply to our own request counts, whatever else is on the wire."""
    _in(either_kind, "sysctl", "-qw", "net.ipv4.icmp_echo_ignore_all=1")
    with _forger(either_kind, way):
        assert _probe(either_kind, "a=icmp,10.77.0.2") == {"a": why}


@pytest.mark.lab
@pytest.mark.parametrize(("version", "host"), [(4, "127.0.0.1"), (6, "::1")])
def test_filter_lets_only_our_identifier_through(version: int, host: str) -> None:
    """A flood of others' replies does not even reach the receive buffer."""
    family, protocol = (socket.AF_INET, socket.IPPROTO_ICMP) if version == 4 else (socket.AF_INET6, 58)
    with socket.socket(family, socket.SOCK_RAW, protocol) as sock:
        sock.settimeout(5.0)
        attach(sock, version, 0x1234)
        for identifier in (0x1233, 0x3412, 0, 0x1234):
            sock.sendto(packet.request(version, identifier, 7, b"payload"), (host, 0))
        for _ in ("request", "reply"):
            data = sock.recv(1000)
            data = packet.without_ipv4_header(data) if version == 4 else data
            assert data[4:6] == b"\x12\x34"


@pytest.mark.lab
def test_no_permission(space: str) -> None:
    """Neither ping socket nor raw socket: our own fault."""
    _in(space, "sysctl", "-qw", "net.ipv4.ping_group_range=1 0")
    argv = ["setpriv", "--bounding-set=-net_raw,-net_admin", "--inh-caps=-all", sys.executable, "-m"]
    out = _in(space, *argv, "tests.unit.probes.inside", "a=icmp,10.77.0.2", "b=icmp,::1").stdout.splitlines()[-1]
    assert json.loads(out) == {"a": "no_permission", "b": "no_permission"}


@pytest.mark.lab
def test_tcp_ends(space: str) -> None:
    """TCP tells the same faults apart; a packet that our own filter drops is silence."""
    assert _probe(
        space,
        "refused=9,10.77.0.2", "six from=9,::1,fd77::1",
        "silent=9,10.78.0.9", "gone=9,10.77.0.2,10.99.0.1", "blackhole=9,10.79.1.1",
        "prohibit=9,10.79.2.1", "unreachable=9,10.79.3.1", "none=9,203.0.113.1", "six blackhole=9,fd79:1::1",
        "our filter=9,10.79.4.1", "reset=80,10.79.5.1", "rejected=81,10.79.5.1",
    ) == {
        "refused": "refused", "six from": "refused", "silent": "timeout", "gone": "no_address", "blackhole": "no_route",
        "prohibit": "no_route", "unreachable": "no_route", "none": "no_route", "six blackhole": "no_route",
        "our filter": "timeout", "reset": "refused", "rejected": "unreachable",
    }  # fmt: skip


@contextlib.contextmanager
def _standing_still(space: str, *words: str) -> Iterator[subprocess.Popen[str]]:
    argv = [*_enter(space), sys.executable, "-m", "tests.unit.probes.standing_still", *words]
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.lab
def test_replies_that_were_in_time_and_are_read_late_are_good_and_their_latency_is_the_kernel_s(
    either_kind: str,
) -> None:
    """Many lie in one socket while our loop stands still beyond every deadline: none is a failure, or our fault."""
    count, timeout_s = 300, 1.0
    with _standing_still(either_kind, str(count), str(timeout_s), "10.77.0.2") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "holding\n"
        ended_s = time.monotonic() + timeout_s + 0.3
        wait_until("every deadline is over", 5, lambda: time.monotonic() > ended_s)
        process.stdin.write("\n")
        process.stdin.flush()
        results = json.loads(process.stdout.readline())
    assert {why for why, *_ in results} == {"answered"}
    assert len(results) == count
    assert max(latency_s for _, latency_s, _ in results) < timeout_s


@pytest.mark.lab
def test_a_reply_that_was_late_is_a_timeout_although_we_read_it_even_later(either_kind: str) -> None:
    """Our own standing still takes nothing from the target, and gives it nothing."""
    _in(either_kind, "sysctl", "-qw", "net.ipv4.icmp_echo_ignore_all=1")
    with (
        _forger(either_kind, "late") as forger,
        _standing_still(either_kind, "1", "0.3", "10.77.0.2") as still,
    ):
        assert forger.stdout is not None
        assert still.stdin is not None
        assert still.stdout is not None
        assert still.stdout.readline() == "holding\n"
        # one for the request that opened the socket, one for this
        assert [forger.stdout.readline() for _ in range(2)] == [b"sent\n"] * 2
        still.stdin.write("\n")
        still.stdin.flush()
        ((why, _, detail),) = json.loads(still.stdout.readline())
    assert why == "timeout"
    assert detail.startswith("the echo reply came ")
    assert detail.endswith(" ms too late")
