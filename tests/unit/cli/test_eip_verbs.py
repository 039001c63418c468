"""`anycastd eip` and `anycastd region` against a real server, desk and store."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

import pytest

from anycastd.cli.eip_words import port_of, rate_of, rate_text, target_of
from anycastd.cli.main import main
from anycastd.model.eip import Bandwidth, Eip, EipId, Source
from tests.unit import status_builder as build
from tests.unit.cli.serving import served
from tests.unit.cli.test_verbs import INTERRUPTIBLE, anycastd
from tests.unit.daemon import Daemon
from tests.unit.runtime.eip_world import ONE, World, bound_to, with_file


@dataclass
class Verbs:
    """Runs verbs in this process against the served socket: a process each would cost a quarter of a second."""

    world: World
    path: str
    capture: pytest.CaptureFixture[str]

    def run(self, *arguments: str, code: int = 0) -> str:
        """Return what the verb prints to stdout, or to stderr if it is to fail."""
        try:
            status = main([*arguments, "--socket", self.path])
        except SystemExit as end:
            status = int(end.code or 0)
        out, err = self.capture.readouterr()
        assert status == code, out + err
        return err if code else out


@pytest.fixture
def verbs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Verbs]:
    world = World(tmp_path / "anycastd.db")
    with served(Daemon(build.serving()), tmp_path / "api.sock", world) as path:
        yield Verbs(world, path, capsys)


def test_the_life_of_an_eip_at_the_prompt(verbs: Verbs) -> None:
    assert verbs.run("eip", "list") == "there are none\n"
    assert verbs.run("eip", "allocate", "203.0.113.10", "--in", "200mbit", "--description", "shop") == (
        "203.0.113.10 allocated\n203.0.113.10 is UNBIND\n"
    )
    told = verbs.run(
        "eip", "associate", "203.0.113.10", "eu-central/web-1:100", "us-east/web-1:50@2", "--affinity", "source"
    )
    assert told.splitlines()[0] == "203.0.113.10 bound to eu-central/web-1, us-east/web-1"
    assert verbs.run("eip", "list").splitlines() == [
        "EIP           STATUS  TO                  LIMIT (in/out)  WHY",
        "203.0.113.10  BIND    (eu-central/web-1)  200mbit/-       to the backend",
        "                      (us-east/web-1)",
    ]
    assert verbs.run("eip", "list", "--status", "UNBIND") == "there are none\n"
    body = json.loads(verbs.run("eip", "show", "203.0.113.10", "--json"))
    assert [(t["backend"], t["weight"], t["priority"]) for t in body["association"]["targets"]] == [
        ("eu-central/web-1", 100, 1),
        ("us-east/web-1", 50, 2),
    ]
    page = verbs.run("eip", "show", body["id"])
    for line in (
        "  limit     200mbit/- (in/out)",
        "  about     shop",
        "  bound to  us-east/web-1  weight 50, priority 2",
    ):
        assert line in page.splitlines()
    assert verbs.run("eip", "modify", "203.0.113.10", "--out", "1.5gbit", "--in", "none").splitlines()[:2] == [
        "203.0.113.10: limit in changed from 200mbit to none",
        "203.0.113.10: limit out changed from none to 1500mbit",
    ]
    assert verbs.run("eip", "modify", "203.0.113.10", "--out", "1500mbit").startswith(
        "nothing changed: 203.0.113.10 is"
    )
    verbs.run("eip", "disassociate", "203.0.113.10")
    assert "restorable until" in verbs.run("eip", "release", "203.0.113.10")
    verbs.run("eip", "restore", "203.0.113.10")
    assert json.loads(verbs.run("eip", "list", "--json"))["eips"][0]["status"] == "UNBIND"


def test_a_binding_with_all_it_can_have(verbs: Verbs) -> None:
    verbs.run("eip", "allocate", "--prefix", "203.0.113.0/24", "--ping", "pop", "--no-wait")
    verbs.run(
        *("eip", "associate", "203.0.113.1", "eu-central/web-1", "--mode", "dnat", "--port", "tcp/80:8080"),
        *("--port", "udp/53:5353", "--spread", "ordered", "--when-unhealthy", "drop"),
    )
    body = json.loads(verbs.run("eip", "show", "203.0.113.1", "--json"))
    assert (body["ping"], body["association"]) == (
        "pop",
        {
            "targets": [
                {
                    "backend": "eu-central/web-1",
                    "weight": 100,
                    "priority": 1,
                    "mode": "dnat",
                    "ports": [
                        {"transport": "tcp", "port": 80, "to_port": 8080},
                        {"transport": "udp", "port": 53, "to_port": 5353},
                    ],
                }
            ],
            "spread": "ordered",
            "affinity": "none",
            "when_unhealthy": "drop",
        },
    )
    told = verbs.run("eip", "associate", "203.0.113.1", "us-east/web-1:256", "us-east/web-9", "--replace", code=65)
    first, *reasons = told.splitlines()
    assert (first, len(reasons)) == ("anycastd: refused, for 2 reasons", 2)
    told = verbs.run("eip", "associate", "203.0.113.1", "us-east/web-1", code=65)
    assert told == (
        "anycastd: 203.0.113.1 is bound to eu-central/web-1; "
        "--replace (replace=true) binds it anew, make before break\n"
    )
    assert verbs.run("eip", "associate", "203.0.113.1", "us-east/web-1", "--replace", "--dry-run") == (
        "would change:\n  203.0.113.1 bound to us-east/web-1 instead of eu-central/web-1\n"
    )
    verbs.run("eip", "associate", "203.0.113.1", "us-east/web-1", "--replace", "--if-generation", "1", code=65)
    verbs.run("eip", "associate", "203.0.113.1", "us-east/web-1", "--replace", "--if-generation", "2")
    assert "blocked: abuse" in verbs.run("eip", "modify", "203.0.113.1", "--block", "abuse")
    verbs.run("eip", "modify", "203.0.113.1", "--unblock")


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["associate", "203.0.113.10", "eu-central/web-3"], 65,
         "no backend is called 'eu-central/web-3'; did you mean 'eu-central/web-2'?"),
        (["associate", "203.0.113.10", "web-1"], 64, "'web-1' is not a target; write region/backend"),
        (["associate", "203.0.113.10", "eu-central/web-1:x"], 64, "is not a target"),
        (["associate", "203.0.113.10", "eu-central/web-1:256", "us-east/web-1@0"], 65,
         "  target 1: weight: 256 is not between 0 and 255\n  target 2: priority: 0 is not between 1 and 100\n"),
        (["associate", "203.0.113.10"], 64, "Missing argument"),
        (["associate", "203.0.113.10", "us-east/web-1", "--port", "80:8080"], 64, "is not a port map; write tcp/80"),
        (["allocate", "203.0.113.10"], 65, "203.0.113.10 is allocated already"),
        (["allocate"], 64, "give either an address, or --prefix"),
        (["allocate", "192.0.2.1"], 65, "lies in none of the prefixes (203.0.113.0/24)"),
        (["allocate", "203.0.113.x"], 64, "anycastd: '203.0.113.x' is not an address"),
        (["modify", "203.0.113.10", "--in", "fast"], 64, "'fast' is not a rate; write 64kbit, 200mbit"),
        (["modify", "203.0.113.10", "--in", "0"], 65, "--in: 0 bit/s is not between 64kbit and 400gbit"),
        (["modify", "203.0.113.10", "--out", "1kbit", "--shaping", "htb"], 65,
         "  --out: 1000 bit/s is not between 64kbit and 400gbit\n  --shaping: htb shapes on the devices"),
        (["modify", "203.0.113.10", "--description", "x\ny"], 65, "--description: has characters that cannot be"),
        (["modify", "203.0.113.10", "--block", ""], 65, "--block: say why it is blocked"),
        (["modify", "203.0.113.10"], 64, "say what to change"),
        (["modify", "203.0.113.10", "--block", "x", "--unblock"], 64, "contradict"),
        (["show", "203.0.113.99"], 64, "no EIP has the id or address '203.0.113.99'"),
        (["release", "203.0.113.99"], 64, "no EIP has the id or address"),
        (["disassociate", "203.0.113.10"], 65, "203.0.113.10 is not bound"),
        (["list", "--status", "bound"], 64, "--status: 'bound' is not one of"),
        (["list", "--backend", "us-east/web-2"], 64, "did you mean 'us-east/web-1'?"),
    ],
)  # fmt: skip
def test_mistakes_are_told_with_what_was_meant(verbs: Verbs, arguments: list[str], code: int, told: str) -> None:
    verbs.run("eip", "allocate", "203.0.113.10")
    assert told in verbs.run("eip", *arguments, code=code)


def test_a_kernel_that_does_not_take_it_is_told(verbs: Verbs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("anycastd.cli.eip.WAIT_S", 0.02)
    verbs.world.plane.held = True
    told = verbs.run("eip", "allocate", "203.0.113.10", code=75)
    assert told.startswith(
        "anycastd: the change is stored, but the kernel does not have it after 0.02 s: see task task-"
    )
    verbs.run("eip", "modify", "203.0.113.10", "--description", "x", "--no-wait")


def test_dials(verbs: Verbs) -> None:
    assert verbs.run("region", "dial", "us-east", "25") == "the dial of us-east changed from 100 % to 25 %\n"
    assert verbs.run("region", "dial", "us-east", "25") == "nothing changed: the dial of us-east is at 25 %\n"
    assert verbs.run("region", "dial", "us-east", "--reset", "--dry-run") == (
        "would change:\n  the dial of us-east changed from 25 % to 100 %\n"
    )
    assert "did you mean 'us-east'?" in verbs.run("region", "dial", "us-eats", "5", code=64)
    at = json.loads(verbs.run("region", "dial", "us-east", "25", "--json"))
    assert (at["traffic_dial_percentage"], at["changes"], at["generation"] > 0) == (25, [], True)
    refused = verbs.run("region", "dial", "us-east", "5", "--if-generation", "0", code=65)
    assert refused == (
        f"anycastd: the dial of us-east is at generation {at['generation']}, not at 0: somebody changed it; "
        "read it again\n"
    )
    verbs.run("region", "dial", "us-east", "5", "--if-generation", str(at["generation"]))
    assert "No such option" in verbs.run("eip", "allocate", "203.0.113.20", "--if-generation", "1", code=64)
    for arguments in (["us-east"], ["us-east", "5", "--reset"], ["us-east", "101"]):
        verbs.run("region", "dial", *arguments, code=64)


def test_regions_show_their_dials(tmp_path: Path) -> None:
    state = build.serving()
    object.__setattr__(state, "dials", {"us-east": 25})
    with served(Daemon(state), tmp_path / "api.sock") as path:
        done = anycastd("region", "list", "--socket", path)
    assert done.stdout.splitlines() == [
        "REGION      USABLE   SINCE    DIAL                TUNNELS  BACKENDS",
        "eu-central  HEALTHY  3 d 3 h  100 %               2/2      2/2",
        "us-east     HEALTHY  3 d 3 h  25 % (file: 100 %)  1/1      1/1",
    ]


def test_a_list_of_many_pages(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("anycastd.cli.eip.PAGE", 7)
    eips = [
        Eip(
            id=EipId(f"eip-{n:08x}"),
            address=ip_address(f"203.0.113.{n}"),
            source=Source.FILE,
            bandwidth=Bandwidth(out_bps=n),
        )
        for n in range(1, 31)
    ]
    world = World(tmp_path / "anycastd.db", with_file(build.config(), eips))
    with served(Daemon(build.serving()), tmp_path / "api.sock", world) as path:
        listed = Verbs(world, path, capsys).run("eip", "list").splitlines()
    assert [line.split()[0] for line in listed] == ["EIP", *(str(eip.address) for eip in eips)]


def test_watch_prints_what_changes_and_waits_for_a_daemon_that_is_away(verbs: Verbs) -> None:
    verbs.run("eip", "allocate", "203.0.113.10")
    command = [*INTERRUPTIBLE, sys.executable, "-m", "anycastd", "eip", "watch", "--socket", verbs.path]
    env = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env) as process:
        assert process.stdout is not None
        assert "203.0.113.10 is UNBIND" in process.stdout.readline()
        verbs.run("eip", "associate", "203.0.113.10", "us-east/web-1")
        assert "203.0.113.10 is BIND, to (us-east/web-1)" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=10)
    assert (process.returncode, errors.strip()) == (130, "")


def test_eip_verbs_import_nothing_heavy(verbs: Verbs) -> None:
    script = (
        f"import sys; from anycastd.cli.main import main; main(['eip', 'list', '--socket', {verbs.path!r}]);"
        "print([m for m in ('aiohttp', 'rich', 'pydantic', 'asyncio', 'yaml', 'anycastd.model') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=15, check=True)
    assert done.stdout.splitlines() == ["there are none", "[]"]


@pytest.mark.parametrize(
    ("text", "bps", "shown"),
    [
        ("200mbit", 200_000_000, "200mbit"),
        ("1.5gbit", 1_500_000_000, "1500mbit"),
        ("64kbit", 64_000, "64kbit"),
        ("64001", 64_001, "64001bit"),
        ("1 Gbit", 10**9, "1gbit"),
        ("none", None, "-"),
    ],
)
def test_rates(text: str, bps: int | None, shown: str) -> None:
    assert (rate_of(text), rate_text(bps)) == (bps, shown)


@pytest.mark.parametrize("text", ["", "-1", "1mb", "1e6", "mbit", "1.2.3gbit", "NaN", "٣mbit"])
def test_what_is_no_rate(text: str) -> None:
    with pytest.raises(ValueError, match="is not a rate"):
        rate_of(text)


def test_targets_and_ports() -> None:
    assert target_of("eu/web-1") == {"backend": "eu/web-1"}
    assert target_of("eu/web-1:0@100") == {"backend": "eu/web-1", "weight": 0, "priority": 100}
    assert target_of("eu/web-1@2") == {"backend": "eu/web-1", "priority": 2}
    assert port_of("udp/53:5353") == {"transport": "udp", "port": 53, "to_port": 5353}
    for bad in ("", "eu", "eu/web-1:", "eu/web-1@", "eu/web-1:-1", "eu/web 1", "eu/web-1:1:2"):
        with pytest.raises(ValueError, match="is not a target"):
            target_of(bad)
    for bad in ("80:8080", "sctp/80:8080", "tcp/80", "tcp/80-90:80"):
        with pytest.raises(ValueError, match="is not a port map"):
            port_of(bad)


def test_a_file_that_hides_is_said_in_the_list(verbs: Verbs) -> None:
    verbs.run("eip", "allocate", str(ONE))
    eip = Eip(id=EipId("eip-0000000f"), address=ONE, binding=bound_to("us-east/web-1"), source=Source.FILE)
    verbs.world.desk.configure(with_file(verbs.world.config, [eip]))
    assert "an EIP of the store has this address too" in verbs.run("eip", "list")
