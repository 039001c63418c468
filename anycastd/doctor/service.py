"""Checks of what the daemon stands on: units, users, kernel modules, open files, clock, packages. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from anycastd.doctor.facts import Facts, Step, UnitSeen, allowed
from anycastd.doctor.finding import Check, Trouble, error, warning
from anycastd.model.topology import Launch

DAEMON, SPEAKER = "anycastd.service", "anycastd-bgp.service"
FILES_ALWAYS, FILES_A_PROBE = 256, 4
"""Sockets of the API, the kernel and ExaBGP; overlapping tries of one check."""


def _units(facts: Facts) -> Iterator[Trouble]:
    daemon, speaker = (facts.units.get(name, UnitSeen()) for name in (DAEMON, SPEAKER))
    if facts.config.bgp.launch is Launch.SERVICE and not speaker.installed:
        yield error(f"bgp.launch is service, and there is no {SPEAKER}", "make install   # or bgp: {launch: daemon}")
    if facts.config.bgp.launch is Launch.DAEMON and daemon.installed:
        what = f"{DAEMON} is installed, and bgp.launch is daemon: ExaBGP would end with the daemon, and cannot listen"
        yield error(what, "printf 'bgp:\\n  launch: service\\n' >> /etc/anycastd/anycastd.yaml")
        return
    for name, unit in ((DAEMON, daemon), (SPEAKER, speaker)):
        if unit.installed and not unit.enabled:
            yield warning(f"{name} does not start with the machine", f"systemctl enable {name}")
        if unit.state == "failed":
            yield error(f"{name} has failed", f"journalctl -u {name} -n 50; systemctl reset-failed {name}")


def _users(facts: Facts) -> Iterator[Trouble]:
    if facts.config.bgp.launch is not Launch.SERVICE:
        return
    if facts.daemon_user is None:
        yield error("there is no user for the daemon", "systemd-sysusers anycastd.conf")
    elif facts.bgp_user is not None and not facts.daemon_user.groups & facts.bgp_user.groups:
        name = facts.daemon_user.name
        what = f"{name} is not of the group of {facts.bgp_user.name}, and cannot hand ExaBGP its configuration"
        yield error(what, f"usermod -aG {facts.bgp_user.name} {name}")


def _readable(facts: Facts) -> Iterator[Trouble]:
    user = facts.daemon_user
    if facts.config.bgp.launch is not Launch.SERVICE or user is None:
        return
    for file in (*facts.secrets, *([facts.config_file] if facts.config_file else [])):
        if file.mode is not None and not allowed(Step(file.path, file.mode, file.uid, file.gid), user, 4):
            what = f"{user.name} cannot read {file.path} (mode {file.mode:04o}, group {file.gid})"
            yield error(what, f"chgrp {user.name} {file.path}; chmod 640 {file.path}")


def _modules(facts: Facts) -> Iterator[Trouble]:
    for module, what in facts.modules_missing or ():
        yield error(f"this kernel has no {module}, needed for {what}", f"modprobe {module}   # or another kernel")


def _files(facts: Facts) -> Iterator[Trouble]:
    probes = len(facts.config.probes) + len(facts.config.self_test.probes)
    need = FILES_ALWAYS + FILES_A_PROBE * probes
    if facts.open_files is not None and facts.open_files < need:
        yield warning(f"at most {facts.open_files} files may be open, {probes} checks may need {need}",
                      f"systemctl edit anycastd   # LimitNOFILE={max(need, 65536)}")  # fmt: skip


def _clock(facts: Facts) -> Iterator[Trouble]:
    if facts.clock_synced is False:
        yield warning(
            "the clock of this machine is not synchronized", "timedatectl set-ntp true   # or apt-get install chrony"
        )


def _package(facts: Facts) -> Iterator[Trouble]:
    if facts.rival:
        mend = "pip uninstall -y anycastd anycastd-edge && pip install anycastd-edge"
        yield error(f"the other project's distribution anycastd {facts.rival} is installed in our environment", mend)


SERVICE = (
    Check("service-units", "Units of systemd",
          "Under the shipped units ExaBGP is a service of its own, so that no end of the daemon ends a session. A unit "
          "that is not enabled is missing after the next power cut.",
          "`make install`, `systemctl enable --now anycastd-bgp anycastd`, `bgp: {launch: service}`.", _units,
          ("systemctl",)),
    Check("daemon-user", "The user of the daemon",
          "The daemon writes ExaBGP's configuration, which holds passwords, for the group of ExaBGP's user: it must be "
          "of that group. Looked at only with `bgp: {launch: service}`.",
          "`systemd-sysusers anycastd.conf`, which `make install` has put in place.", _users),
    Check("daemon-reads", "Files that the daemon's user must read",
          "The daemon is not root: a configuration or secret that only root can read refuses its start (exit 78). "
          "Judged by modes and owners. Looked at only with `bgp: {launch: service}`.",
          "`chgrp anycastd FILE; chmod 640 FILE`.", _readable),
    Check("kernel-modules", "Parts of the kernel",
          "A kernel without nf_tables carries no EIP; one without a kind of tunnel or without sch_htb refuses what the "
          "file creates. Judged by the modules of the running kernel; where there is no list of them, not at all.",
          "Another kernel, or the package with its modules.", _modules),
    Check("open-files", "Limit of open files",
          "Each try of a check, each client of the API is an open file. Beyond the limit checks are broken, and the "
          "health of what they check is unknown. The limit is the unit's, or of the shell that runs the doctor.",
          "`LimitNOFILE=65536` in the unit.", _files),
    Check("clock", "Clock of the machine",
          "No decision asks the clock, but logs, journals and the points of traffic of several POPs cannot be "
          "compared, and certificates are judged by it.",
          "`timedatectl set-ntp true`, or chrony.", _clock),
    Check("other-package", "The other project of our name",
          "Its distribution and ours own the same files; whichever was installed last runs with half of the other.",
          "Remove both and install ours.", _package),
)  # fmt: skip
