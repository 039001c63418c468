"""Facts of the machine beside its network: services, users, programs, files, disk."""

from __future__ import annotations

import configparser
import grp
import os
import pwd
import re
import stat
from pathlib import Path

from anycastd.actuators.exabgp.process import SYSTEM_PYTHON
from anycastd.doctor.asking import Asking
from anycastd.doctor.facts import Directory, Networkd, Program, Secret, Step, User
from anycastd.model.checks import BfdOptions, HttpOptions, TlsOptions
from anycastd.model.topology import Config
from anycastd.model.tunnel_device import WireGuard

NETWORKD_FILES = ("usr/lib/systemd", "usr/local/lib/systemd", "run/systemd", "etc/systemd")
NETWORKD = "systemd-network"
"""The kernel keeps 15 characters of a process's name."""
TRUE = frozenset({"1", "yes", "true", "on"})
MAX_LINKS = 40


def networkd(ask: Asking) -> Networkd:
    """Return whether systemd-networkd runs, and what its files say; a later file wins (networkd.conf(5))."""
    if not any(ask.text(str(one.relative_to(ask.root))) == NETWORKD for one in ask.root.glob("proc/[0-9]*/comm")):
        return Networkd()
    files = [f"{base}/networkd.conf" for base in NETWORKD_FILES]
    main = next((name for name in reversed(files) if (ask.root / name).is_file()), None)
    drop_ins = {
        one.name: one for base in NETWORKD_FILES for one in (ask.root / base / "networkd.conf.d").glob("*.conf")
    }
    names = ([main] if main else []) + [str(drop_ins[name].relative_to(ask.root)) for name in sorted(drop_ins)]
    section: dict[str, str] = {}
    for name in names:
        parser = configparser.ConfigParser(strict=False, interpolation=None, allow_no_value=True)
        try:
            parser.read_string(ask.text(name) or "")
        except configparser.Error as error:
            ask.unanswered.append(f"/{name}: {type(error).__name__}")
            continue
        if parser.has_section("Network"):
            section |= {key: value or "" for key, value in parser.items("Network")}
    routes, rules = section.get("manageforeignroutes"), section.get("manageforeignroutingpolicyrules")
    return Networkd(running=True, manage_routes=_truth(routes), manage_rules=_truth(rules))


def _truth(value: str | None) -> bool | None:
    return None if value is None else value.strip().lower() in TRUE


def nftables_flushes(ask: Asking) -> bool:
    """Return whether nftables.service starts with the machine and its file flushes the whole ruleset."""
    if not list((ask.root / "etc/systemd/system").glob("*.wants/nftables.service")):
        return False
    text = ask.text("etc/nftables.conf") or ""
    return re.search(r"^\s*flush\s+ruleset\b", text, re.MULTILINE) is not None


def capabilities(ask: Asking) -> int:
    """Return this process's effective capabilities."""
    found = re.search(r"^CapEff:\s*([0-9a-f]+)$", ask.text("proc/self/status") or "", re.MULTILINE)
    return int(found[1], 16) if found else 0


def user(name: str) -> User | None:
    """Return a user with every group, None if there is none such."""
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return None
    groups = {group.gr_gid for group in grp.getgrall() if name in group.gr_mem}
    return User(name, entry.pw_uid, frozenset(groups | {entry.pw_gid}))


def exabgp_version(ask: Asking, path: Path) -> str:
    """Return the version that exabgp tells of itself, "" when it tells none."""
    found = re.search(r"^ExaBGP\s*:\s*(\S+)", ask.output(str(path), "version") or "", re.MULTILINE)
    return found[1] if found else ""


def programs(path: Path) -> tuple[Program, ...]:
    """Return exabgp, the interpreter its first line names, and what the bridge to the daemon runs on."""
    wanted = [path]
    try:
        with path.open("rb") as file:
            first = file.readline(256).decode("utf-8", "replace").strip()
    except OSError:
        first = ""
    if first.startswith("#!/"):
        wanted.append(Path(first[2:].split()[0]))
    if Path(SYSTEM_PYTHON).exists():
        wanted.append(Path(SYSTEM_PYTHON))
    return tuple(program(one) for one in dict.fromkeys(wanted))


def program(path: Path) -> Program:
    """Return every directory that must be passed and the file itself, symbolic links followed one by one."""
    steps: dict[str, Step] = {}
    ahead, here = list(path.parts[1:]), Path("/")
    links = 0
    try:
        while True:
            status = here.lstat()
            if stat.S_ISLNK(status.st_mode):
                links += 1
                if links > MAX_LINKS:
                    return Program(str(path), tuple(steps.values()), "too many symbolic links")
                target = here.readlink()
                ahead = [part for part in target.parts if part != "/"] + ahead
                here = Path("/") if target.is_absolute() else here.parent
                continue
            mode = stat.S_IMODE(status.st_mode)
            steps[str(here)] = Step(str(here), mode, status.st_uid, status.st_gid, stat.S_ISDIR(status.st_mode))
            if not ahead:
                return Program(str(path), tuple(steps.values()))
            part = ahead.pop(0)
            here = here.parent if part == ".." else here / part
    except OSError as error:
        return Program(str(path), tuple(steps.values()), f"{here}: {error.strerror}")


def secrets(config: Config) -> tuple[Secret, ...]:
    """Look at each file of a secret, never into it."""
    named = [n.password_file for n in config.neighbors.values() if n.password_file]
    named += [token.file for token in config.api.tokens.values()]
    named += [config.api.tls.key_file] if config.api.tls is not None else []
    shapes = (tunnel.shape for tunnel in config.tunnels.values())
    named += [shape.private_key_file for shape in shapes if isinstance(shape, WireGuard)]
    options = [probe.check.options for probe in (*config.probes, *config.self_test.probes)]
    named += [one.key_file for one in options if isinstance(one, HttpOptions | TlsOptions) and one.key_file]
    named += [one.auth.key_file for one in options if isinstance(one, BfdOptions) and one.auth is not None]
    return tuple(secret(path) for path in dict.fromkeys(named))


def secret(path: str) -> Secret:
    """Look at one file, never into it."""
    try:
        status = Path(path).stat()
    except OSError:
        return Secret(path=path, mode=None)
    mode, readable = stat.S_IMODE(status.st_mode), os.access(path, os.R_OK)
    return Secret(path=path, mode=mode, uid=status.st_uid, gid=status.st_gid, readable=readable)


def directory(path: str) -> Directory:
    """Return the state of a directory, or of the nearest one above that it would be made in."""
    wanted = Path(path)
    there = next((one for one in (wanted, *wanted.parents) if one.exists()), Path("/"))
    space = os.statvfs(there)
    return Directory(
        path=path,
        exists=there == wanted,
        writable=there.is_dir() and os.access(there, os.W_OK | os.X_OK) and not space.f_flag & os.ST_RDONLY,
        free_bytes=space.f_bavail * space.f_frsize,
        free_inodes=space.f_favail if space.f_files else None,
    )
