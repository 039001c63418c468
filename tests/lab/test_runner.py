"""The runner with real namespaces: links, addresses, stages, faults, and that nothing is ever left behind."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from anycastd.lab import netns, processes, runner, state
from anycastd.lab.errors import LabBusy, LabError, LabMissing
from anycastd.lab.processes import running
from tests.wait import wait_until

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.timeout(60),
]

CHECKOUT = Path(__file__).resolve().parents[2]
LINUX = "{kind: linux, image: none, network-mode: none, cmd: sleep infinity}"
PAIR = """
  links:
    - type: veth
      mtu: 1400
      endpoints:
        - {node: a, interface: eth1, mac: "02:00:00:00:00:0a", ipv4: 10.0.0.1/30, ipv6: "2001:db8::1/64"}
        - {node: b, interface: eth1, ipv4: 10.0.0.2/30, ipv6: "2001:db8::2/64"}
"""
PLAIN = f"topology:\n  defaults: {LINUX}\n  nodes: {{a: , b: }}{PAIR}"


@pytest.fixture
def name() -> Iterator[str]:
    """A lab name of this test process alone; whatever the test did, the lab is gone afterwards."""
    own = f"t-runner-{os.getpid()}"
    yield own
    runner.down(own)
    (state.STATE / f"{own}.lock").unlink(missing_ok=True)


def written(directory: Path, name: str, body: str) -> Path:
    path = directory / f"{name}.clab.yml"
    path.write_text(f"name: {name}\n{body}", encoding="utf-8")
    return path


def remains(name: str) -> list[str]:
    """Everything on this machine that belongs to a lab, by looking and not by the lab's own records."""
    found = [f"process {process.pid}" for process in processes.marked(name)]
    found += [f"netns {entry.name}" for entry in netns.NETNS.glob(f"{name}.*")]
    mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    found += [f"mount {line}" for line in mounts if f"{name}." in line or f"{name}/" in line]
    found += [f"state {name}"] if state.directory_of(name).exists() else []
    return found


def interfaces() -> set[str]:
    return {entry.name for entry in Path("/sys/class/net").iterdir()}


def pings(lab: runner.Lab, address: str) -> bool:
    """Return whether one of five is answered: of a link that was just made the first may be lost."""
    return lab.exec("a", "ping", "-n", "-c5", "-i0.2", "-W2", address).returncode == 0


def cli(*words: str) -> list[str]:
    return [sys.executable, "-c", "from anycastd.cli.lab import lab; lab()", *words]


def cli_run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(cli(*words), capture_output=True, text=True, timeout=40, cwd=CHECKOUT)


def test_two_nodes_reach_each_other(tmp_path: Path, name: str) -> None:
    before = interfaces()
    with runner.up(written(tmp_path, name, PLAIN)) as lab:
        assert pings(lab, "10.0.0.2")
        assert pings(lab, "2001:db8::2"), "IPv6 works at once: no duplicate address detection"
        link = lab.exec("a", "ip", "-o", "link", "show", "eth1").stdout
        assert "02:00:00:00:00:0a" in link
        assert "mtu 1400" in link
        assert "tentative" not in lab.exec("a", "ip", "-6", "addr").stdout
        assert interfaces() == before, "no interface of a lab is ever on the host"
        assert [(s.is_up, s.alive, s.nodes) for s in runner.list() if s.name == name] == [(True, 2, 2)]
    assert remains(name) == []


def test_node_is_a_world_of_its_own(tmp_path: Path, name: str) -> None:
    (tmp_path / "bound.txt").write_text("from the host\n", encoding="utf-8")
    node = """{kind: linux, network-mode: none, cmd: sh -c 'echo said-by-cmd $$WHO; exec sleep infinity',
      env: {WHO: me}, hostname: own-name, binds: ["bound.txt:/opt/here/bound.txt:ro"],
      sysctls: {net.ipv4.ip_forward: 1}}"""
    with runner.up(written(tmp_path, name, f"topology: {{nodes: {{a: {node}}}}}\n")) as lab:
        said = lab.exec("a", "sh", "-c", "hostname; cat /opt/here/bound.txt /proc/sys/net/ipv4/ip_forward; echo $WHO")
        assert said.stdout.split("\n") == ["own-name", "from the host", "1", "me", ""]
        assert lab.exec("a", "sh", "-c", "echo x > /opt/here/bound.txt").returncode != 0, "ro means ro"
        mark = f"/etc/{name}-mark"
        lab.exec("a", "touch", mark, check=True)
        assert not Path(mark).exists(), "what a node writes stays in the node"
        seen = lab.exec("a", "sh", "-c", "ls /proc | grep -c '^[0-9]'").stdout
        assert int(seen) < 10, "a node sees its own processes only"
        wait_until("cmd said its line", 5, lambda: "said-by-cmd me" in lab.logs("a"))
        assert lab.exec("a", "sh", "-c", "exit 7").returncode == 7
        with pytest.raises(LabMissing, match="has no node z; it has: a"):
            lab.exec("z", "true")


def test_other_user_runs_python_from_the_checkout(tmp_path: Path, name: str) -> None:
    with runner.up(written(tmp_path, name, f"topology: {{nodes: {{a: {LINUX}}}}}\n")) as lab:
        code = f"import sys; sys.path.insert(0, {str(CHECKOUT)!r}); import anycastd.lab.shape, yaml; print('ran')"
        done = lab.exec("a", "setpriv", "--reuid", "nobody", "--clear-groups", sys.executable, "-c", code)
        assert done.stdout == "ran\n", done.stderr


def test_other_user_runs_python_from_a_closed_checkout_below_tmp(tmp_path: Path, name: str) -> None:
    closed = tmp_path / "home"
    shutil.copytree(CHECKOUT / "anycastd", closed / "out" / "anycastd", ignore=shutil.ignore_patterns("__pycache__"))
    closed.chmod(0o700)
    path = written(tmp_path, name, f"topology: {{nodes: {{a: {LINUX}}}}}\n")
    env = {**os.environ, "PYTHONPATH": str(closed / "out")}
    done = subprocess.run(cli("up", str(path)), capture_output=True, text=True, timeout=40, cwd=closed / "out", env=env)
    assert done.returncode == 0, done.stderr
    code = f"import sys; sys.path.insert(0, {str(closed / 'out')!r}); import anycastd.lab.shape as s; print(s.__file__)"
    done = runner.exec(name, "a", ("setpriv", "--reuid", "nobody", "--clear-groups", sys.executable, "-c", code))
    assert done.stdout == f"{closed}/out/anycastd/lab/shape.py\n", done.stderr
    assert closed.stat().st_mode & 0o777 == 0o700, "the host's own directory stays closed"


def test_bridge_joins_three_nodes(tmp_path: Path, name: str) -> None:
    links = "".join(
        f"    - type: veth\n      endpoints:\n        - {{node: {n}, interface: eth1, ipv4: 10.0.0.{i}/24}}\n"
        f"        - {{node: sw, interface: p{i}}}\n"
        for i, n in enumerate("abc", start=1)
    )
    body = f"topology:\n  nodes: {{sw: {{kind: bridge}}, a: {LINUX}, b: {LINUX}, c: {LINUX}}}\n  links:\n{links}"
    with runner.up(written(tmp_path, name, body)) as lab:
        assert pings(lab, "10.0.0.2")
        lab.cut("c", "eth1")
        assert not pings(lab, "10.0.0.3")
        lab.heal("c", "eth1")
        wait_until("it answers again", 5, lambda: pings(lab, "10.0.0.3"))
        with pytest.raises(LabMissing, match="sw is a bridge"):
            lab.exec("sw", "true")
    assert remains(name) == []


def test_cut_is_silent_and_heals(tmp_path: Path, name: str) -> None:
    with runner.up(written(tmp_path, name, PLAIN)) as lab:
        lab.cut("a", "eth1")
        done = lab.exec("a", "ping", "-n", "-c1", "-W1", "10.0.0.2")
        assert done.returncode == 1
        assert "No buffer" not in done.stderr, "no socket is told"
        assert lab.exec("b", "ping", "-n", "-c1", "-W1", "10.0.0.1").returncode == 1
        assert "LOWER_UP" in lab.exec("a", "ip", "link", "show", "eth1").stdout, "the carrier stays"
        lab.heal("a", "eth1")
        wait_until("it answers again", 5, lambda: pings(lab, "10.0.0.2"))
        lab.heal("a", "eth1")


def test_cut_of_one_address_leaves_the_others(tmp_path: Path, name: str) -> None:
    with runner.up(written(tmp_path, name, PLAIN)) as lab:
        lab.cut("a", "eth1", "2001:db8::2")
        assert pings(lab, "10.0.0.2")
        assert not pings(lab, "2001:db8::2")
        lab.heal("a", "eth1")
        wait_until("it answers again", 5, lambda: pings(lab, "2001:db8::2"))


def test_cut_works_on_an_interface_the_topology_did_not_make(tmp_path: Path, name: str) -> None:
    with runner.up(written(tmp_path, name, PLAIN)) as lab:
        for node, own in (("a", 1), ("b", 2)):
            tunnel = f"vxlan id 5 dstport 4789 local 10.0.0.{own} remote 10.0.0.{3 - own}"
            lab.exec(node, *["ip", "link", "add", "t0", "type"], *tunnel.split(), check=True)
            lab.exec(node, "sh", "-c", f"ip link set t0 up; ip addr add 10.9.0.{own}/30 dev t0", check=True)
        assert pings(lab, "10.9.0.2")
        lab.cut("a", "t0")
        assert not pings(lab, "10.9.0.2")
        assert pings(lab, "10.0.0.2")
        lab.heal("a", "t0")
        wait_until("it answers again", 5, lambda: pings(lab, "10.9.0.2"))


def test_link_down_takes_the_carrier_and_up_brings_ipv6_back(tmp_path: Path, name: str) -> None:
    with runner.up(written(tmp_path, name, PLAIN)) as lab:
        lab.link_down("a", "eth1")
        assert "NO-CARRIER" in lab.exec("b", "ip", "link", "show", "eth1").stdout
        lab.link_up("a", "eth1")
        wait_until("IPv6 works again", 5, lambda: pings(lab, "2001:db8::2"))
        assert pings(lab, "10.0.0.2")


def test_signals_reach_the_program_and_not_only_its_starter(tmp_path: Path, name: str) -> None:
    counting = "i=0; while sleep 0.02; do i=$((i+1)); echo $i > /tmp/i; done & echo $!; wait"
    with runner.up(written(tmp_path, name, PLAIN)) as lab:
        with lab.popen("a", "sh", "-c", counting) as started:
            assert started.stdout is not None
            pid = int(started.stdout.readline())

            def count() -> str:
                return lab.exec("a", "cat", "/tmp/i").stdout

            wait_until("it counts", 5, count)
            lab.pause("a", pid)
            state_of = ["sh", "-c", f"grep State /proc/{pid}/status"]
            wait_until("it stands", 5, lambda: "T (stopped)" in lab.exec("a", *state_of).stdout)
            stood = count()
            assert count() == stood
            lab.resume("a", pid)
            wait_until("it counts again", 5, lambda: count() not in ("", stood))
            lab.kill("a", pid)
            assert started.wait(5) == 0
        with lab.popen("a", "sleep", "50") as whole:
            inner = wait_until("it runs", 5, lambda: processes.child_of(whole.pid))
            wait_until("it is sleep", 5, lambda: "sleep" in Path(f"/proc/{inner.pid}/comm").read_text(encoding="utf-8"))
            whole.send_signal(signal.SIGSTOP)
            whole.send_signal(signal.SIGCONT)
            whole.terminate()
            assert whole.wait(5) == -signal.SIGTERM
            assert not inner.is_alive()
        with pytest.raises(subprocess.TimeoutExpired):
            lab.exec("a", "sleep", "51", timeout_s=0.3)
        wait_until("a timeout ends the program, too", 5, lambda: "sleep\0" + "51" not in cmdlines())


def cmdlines() -> str:
    texts = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            texts.append(entry.read_text(encoding="utf-8", errors="replace"))
    return "\n".join(texts)


def test_stages_keep_their_order(tmp_path: Path, name: str) -> None:
    body = f"""topology:
  defaults: {LINUX}
  nodes:
    a:
      cmd: sh -c 'ls /sys/class/net > /tmp/seen; sleep 0.5; touch /tmp/ready; exec sleep infinity'
      healthcheck: {{test: [CMD, test, -e, /tmp/ready], interval: 1}}
    b:
      exec: ["sh -c 'ping -n -c1 -W1 10.0.0.1 > /tmp/exec'"]
      stages:
        create-links:
          exec: {{on-enter: ["sh -c 'ls /sys/class/net > /tmp/before'"], on-exit: ["cp -r /sys/class/net /tmp/after"]}}
        configure: {{wait-for: [{{node: a, stage: healthy}}]}}
{PAIR}"""
    order: list[tuple[str, str]] = []
    with runner.up(written(tmp_path, name, body), progress=lambda node, what: order.append((node, what))) as lab:
        assert order.index(("a", "is up")) < order.index(("b", "entering configure"))
        assert "eth1" in lab.exec("a", "cat", "/tmp/seen").stdout, "cmd starts when the links are there"
        assert "eth1" not in lab.exec("b", "cat", "/tmp/before").stdout
        assert "eth1" in lab.exec("b", "ls", "/tmp/after").stdout
        assert "1 received" in lab.exec("b", "cat", "/tmp/exec").stdout


@pytest.mark.parametrize(
    ("node", "said"),
    [
        ("{exec: ['ip link show none-such']}", "b: exec: ip link show none-such: status 1"),
        ("{healthcheck: {test: [CMD-SHELL, 'echo sick; exit 1'], interval: 1}}", "b: not healthy after 2 s: sick"),
        ("{sysctls: {net.ipv4.none_such: 1}}", "sysctl net.ipv4.none_such: the node's kernel does not take '1'"),
        ("{healthcheck: {test: [CMD, sleep, '40'], interval: 1}}", "b: not healthy after 2 s: no answer"),
    ],
)
def test_failed_up_says_why_and_leaves_nothing(tmp_path: Path, name: str, node: str, said: str) -> None:
    body = f"topology:\n  defaults: {LINUX}\n  nodes: {{a: , b: {node}}}{PAIR}"
    with pytest.raises(LabError) as failed:
        runner.up(written(tmp_path, name, body), deadline_s=2)
    assert said in str(failed.value)
    assert remains(name) == []


def test_missing_bind_is_refused_before_anything_is_made(tmp_path: Path, name: str) -> None:
    body = f"topology:\n  defaults: {LINUX}\n  nodes: {{a: {{binds: ['none.conf:/x']}}}}\n"
    with pytest.raises(LabError, match=r"topology.nodes.a.binds: no such file or directory: .*/none.conf"):
        runner.up(written(tmp_path, name, body))
    assert remains(name) == []


def test_second_up_is_refused_and_the_first_lab_lives_on(tmp_path: Path, name: str) -> None:
    path = written(tmp_path, name, PLAIN)
    with runner.up(path) as lab:
        pid = lab.pid("a")
        with pytest.raises(LabBusy, match="is up already"):
            runner.up(path)
        assert lab.pid("a") == pid
        assert running(pid)


def test_two_labs_live_side_by_side(tmp_path: Path, name: str) -> None:
    other = f"{name}-2"
    try:
        with runner.up(written(tmp_path, name, PLAIN)) as one, runner.up(written(tmp_path, other, PLAIN)) as two:
            assert pings(one, "10.0.0.2")
            assert pings(two, "10.0.0.2")
            one.down()
            assert remains(name) == []
            assert pings(two, "10.0.0.2")
        assert remains(other) == []
    finally:
        runner.down(other)
        (state.STATE / f"{other}.lock").unlink(missing_ok=True)


def test_down_never_kills_a_process_that_only_has_the_old_pid(tmp_path: Path, name: str) -> None:
    with subprocess.Popen(["sleep", "50"]) as stranger:
        process = running(stranger.pid)
        assert process is not None
        runner.up(written(tmp_path, name, PLAIN))
        state.write_process(name, "b", processes.Process(stranger.pid, process.start_ticks + 1))
        runner.down(name)
        assert process.is_alive()
        assert remains(name) == []
        stranger.kill()


# Each is a moment of the start: before any node, with half of the nodes there, with links, before health.
@pytest.mark.parametrize("moment", ["entering create", "entering create-links", "entering configure", "is up"])
@pytest.mark.parametrize("then", ["down", "up"])
def test_killed_runner_leaves_nothing_that_is_not_cleared(tmp_path: Path, name: str, moment: str, then: str) -> None:
    slow = "{healthcheck: {test: [CMD, test, -e, /tmp/never], interval: 1}}"
    body = f"topology:\n  defaults: {LINUX}\n  nodes: {{a: , b: , c: {slow}}}{PAIR}"
    path = written(tmp_path, name, body)
    with subprocess.Popen(cli("up", str(path)), stderr=subprocess.PIPE, text=True, cwd=CHECKOUT) as killed:
        assert killed.stderr is not None
        next(line for line in killed.stderr if moment in line)
        killed.kill()
    if then == "down":
        assert cli_run("down", str(path)).returncode == 0
    else:
        written(tmp_path, name, PLAIN)
        with runner.up(path) as lab:
            assert pings(lab, "10.0.0.2")
    assert remains(name) == []


def test_terminated_runner_clears_up_itself(tmp_path: Path, name: str) -> None:
    slow = "{healthcheck: {test: [CMD, test, -e, /tmp/never], interval: 1}}"
    path = written(tmp_path, name, f"topology:\n  defaults: {LINUX}\n  nodes: {{a: , b: {slow}}}{PAIR}")
    with subprocess.Popen(cli("up", str(path)), stderr=subprocess.PIPE, text=True, cwd=CHECKOUT) as runs:
        assert runs.stderr is not None
        next(line for line in runs.stderr if "b: entering healthy" in line)
        runs.terminate()
        assert runs.wait(20) == 128 + signal.SIGTERM
    assert remains(name) == []


def test_commands_have_the_exit_codes_of_sysexits(tmp_path: Path, name: str) -> None:
    path = str(written(tmp_path, name, PLAIN))
    up = cli_run("up", path)
    assert up.returncode == 0, up.stderr
    assert "a: is up" in up.stderr
    assert f"lab {name} is up" in up.stderr.splitlines()[-1]
    assert cli_run("up", path).returncode == os.EX_TEMPFAIL
    assert f"{name}\tup\t2/2 nodes\t{path}" in cli_run("list").stdout
    done = cli_run("exec", path, "a", "--", "sh", "-c", "hostname; exit 7")
    assert (done.returncode, done.stdout) == (7, "a\n")
    assert cli_run("logs", path, "a").returncode == 0
    assert cli_run("down", path).returncode == 0
    assert cli_run("down", path).returncode == 0
    assert cli_run("exec", path, "a", "--", "true").returncode == os.EX_NOINPUT
    bad = written(tmp_path, name, "topology: {nodes: {a: {kind: nonsense}}}\n")
    assert cli_run("up", str(bad)).returncode == os.EX_DATAERR
