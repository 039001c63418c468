"""The units that are shipped, as systemd's own tools judge them."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from configparser import RawConfigParser
from pathlib import Path

import pytest

from anycastd.model.topology import ApiConfig, BfdConfig, BgpConfig
from anycastd.runtime.main import EX_CONFIG, EX_NOPERM
from anycastd.runtime.orders.leaving import WITHIN_S
from anycastd.runtime.process.unit import READY_WITHIN_S

ROOT = Path(__file__).parents[2]
UNITS = ROOT / "etc" / "systemd"
EXPOSURE = {"anycastd.service": 25, "anycastd-bgp.service": 20, "anycastd-bfd.service": 20}
"""systemd's own figure times ten, as --threshold wants it; 24 and 17 with systemd 252."""
needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is missing (Debian package systemd)"
)


def lines(unit: str) -> dict[str, list[str]]:
    """Return every setting of a unit with all its values."""
    found: dict[str, list[str]] = {}
    for line in (UNITS / unit).read_text(encoding="utf-8").splitlines():
        if "=" in line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


def written(directory: Path) -> list[Path]:
    """Write the units with the programs of this checkout, since systemd looks whether they are there."""
    here = Path(sys.executable).parent
    made = []
    for unit in EXPOSURE:
        text = (UNITS / unit).read_text(encoding="utf-8").replace("/opt/anycastd/bin", str(here))
        made.append(directory / unit)
        made[-1].write_text(re.sub(r"^Documentation=.*$", "", text, flags=re.MULTILINE), encoding="utf-8")
    return made


@needs_systemd
def test_systemd_understands_every_line(tmp_path: Path) -> None:
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *written(tmp_path)], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@needs_systemd
@pytest.mark.parametrize("unit", list(EXPOSURE))
def test_systemd_finds_little_exposed(unit: str, tmp_path: Path) -> None:
    written(tmp_path)
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", f"--threshold={EXPOSURE[unit]}", str(tmp_path / unit)],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout.splitlines()[-1:]


def test_the_times_and_signals_of_the_unit_are_those_of_the_program() -> None:
    unit = lines("anycastd.service")
    assert float(unit["TimeoutStopSec"][0]) > WITHIN_S + 20
    assert float(unit["TimeoutStartSec"][0]) > READY_WITHIN_S + 30
    assert unit["RestartKillSignal"] == ["SIGUSR2"]
    assert unit["RestartPreventExitStatus"] == [f"{EX_NOPERM} {EX_CONFIG}"]
    assert unit["Type"] == ["notify"]
    assert unit["KillMode"] == ["mixed"]
    assert unit["OOMPolicy"] == ["continue"]


def test_daemon_and_exabgp_come_before_what_else_wants_the_processors() -> None:
    default = 100
    assert all(int(lines(unit)["CPUWeight"][0]) > default for unit in ("anycastd.service", "anycastd-bgp.service"))


def test_the_paths_and_users_of_the_units_are_the_defaults_of_the_configuration() -> None:
    bgp, daemon, speaker = BgpConfig(), lines("anycastd.service"), lines("anycastd-bgp.service")
    assert Path(bgp.directory).parent == Path(bgp.socket).parent == Path(ApiConfig().socket).parent
    assert daemon["ReadWritePaths"] == [str(Path(bgp.directory).parent)]
    assert all(command.endswith(bgp.directory) for command in speaker["ExecStart"] + speaker["ExecStop"])
    assert speaker["User"] == [bgp.user] == daemon["SupplementaryGroups"]
    assert daemon["Group"] == [ApiConfig().group]
    tmpfiles = (ROOT / "etc" / "tmpfiles.d" / "anycastd.conf").read_text(encoding="utf-8")
    assert re.search(rf"^d {bgp.directory} +0750 {daemon['User'][0]} +{bgp.user} ", tmpfiles, re.MULTILINE)
    users = (ROOT / "etc" / "sysusers.d" / "anycastd.conf").read_text(encoding="utf-8")
    assert {line.split()[1] for line in users.splitlines() if line.startswith("u ")} == {bgp.user, daemon["User"][0]}


def test_the_unit_of_bfd_is_of_the_daemons_user_and_listens_where_the_daemon_looks() -> None:
    daemon, spoken = lines("anycastd.service"), lines("anycastd-bfd.service")
    assert spoken["User"] == daemon["User"]
    assert spoken["ExecStart"][0].split()[-1] == BfdConfig().socket
    assert spoken["AmbientCapabilities"] == ["CAP_SYS_NICE CAP_IPC_LOCK"]


def test_networkd_is_told_to_leave_ours_alone() -> None:
    parser = RawConfigParser()
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string((UNITS / "networkd.conf.d" / "anycastd.conf").read_text(encoding="utf-8"))
    assert dict(parser["Network"]) == {"ManageForeignRoutes": "no", "ManageForeignRoutingPolicyRules": "no"}


def test_install_puts_every_file_in_its_place(tmp_path: Path) -> None:
    (ROOT / "docs" / "operations.md").stat()
    environ = {"DESTDIR": str(tmp_path), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    subprocess.run([ROOT / "etc" / "install"], env=environ, check=True, capture_output=True, timeout=30)
    placed = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert placed == {
        "etc/systemd/system/anycastd.service",
        "etc/systemd/system/anycastd-bgp.service",
        "etc/systemd/system/anycastd-bfd.service",
        "etc/systemd/networkd.conf.d/anycastd.conf",
        "etc/sysusers.d/anycastd.conf",
        "etc/tmpfiles.d/anycastd.conf",
        "etc/sysctl.d/60-anycastd.conf",
        "usr/local/share/doc/anycastd/operations.md",
        "usr/local/share/doc/anycastd/exabgp.md",
        "usr/local/share/doc/anycastd/bfd.md",
        "usr/local/share/doc/anycastd/anycastd.yaml",
        "usr/local/share/doc/anycastd/playbooks/call-standbys.yaml",
        "usr/local/share/doc/anycastd/playbooks/shed-load.yaml",
    }
    subprocess.run([ROOT / "etc" / "uninstall"], env=environ, check=True, capture_output=True, timeout=30)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [], "and takes every one away again"
