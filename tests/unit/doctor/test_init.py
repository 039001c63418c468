"""A first configuration from machines of several kinds: what `check` says of it is exactly what is left to fill in."""

from __future__ import annotations

import os
import pty
import stat
import sys
from dataclasses import replace
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from anycastd.cli import init as verb
from anycastd.config.load import examine
from anycastd.doctor.asking import Asking
from anycastd.doctor.first_file import BLANK, first_file
from anycastd.doctor.inventory import Inventory, Line, Peer, Speaker, Way, take

FULL = Inventory(
    host="fra1.example.net",
    ways=(Way(ip_address("198.51.100.1"), "eth0", ip_address("198.51.100.2")),),
    lines=(
        Line("vx1", "vxlan", ip_address("10.255.1.1"), ip_address("10.255.1.2")),
        Line("vx1", "vxlan", ip_address("fd00:1::1"), ip_address("fd00:1::2")),
        Line("gre2", "gre", ip_address("10.255.2.1"), ip_address("10.255.2.2")),
    ),
    speaker=Speaker(
        "/etc/frr/frr.conf",
        64500,
        ip_address("192.0.2.1"),
        (Peer(ip_address("198.51.100.1"), 64496, ip_address("198.51.100.2")),),
        (ip_network("203.0.113.0/24"), ip_network("2001:db8:113::/48")),  # IPv6 without a neighbor that could carry it
    ),
    has_unit=True,
)
BARE = Inventory("9-strange_", (), (), Speaker(), False)


def problems(seen: Inventory, path: Path) -> list[str]:
    path.write_text(first_file(seen), encoding="utf-8")
    return [problem.path for problem in examine(str(path)).problems]


def test_only_what_nobody_can_know_is_left_to_fill_in(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    assert problems(FULL, file) == ["regions.region-1.backends.backend-1.address"]
    file.write_text(first_file(FULL).replace(BLANK, "10.10.0.11"), encoding="utf-8")
    examined = examine(str(file))
    assert examined.config is not None, examined.problems
    assert examined.config.pop.name == "fra1"
    assert examined.config.bgp.launch.value == "service"
    assert len(examined.config.tunnels) == 2
    assert [str(prefix) for prefix in examined.config.prefixes] == ["203.0.113.0/24"]
    both = replace(
        FULL.speaker, peers=(*FULL.speaker.peers, Peer(ip_address("2001:db8::1"), 64496, ip_address("2001:db8::2")))
    )
    assert problems(replace(FULL, speaker=both), file) == ["regions.region-1.backends.backend-1.address"]
    assert "2001:db8:113::/48" in file.read_text(encoding="utf-8")
    plain = replace(FULL, speaker=Speaker())
    assert problems(plain, file) == [
        "pop.asn",
        "neighbors.upstream-1.asn",
        "regions.region-1.backends.backend-1.address",
        "prefixes.<FILL IN>",
    ]


def test_of_a_bare_machine_every_blank_is_told_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    told = problems(BARE, file)
    assert len(told) == file.read_text(encoding="utf-8").count(BLANK)
    assert "pop.router_id" in told
    assert "regions.region-1.tunnels.tunnel-1.far_end" in told


@pytest.mark.parametrize("seen", [FULL, BARE])
def test_every_line_with_a_value_is_explained(seen: Inventory) -> None:
    for line in first_file(seen).splitlines():
        key = line.strip()
        if not key or key.endswith(":") or key.startswith(("#", "checks: [", '"', "203.")):
            continue
        assert len(line.partition(" # ")[2]) > 8, line


FRR = """
! neighbor 10.9.9.9 remote-as 1
router bgp 64500
 bgp router-id 192.0.2.1
 neighbor UP peer-group
 neighbor eth1 interface remote-as external
 neighbor 198.51.100.1 remote-as 64496
 neighbor 2001:db8::1 remote-as 64496
 neighbor 198.51.100.1 password not-to-be-told
 address-family ipv4 unicast
  network 203.0.113.0/24
"""
BIRD = """
router id 192.0.2.7;   # ours
protocol bgp up { local 198.51.100.2 as 64501; neighbor 198.51.100.1 as 64496; password "not-to-be-told"; }
# protocol bgp off { neighbor 198.51.100.9 as 1; }
"""


class Machine(Asking):
    """A machine whose files lie below a directory, and whose ip(8) says what a test wants."""

    said: dict[str, Any]

    def answer(self, *words: str) -> Any:
        return self.said.get(" ".join(words[1:]), [])


def machine(root: Path, **said: Any) -> Machine:
    made = Machine(root)
    made.said = said
    return made


@pytest.mark.parametrize(
    ("file", "text", "asn", "router_id", "count"),
    [("etc/frr/frr.conf", FRR, 64500, "192.0.2.1", 2), ("etc/bird/bird.conf", BIRD, 64501, "192.0.2.7", 1)],
)
def test_what_another_speaker_has_is_taken_but_no_password(
    tmp_path: Path, file: str, text: str, asn: int, router_id: str, count: int
) -> None:
    (tmp_path / file).parent.mkdir(parents=True)
    (tmp_path / file).write_text(text, encoding="utf-8")
    seen = take(machine(tmp_path))
    assert (seen.speaker.asn, str(seen.speaker.router_id), len(seen.speaker.peers)) == (asn, router_id, count)
    assert {str(peer.address) for peer in seen.speaker.peers} <= {"198.51.100.1", "2001:db8::1"}
    assert "not-to-be-told" not in first_file(seen)


def test_far_ends_are_told_where_there_are_only_two_addresses(tmp_path: Path) -> None:
    def address(name: str, local: str, length: int, peer: str | None = None) -> dict[str, Any]:
        more = {} if peer is None else {"address": peer}
        return {"ifname": name, "addr_info": [{"local": local, "prefixlen": length, **more}]}

    kinds = {"a": "vxlan", "b": "gre", "c": "geneve", "d": "ipip", "e": "dummy"}
    links = [{"ifname": name, "linkinfo": {"info_kind": kind}} for name, kind in kinds.items()]
    seen = take(machine(tmp_path, **{
        "-j -d link show": links,
        "-j address show": [address("a", "10.0.0.2", 30), address("b", "10.0.1.0", 31), address("c", "10.0.2.1", 24),
                            address("d", "10.0.3.1", 32, "10.0.3.9"), address("e", "10.0.4.1", 30)],
    }))  # fmt: skip
    assert {line.device: line.far_end and str(line.far_end) for line in seen.lines} == {
        "a": "10.0.0.1",
        "b": "10.0.1.1",
        "c": None,
        "d": "10.0.3.9",
    }


def test_the_verb_writes_a_new_file_and_never_over_one(tmp_path: Path) -> None:
    file = tmp_path / "anycastd.yaml"
    done = CliRunner().invoke(verb.init, ["-o", str(file)])
    assert done.exit_code == 0, done.output
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    left = len(examine(str(file)).problems)
    assert f"{left} to fill in" in done.output
    assert f"{file}:" in done.output
    before = file.read_bytes()
    again = CliRunner().invoke(verb.init, ["-o", str(file)])
    assert (again.exit_code, file.read_bytes()) == (os.EX_CANTCREAT, before)
    assert "stays as it is" in again.output


def test_what_is_answered_takes_the_place_of_the_blanks(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter(["64500", "2001:db8::9"])
    monkeypatch.setattr("anycastd.cli.init.click.prompt", lambda *_, **__: next(answers))
    text = verb.filled(f"  asn: {BLANK}   # yours\n  address: {BLANK}   # its\n# {BLANK} is a comment")
    assert text == f'  asn: 64500   # yours\n  address: "2001:db8::9"   # its\n# {BLANK} is a comment'


ANSWERS = {
    "asn": "64500", "device": "vx1", "local": "10.255.1.1", "far_end": "10.255.1.2", "address": "10.10.0.11",
    "local_address": "198.51.100.2", "router_id": "192.0.2.1",
}  # fmt: skip
"""By the words before the colon; what is asked last is a prefix."""


def answered(asked: str) -> str:
    """Return what an operator answers to the last question on the screen."""
    word = asked.rsplit("\n", 1)[-1].partition(":")[0].strip().strip('"')
    return ANSWERS.get(word, "203.0.113.0/24")


def test_on_a_terminal_each_blank_is_asked_for_and_the_file_is_whole(tmp_path: Path) -> None:
    """The file goes to standard output, the questions to the terminal."""
    out = tmp_path / "anycastd.yaml"
    words = ["-c", "import sys; from anycastd.cli.main import main; sys.argv = ['anycastd', 'init', '--ask']; main()"]
    pid, terminal = pty.fork()
    if pid == 0:
        try:
            os.dup2(os.open(out, os.O_WRONLY | os.O_CREAT, 0o600), 1)
            os.execv(sys.executable, [sys.executable, *words])
        finally:
            os._exit(70)
    screen = ""
    while True:
        try:
            said = os.read(terminal, 4096)
        except OSError:  # the terminal of one who has ended
            break
        screen += said.decode()
        if screen.rstrip(" ").endswith("]:"):
            os.write(terminal, answered(screen).encode() + b"\n")
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, screen
    assert "nothing is left to fill in" in screen, screen
    examined = examine(str(out))
    assert examined.config is not None, examined.problems
