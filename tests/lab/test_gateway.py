"""`anycastd gateway` in a real kernel: what is applied, what is left alone, and where packets go."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from anycastd.gateway.load import load
from tests.lab.gateway_world import CLIENT, EIP, FAR, NUMBER, World, world
from tests.lab.kernel_world import run
from tests.wait import wait_until

pytestmark = pytest.mark.lab

__all__ = ["world"]

GOLDEN = Path(__file__).parents[1] / "unit" / "gateway" / "golden"
ENDED = 0


@contextmanager
def watching(world: World, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    ready = tmp_path / "ready"
    with world.watching(ready) as process:
        try:
            wait_until("all in place", 10, ready.exists)
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(10) == ENDED


def applied(world: World) -> None:
    done = world.command("apply")
    assert (done.returncode, done.stderr) == (0, "")


def mark_of(world: World, device: str) -> int:
    gateway = load(str(world.file))
    return next(gateway.mark(one) for one in gateway.tunnels if one.device == device)


def pinged(world: World, version: int, count: int = 20, source: str = "", target: str = "") -> dict[str, int]:
    """Ping the EIP as a client; return how many answers left by each tunnel."""
    before = world.sent()
    source, target = source or CLIENT[version], target or EIP[version]
    words = ("ping", "-I", source, "-i", "0.01", "-c", str(count), "-W", "2", "-q", target)
    assert f"{count} received" in world.at(world.pop, *words)
    return {tunnel: sent - before[tunnel] for tunnel, sent in world.sent().items()}


@pytest.mark.parametrize("name", ["full", "smallest"])
def test_nft_takes_the_golden_files(world: World, name: str) -> None:
    lines = (GOLDEN / f"{name}.txt").read_text()
    begin, end = lines.index("add table"), lines.index("# ip -4")
    world.at(world.gateway, "nft", "-c", "-f", "-", text=lines[begin:end])


def test_what_is_rendered_is_what_is_applied(world: World) -> None:
    script, *parts = (world.command("render", "--part", part).stdout for part in ("nft", "ip4", "ip6"))
    world.at(world.gateway, "nft", "-f", "-", text=script)
    for version, lines in zip((4, 6), parts, strict=True):
        run("ip", "-n", world.gateway, f"-{version}", "-batch", "-", text=lines)
    before = [sorted(text.splitlines()) for text in world.state()]
    done = world.command("apply")
    assert done.stdout == "0 changed, all in place\n"
    assert [sorted(text.splitlines()) for text in world.state()][:4] == before[:4]


def test_applying_again_changes_nothing_and_removing_leaves_the_rest(world: World) -> None:
    before = world.state()
    applied(world)
    once = world.state()
    assert once != before
    assert world.command("apply").stdout == "0 changed, all in place\n"
    assert world.state()[:4] == once[:4]
    assert world.command("remove").returncode == 0
    assert world.state() == before
    assert world.command("remove").stdout == "0 changed, all in place\n"


def test_what_is_not_ours_is_not_touched(world: World) -> None:
    world.gw("route", "add", "203.0.113.0/24", "via", "10.51.2.10", "metric", "100", "proto", "static")
    world.gw("route", "add", "198.51.100.0/24", "via", "10.51.2.10", "proto", "bird")
    world.gw("rule", "add", "pref", "7001", "fwmark", "0x9", "lookup", "99")
    world.at(world.gateway, "nft", "add", "table", "inet", "theirs")
    done = world.command("apply")
    assert done.returncode == 75
    assert "203.0.113.0/24" in done.stderr
    assert "File exists" in done.stderr
    assert "203.0.113.0/24 via 10.51.2.10 dev b2 proto static metric 100" in world.gw("route")
    assert world.command("remove").returncode == 0
    assert "198.51.100.0/24 via 10.51.2.10 dev b2 proto bird" in world.gw("route")
    assert "203.0.113.0/24 via 10.51.2.10 dev b2 proto static metric 100" in world.gw("route")
    assert "fwmark 0x9 lookup 99" in world.gw("rule")
    assert "table inet theirs" in world.at(world.gateway, "nft", "list", "tables")


def test_what_left_the_file_goes(world: World) -> None:
    applied(world)
    text = world.file.read_text()
    world.file.write_text("\n".join(line for line in text.splitlines() if "pop-b" not in line and "2001:" not in line))
    applied(world)
    assert "pop-b" not in world.gw("route", "show", "table", "all", "proto", "202")
    assert "2001:db8:9::" not in world.gw("-6", "route", "show", "proto", "202")
    assert len([line for line in world.gw("rule").splitlines() if "proto 202" in line]) == 1


@pytest.mark.parametrize("version", [4, 6])
def test_answers_follow_the_tunnel_of_the_last_packet(world: World, version: int) -> None:
    applied(world)
    world.by("a", version)
    assert pinged(world, version)["a"] >= 20
    world.by("b", version)
    sent = pinged(world, version)
    assert sent["b"] >= 20
    assert sent["a"] < 5


@pytest.mark.parametrize("version", [4, 6])
def test_a_gateway_that_is_the_backend_answers_by_the_same_tunnel(world: World, version: int) -> None:
    text = world.file.read_text()
    world.file.write_text(text[: text.index("routes:")])
    world.gw("addr", "add", f"{EIP[version]}/{32 if version == 4 else 128}", "dev", "lo")
    # any default route: without one the kernel refuses the answer before it is marked
    world.gw(f"-{version}", "route", "add", "default", "via", {4: "10.51.2.10", 6: "fd00:51:2::10"}[version])
    applied(world)
    for tunnel, other in (("a", "b"), ("b", "a")):
        world.by(tunnel, version)
        sent = pinged(world, version)
        assert sent[tunnel] >= 20
        assert sent[other] < 5


SOURCES = {
    "dnat": (CLIENT[4], CLIENT[6]),
    "masquerade, return_path gateway": ("10.200.1.1", "fd00:200:1::1"),
}


@pytest.mark.parametrize("sources", SOURCES.values(), ids=SOURCES)
@pytest.mark.parametrize("version", [4, 6])
def test_answers_from_a_backends_own_address_go_back_too(world: World, sources: tuple[str, str], version: int) -> None:
    """What the POP sends after its own translation: to the backend's address, from the client's or the tunnel's."""
    text = world.file.read_text()
    world.file.write_text(text[: text.index("routes:")])
    applied(world)
    backend, prefix = {4: ("10.51.1.10", "10.51.1.0/24"), 6: ("fd00:51:1::10", "fd00:51:1::/64")}[version]
    source = sources[version == 6]
    for tunnel, other in (("a", "b"), ("b", "a")):
        via = FAR[version].format(NUMBER[tunnel])
        run("ip", "-n", world.pop, f"-{version}", "route", "replace", prefix, "via", via)
        sent = pinged(world, version, source=source, target=backend)
        assert sent[tunnel] >= 20, "by the tunnel of the last packet, whatever address it has"
        assert sent[other] < 5


@pytest.mark.parametrize("version", [4, 6])
def test_one_connection_goes_on_by_the_other_tunnel(world: World, version: int) -> None:
    applied(world)
    world.by("a", version)
    words = ["ping", "-I", CLIENT[version], "-i", "0.02", "-c", "60", "-W", "2", EIP[version]]
    full = ["ip", "netns", "exec", world.pop, *words]
    with subprocess.Popen(full, stdout=subprocess.PIPE, text=True, bufsize=1) as ping:
        assert ping.stdout is not None
        for line in ping.stdout:
            if "seq=20 " in line:
                break
        world.by("b", version)
        # what we know of is sent by now: a machine can be slow to move it
        before = world.sent()
        rest = ping.stdout.read()
    assert "60 packets transmitted, 60 received" in rest
    sent = world.sent()
    assert sent["b"] - before["b"] >= 10, "its answers moved with it"
    assert sent["a"] - before["a"] < 5


@pytest.mark.parametrize("version", [4, 6])
def test_segments_are_clamped_both_ways(world: World, version: int) -> None:
    applied(world)
    world.by("a", version)
    family = {4: "AF_INET", 6: "AF_INET6"}[version]
    serve = f"import socket as s; x=s.create_server(('', 80), family=s.{family}); print('ready', flush=True)\n"
    serve += (
        "while 1:\n c,_=x.accept(); c.recv(1); c.send(b'%d' % c.getsockopt(s.IPPROTO_TCP, s.TCP_MAXSEG)); c.close()"
    )
    ask = f"import socket as s; c=s.create_connection(('{EIP[version]}', 80), 3, ('{CLIENT[version]}', 0))\n"
    ask += "c.send(b'x'); print(c.getsockopt(s.IPPROTO_TCP, s.TCP_MAXSEG), c.recv(9).decode())"
    with ExitStack() as stack:
        for one in world.backends:
            words = ["ip", "netns", "exec", one, "python3", "-c", serve]
            server = stack.enter_context(subprocess.Popen(words, stdout=subprocess.PIPE, text=True))
            stack.callback(server.kill)
            assert server.stdout is not None
            assert server.stdout.readline() == "ready\n"
        ours, theirs = map(int, world.at(world.pop, "python3", "-c", ask).split())
    # TCP_MAXSEG is without the 12 bytes of the timestamps option
    limit = {4: 1300, 6: 1280}[version]
    assert {ours, theirs} <= {limit, limit - 12}


def test_a_device_that_comes_back_gets_its_routes_and_meanwhile_the_other_serves(world: World, tmp_path: Path) -> None:
    with watching(world, tmp_path):
        for version in (4, 6):
            world.by("a", version)
            pinged(world, version)
        world.gw("link", "set", "pop-a", "down")
        table = world.gw("route", "show", "table", "all", "proto", "202")
        assert "dev pop-a" not in table
        assert "dev pop-b" in table
        world.gw("link", "set", "pop-a", "up")
        for version in (4, 6):
            shown = ("-6" if version == 6 else "-4", "route", "show", "table", "all", "proto", "202")
            wait_until("routes are back", 3, lambda words=shown: world.gw(*words).count("dev pop-a") == 2)  # type: ignore[misc]
        world.gw("addr", "replace", "fd00:200:1::2/64", "dev", "pop-a", "nodad")
        for version in (4, 6):
            assert pinged(world, version)["a"] >= 20


@pytest.mark.timed
def test_a_flush_of_all_rules_is_put_right_at_once(world: World, tmp_path: Path) -> None:
    with watching(world, tmp_path) as process:
        before = world.at(world.gateway, "nft", "list", "table", "inet", "anycastd_gateway")
        world.at(world.gateway, "nft", "flush", "ruleset")

        def back() -> bool:
            tables = world.at(world.gateway, "nft", "list", "ruleset")
            return tables.count("hook") == before.count("hook")

        begun_s = time.monotonic()
        wait_until("the table is back", 5, back)
        assert time.monotonic() - begun_s < 1.5
        world.file.write_text(world.file.read_text().replace("mss: {ipv4: 1300", "mss: {ipv4: 1301"))
        process.send_signal(signal.SIGHUP)
        wait_until("the new file counts", 3, lambda: "set 1301" in world.at(world.gateway, "nft", "list", "ruleset"))
        world.file.write_text("tunnels: {}")
        process.send_signal(signal.SIGHUP)
        assert process.stdout is not None
        wait_until("refused", 5, lambda: "refused, the former file stays" in process.stdout.readline())  # type: ignore[union-attr]
        assert "set 1301" in world.at(world.gateway, "nft", "list", "ruleset")
    assert "anycastd_gateway" in world.at(world.gateway, "nft", "list", "tables"), "it stays when the watch ends"


def test_devices_are_tuned_unless_that_is_switched_off(world: World) -> None:
    def strict() -> str:
        return world.at(world.gateway, "cat", "/proc/sys/net/ipv4/conf/pop-a/rp_filter").strip()

    world.at(world.gateway, "sysctl", "-qw", "net.ipv4.conf.pop-a.rp_filter=1")
    text = world.file.read_text()
    world.file.write_text(text + "tune: false\n")
    applied(world)
    assert strict() == "1"
    world.file.write_text(text)
    applied(world)
    assert strict() == "0"
    world.at(world.gateway, "sysctl", "-qw", "net.ipv4.ip_forward=0")
    assert "warning: net.ipv4.ip_forward is 0, should be 1" in world.command("apply").stderr


def test_an_answer_that_has_no_tunnel_left_goes_nowhere(world: World) -> None:
    """Not by the gateway's own default route: answers of DNAT would reach clients from the backend's address."""
    applied(world)
    world.by("a", 4)
    pinged(world, 4)
    world.gw("route", "add", "default", "via", "10.51.2.10")
    world.gw("link", "set", "pop-a", "down")
    world.gw("link", "set", "pop-b", "down")
    words = ["ip", "-n", world.gateway, "route", "get", CLIENT[4], "mark", str(mark_of(world, "pop-a"))]
    done = subprocess.run(words, capture_output=True, text=True, timeout=10, check=False)
    assert (done.stdout, done.stderr) == ("", "RTNETLINK answers: Invalid argument\n"), "a blackhole"
