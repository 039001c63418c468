"""Collect the facts, once, of this machine and this network namespace. Nothing is changed."""

from __future__ import annotations

import os
from pathlib import Path

from anycastd.actuators.exabgp.process import program
from anycastd.doctor import bfd, kernel_facts, service_facts, system_facts
from anycastd.doctor.asking import Asking
from anycastd.doctor.facts import Facts
from anycastd.doctor.service import DAEMON
from anycastd.model.topology import Config


def collect(config: Config, root: Path = Path("/")) -> Facts:
    """Return what is so; what cannot be looked at is named in `unexamined`. Takes a second or two."""
    ask = Asking(root)
    links = kernel_facts.links(ask)
    exabgp = Path(program(config.bgp.exabgp))
    return Facts(
        config=config,
        sysctls=kernel_facts.sysctls(ask, config, links),
        links=links,
        routes=kernel_facts.routes(ask),
        rules=kernel_facts.rules(ask),
        chains=kernel_facts.chains(ask),
        listeners=kernel_facts.listeners(ask, config.bgp.port),
        bfd_listeners=bfd.listeners(ask, config),
        networkd=system_facts.networkd(ask),
        nftables_flushes=system_facts.nftables_flushes(ask),
        uid=os.geteuid(),
        groups=frozenset({os.getegid(), *os.getgroups()}),
        capabilities=system_facts.capabilities(ask),
        bgp_user=system_facts.user(config.bgp.user),
        exabgp_version=system_facts.exabgp_version(ask, exabgp),
        programs=system_facts.programs(exabgp),
        secrets=system_facts.secrets(config),
        config_file=system_facts.secret(config.path) if config.path else None,
        state_dir=system_facts.directory(config.state_dir),
        units=service_facts.units(ask),
        daemon_user=system_facts.user(service_facts.unit_setting(ask, DAEMON, "User") or "anycastd"),
        modules_missing=service_facts.modules_missing(ask, config),
        open_files=service_facts.open_files(ask),
        clock_synced=service_facts.clock_synced(),
        rival=service_facts.rival(),
        unexamined=tuple(dict.fromkeys(ask.unanswered)),
    )
