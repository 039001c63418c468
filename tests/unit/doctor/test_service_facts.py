"""What the daemon stands on, as a machine's files tell it."""

from __future__ import annotations

import platform
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest

from anycastd.doctor import service_facts, system_facts
from anycastd.doctor.asking import Asking
from anycastd.doctor.facts import UnitSeen
from anycastd.model.checks import TlsOptions
from anycastd.model.tunnel_device import Vxlan
from tests.unit.config.places import SMALLEST, load_text
from tests.unit.doctor.machine import CONFIG


def write(root: Path, name: str, text: str) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text, encoding="utf-8")


def test_units_are_found_where_systemd_looks(tmp_path: Path) -> None:
    ask = Asking(tmp_path)
    assert service_facts.units(ask) == {"anycastd.service": UnitSeen(), "anycastd-bgp.service": UnitSeen()}
    write(tmp_path, "etc/systemd/system/anycastd.service", "[Service]\nUser=edge\nLimitNOFILE=4096\n")
    write(tmp_path, "usr/lib/systemd/system/anycastd-bgp.service", "[Service]\n")
    write(tmp_path, "etc/systemd/system/multi-user.target.wants/anycastd.service", "")
    assert service_facts.units(ask) == {
        "anycastd.service": UnitSeen(installed=True, enabled=True),
        "anycastd-bgp.service": UnitSeen(installed=True),
    }
    assert service_facts.unit_setting(ask, "anycastd.service", "User") == "edge"
    assert service_facts.open_files(ask) == 4096
    assert ask.unanswered == []


def test_modules_of_the_running_kernel(tmp_path: Path) -> None:
    shape = Vxlan(vni=1, remote=ip_address("192.0.2.77"))
    config = replace(CONFIG, tunnels={key: replace(one, shape=shape) for key, one in CONFIG.tunnels.items()})
    ask, directory = Asking(tmp_path), f"lib/modules/{platform.release()}"
    assert service_facts.modules_missing(ask, config) is None, "without a list nothing is judged"
    write(tmp_path, f"{directory}/modules.dep", "kernel/net/netfilter/nf_tables.ko.xz: kernel/lib/libcrc32c.ko.xz\n")
    assert service_facts.modules_missing(ask, config) == (("vxlan", "tunnel eu/a"),)
    (tmp_path / "sys/module/vxlan").mkdir(parents=True)
    assert service_facts.modules_missing(ask, config) == ()


def test_this_machine_answers(tmp_path: Path) -> None:
    assert service_facts.open_files(Asking(tmp_path)) > 0
    assert service_facts.clock_synced() in (True, False)
    assert service_facts.rival() == ""


@pytest.mark.parametrize("name", ["anycastd.service", "anycastd-bgp.service"])
def test_a_unit_that_is_not_there_has_no_settings(tmp_path: Path, name: str) -> None:
    assert service_facts.unit_setting(Asking(tmp_path), name, "User") == ""


def test_every_file_of_a_secret_is_looked_at_once(tmp_path: Path) -> None:
    for name in ("md5", "token", "cert", "tls", "client.pem", "client.key"):
        (tmp_path / name).write_text("x" * 44, encoding="ascii")
        (tmp_path / name).chmod(0o600)
    text = (
        SMALLEST.replace("asn: 64496", "asn: 64496, password_file: md5")
        + """
api: {tokens: {ci: {file: token}}, tls: {cert_file: cert, key_file: tls}}
"""
    )
    config = load_text(text, tmp_path)
    probes = tuple(
        replace(one, check=replace(one.check, options=TlsOptions(port=443, key_file=str(tmp_path / "client.key"))))
        for one in config.probes
    )
    found = system_facts.secrets(replace(config, probes=probes))
    assert [Path(one.path).name for one in found] == ["md5", "token", "tls", "client.key"]
    assert {(one.mode, one.readable) for one in found} == {(0o600, True)}
