"""Facts from files and programs: real files below a directory of the test's, real processes of the test's."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest

from anycastd.doctor import kernel_facts, system_facts
from anycastd.doctor.asking import Asking
from anycastd.doctor.collect import collect
from anycastd.doctor.diagnose import CHECKS, diagnose
from anycastd.doctor.facts import Networkd
from anycastd.doctor.kernel_facts import last_word, legacy_refusal
from tests.unit.doctor.machine import CONFIG


def put(root: Path, path: str, text: str) -> None:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")


def test_a_file_that_is_not_there_is_no_failure_but_a_refusal_is(tmp_path: Path) -> None:
    ask = Asking(tmp_path)
    assert ask.text("no/such") is None
    assert ask.unanswered == []
    (tmp_path / "directory").mkdir()
    assert ask.text("directory") is None
    assert ask.unanswered == ["/directory: Is a directory"]


def test_a_program_that_fails_or_is_missing_is_kept() -> None:
    ask = Asking()
    assert ask.output("ls", "/no/such/place") is None
    assert ask.answer("no-such-program-here") == []
    assert ask.answer("echo", "no json") == []
    assert len(ask.unanswered) == 3
    assert ask.unanswered[0].startswith("ls /no/such/place: exit 2: ")
    assert "No such file" in ask.unanswered[1]
    assert "not JSON" in ask.unanswered[2]


def test_networkd_settings_come_from_every_file_and_the_last_name_wins(tmp_path: Path) -> None:
    assert system_facts.networkd(Asking(tmp_path)) == Networkd()
    put(tmp_path, "proc/17/comm", "systemd-network\n")
    assert system_facts.networkd(Asking(tmp_path)) == Networkd(running=True)
    put(
        tmp_path,
        "etc/systemd/networkd.conf",
        "[Network]\n#ManageForeignRoutes=no\nManageForeignRoutingPolicyRules=no\n",
    )
    put(tmp_path, "usr/lib/systemd/networkd.conf.d/10-a.conf", "[Network]\nManageForeignRoutes=no\n")
    assert system_facts.networkd(Asking(tmp_path)) == Networkd(running=True, manage_routes=False, manage_rules=False)
    put(tmp_path, "run/systemd/networkd.conf.d/20-b.conf", "[Network]\nManageForeignRoutes=yes\n")
    assert system_facts.networkd(Asking(tmp_path)).manage_routes is True
    put(tmp_path, "etc/systemd/networkd.conf.d/20-b.conf", "[Network]\nManageForeignRoutes=off\n")
    assert system_facts.networkd(Asking(tmp_path)).manage_routes is False


def test_a_networkd_file_that_does_not_parse_is_told(tmp_path: Path) -> None:
    put(tmp_path, "proc/17/comm", "systemd-network\n")
    put(tmp_path, "etc/systemd/networkd.conf", "no section\n")
    ask = Asking(tmp_path)
    assert system_facts.networkd(ask) == Networkd(running=True)
    assert ask.unanswered == ["/etc/systemd/networkd.conf: MissingSectionHeaderError"]


def test_nftables_flushes_only_when_enabled_and_written(tmp_path: Path) -> None:
    put(tmp_path, "etc/nftables.conf", "#!/usr/sbin/nft -f\n\nflush ruleset\n")
    assert not system_facts.nftables_flushes(Asking(tmp_path))
    put(tmp_path, "etc/systemd/system/sysinit.target.wants/nftables.service", "")
    assert system_facts.nftables_flushes(Asking(tmp_path))
    put(tmp_path, "etc/nftables.conf", "# flush ruleset\nflush table inet mine\n")
    assert not system_facts.nftables_flushes(Asking(tmp_path))


def test_every_step_of_the_way_to_a_program_links_followed(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o700)
    real = tmp_path / "closed" / "python"
    real.touch(mode=0o755)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to("../closed/python")
    found = system_facts.program(tmp_path / "bin" / "python")
    steps = {step.path: step for step in found.steps}
    assert found.missing == ""
    assert steps[str(tmp_path / "closed")].mode == 0o700
    assert steps[str(real)].directory is False
    assert str(tmp_path / "bin") in steps


def test_a_program_that_is_missing_or_a_circle(tmp_path: Path) -> None:
    assert "No such file" in system_facts.program(tmp_path / "none").missing
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    assert system_facts.program(tmp_path / "a").missing == "too many symbolic links"


def test_the_interpreter_of_the_first_line_is_looked_at_too(tmp_path: Path) -> None:
    exabgp = tmp_path / "exabgp"
    exabgp.write_text("#!/bin/sh -e\necho 'ExaBGP : 5.0.14'\n")
    exabgp.chmod(0o755)
    assert [found.path for found in system_facts.programs(exabgp)][:2] == [str(exabgp), "/bin/sh"]
    assert system_facts.exabgp_version(Asking(), exabgp) == "5.0.14"


def test_a_state_directory_that_is_not_there_is_judged_by_where_it_would_be(tmp_path: Path) -> None:
    found = system_facts.directory(str(tmp_path / "state" / "deep"))
    assert (found.exists, found.writable) == (False, True)
    assert found.free_bytes > 0
    assert system_facts.directory(str(tmp_path)).exists
    assert system_facts.directory("/proc/none").free_bytes == 0
    (tmp_path / "file").touch()
    assert not system_facts.directory(str(tmp_path / "file" / "state")).writable


def test_who_listens(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        (found,) = kernel_facts.listeners(Asking(), port)
        assert (found.address, found.ours) == ("127.0.0.1", False)
        assert found.process == Path("/proc/self/comm").read_text().strip()
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as server:
        (found,) = kernel_facts.listeners(Asking(), server.getsockname()[1])
        assert found.address == "::1"
    assert kernel_facts.listeners(Asking(), port) == ()


def test_a_listener_is_ours_by_the_program_it_runs(tmp_path: Path) -> None:
    put(tmp_path, "proc/net/tcp", "  sl  local rem st\n   0: 0100007F:00B3 00000000:0000 0A 0:0 0:0 0 0 0 77 1\n")
    put(tmp_path, "proc/9/comm", "python3\n")
    put(tmp_path, "proc/9/cmdline", "/opt/bin/python3\0/opt/bin/exabgp\0server\0/run/x.conf\0")
    (tmp_path / "proc/9/fd").mkdir()
    (tmp_path / "proc/9/fd/3").symlink_to("socket:[77]")
    (found,) = kernel_facts.listeners(Asking(tmp_path), 179)
    assert (found.address, found.ours) == ("127.0.0.1", True)
    put(tmp_path, "proc/9/cmdline", "/usr/bin/less\0-N\0/var/log/x\0/opt/bin/exabgp\0")
    (found,) = kernel_facts.listeners(Asking(tmp_path), 179)
    assert not found.ours


@pytest.mark.parametrize(
    ("rules", "says"),
    [
        ([], ""),
        ([[{"accept": None}]], ""),
        ([[{"counter": None}, {"drop": None}]], "a last rule that says drop"),
        ([[{"reject": {"type": "icmpx"}}]], "a last rule that says reject"),
        ([[{"match": {}}, {"drop": None}]], ""),
        ([[{"drop": None}], [{"accept": None}]], ""),
    ],
)
def test_the_last_rule_of_a_chain(rules: list[list[dict[str, object]]], says: str) -> None:
    assert last_word(rules) == says


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", ""),
        ("-P INPUT DROP\n-P FORWARD ACCEPT\n-A INPUT -j DROP\n", ""),
        ("-P FORWARD DROP\n-A FORWARD -j DOCKER-USER\n", "policy drop"),
        ("-P FORWARD ACCEPT\n-A FORWARD -i a -j ACCEPT\n-A FORWARD -j REJECT --reject-with icmp-host-prohibited\n",
         "a last rule that says reject"),
        ("-P FORWARD ACCEPT\n-A FORWARD -j DROP\n-A FORWARD -i a -j ACCEPT\n", ""),
        ("-P FORWARD ACCEPT\n-A FORWARD -s 10.0.0.0/8 -j DROP\n", ""),
    ],
)  # fmt: skip
def test_what_the_older_iptables_says(text: str, says: str) -> None:
    assert legacy_refusal(text) == says


def test_this_machine_as_it_is() -> None:
    facts = collect(CONFIG)
    assert "lo" in facts.links
    assert facts.uid == os.geteuid()
    assert "net/ipv4/ip_forward" in facts.sysctls
    assert facts.exabgp_version.startswith("5.")
    assert facts.programs
    assert all(stat.S_IMODE(step.mode) == step.mode for one in facts.programs for step in one.steps)
    findings = diagnose(facts)
    assert {finding.id for finding in findings} == {check.id for check in CHECKS}
    assert "tunnel-devices" in {finding.id for finding in findings if finding.severity == "error"}
