"""Facts of what the daemon stands on: units, users, kernel modules, limits, clock, packages."""

from __future__ import annotations

import ctypes
import platform
import re
import resource
from importlib import metadata

from anycastd.doctor.asking import Asking
from anycastd.doctor.facts import UnitSeen
from anycastd.doctor.service import DAEMON, SPEAKER
from anycastd.model.eip import Shaping
from anycastd.model.topology import Config

UNIT_PLACES = ("etc/systemd/system", "usr/lib/systemd/system", "lib/systemd/system")
MODULES = {
    "vxlan": "vxlan", "geneve": "geneve", "gre": "ip_gre", "gretap": "ip_gre", "ipip": "ipip",
    "ip6tnl": "ip6_tunnel", "wireguard": "wireguard",
}  # fmt: skip
"""The module of each kind of tunnel that we create."""
THEIRS = "anycastd"
TIME_ERROR = 5


def units(ask: Asking) -> dict[str, UnitSeen]:
    """Return our units: whether they are there, start with the machine, and how they do."""
    runs = (ask.root / "run/systemd/system").is_dir()
    found = {}
    for name in (DAEMON, SPEAKER):
        installed = any((ask.root / place / name).is_file() for place in UNIT_PLACES)
        enabled = any((ask.root / UNIT_PLACES[0]).glob(f"*.wants/{name}"))
        said = ask.output("systemctl", "show", "--property=ActiveState", name) if installed and runs else None
        state = (said or "").strip().removeprefix("ActiveState=")
        found[name] = UnitSeen(installed=installed, enabled=enabled, state=state)
    return found


def unit_setting(ask: Asking, name: str, key: str) -> str:
    """Return a setting of the daemon's unit, "" where there is none; drop-ins are not looked at."""
    for place in UNIT_PLACES:
        text = ask.text(f"{place}/{name}") if (ask.root / place / name).is_file() else None
        if text and (found := re.search(rf"^{key}=(\S+)$", text, re.MULTILINE)):
            return found[1]
    return ""


def open_files(ask: Asking) -> int:
    """Return how many files the daemon may have open: as its unit says, or as we may."""
    written = unit_setting(ask, DAEMON, "LimitNOFILE")
    return int(written) if written.isdigit() else resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def modules_missing(ask: Asking, config: Config) -> tuple[tuple[str, str], ...] | None:
    """Return modules that are needed and that the running kernel neither has nor could load, and what for.

    None where the machine keeps no list of what its kernel has.
    """
    needed = {"nf_tables": "the packet filter"}
    for id_, tunnel in config.tunnels.items():
        if tunnel.shape is not None:
            needed.setdefault(MODULES[tunnel.shape.kind], f"tunnel {id_}")
    if any(eip.bandwidth.shaping is Shaping.HTB for eip in config.eips.values()):
        needed.setdefault("sch_htb", "`shaping: htb`")
    directory = f"lib/modules/{platform.release()}"
    lists = [ask.text(f"{directory}/modules.{kind}") for kind in ("builtin", "dep")]
    if not any(lists):
        return None
    known = {name.replace("-", "_") for text in lists if text for name in re.findall(r"([\w-]+)\.ko", text)}
    return tuple(
        (module, what)
        for module, what in needed.items()
        if module not in known and not (ask.root / "sys/module" / module).exists()
    )


def clock_synced() -> bool | None:
    """Return whether the kernel's clock is synchronized (adjtimex(2)); None if the kernel does not say."""
    # struct timex has 208 bytes here; modes 0 only asks
    state = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(512))
    return None if state < 0 else state != TIME_ERROR


def rival() -> str:
    """Return the version of the other project's distribution in our environment, or nothing."""
    try:
        return metadata.version(THEIRS)
    except metadata.PackageNotFoundError:
        return ""
