"""Run a program as a unit of systemd would, without systemd: user, capabilities, read-only files, seccomp.

usage: python confined.py UNIT USER GROUPS WRITABLE PROGRAM ARGUMENT...

The capabilities, system calls and address families are those of the UNIT file; the user and what may be written are
given, since a test has its own. It begins as root, in a mount namespace of its own (`ip netns exec` makes one).
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ALLOW, REFUSE = 0x7FFF0000, 0x00050001
EQUAL, MASKED_EQUAL = 4, 7
PROT_WRITE, PROT_EXEC = 2, 4
FAMILIES = {"AF_UNIX": 1, "AF_INET": 2, "AF_INET6": 10, "AF_NETLINK": 16}
MS_RDONLY, MS_REMOUNT, MS_BIND, MS_MOVE, MS_REC, MS_PRIVATE = 1, 32, 4096, 8192, 16384, 1 << 18
libc = ctypes.CDLL(None, use_errno=True)


class Compare(ctypes.Structure):
    """scmp_arg_cmp of seccomp.h."""

    _fields_ = (("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64))


def settings(unit: Path, key: str) -> list[str]:
    """Return the values of a key."""
    lines = unit.read_text(encoding="utf-8").splitlines()
    return [line.partition("=")[2] for line in lines if line.startswith(f"{key}=")]


def mount(source: str, target: Path, kind: str | None, flags: int, data: str = "") -> None:
    """mount(2)."""
    done = libc.mount(source.encode(), os.fsencode(target), (kind or "").encode() or None, flags, data.encode())
    if done != 0:
        raise OSError(ctypes.get_errno(), f"mount {source} {target}")


def open_way(path: Path) -> None:
    """Let every user reach a path that lies below a closed directory: the same path, without what lies around it."""
    closed = next((one for one in reversed(path.parents) if not one.stat().st_mode & 0o001), None)
    if closed is None:
        return
    aside = Path("/mnt")
    mount(str(path), aside, None, MS_BIND | MS_REC)
    mount("tmpfs", closed, "tmpfs", 0, "mode=755")
    path.mkdir(parents=True)
    mount(str(aside), path, None, MS_MOVE)


def read_only(writable: Path) -> None:
    """Make the file system read-only but for one directory, as ProtectSystem=strict does."""
    mount(str(writable), writable, None, MS_BIND | MS_REC)
    mount("none", Path("/"), None, MS_REMOUNT | MS_BIND | MS_RDONLY)


def allowed(unit: Path) -> set[str]:
    """Return the system calls that the unit's filters leave."""
    said = subprocess.run(["systemd-analyze", "syscall-filter"], check=True, capture_output=True, text=True).stdout
    groups: dict[str, set[str]] = {}
    for line in said.splitlines():
        text = line.strip()
        if line.startswith("@"):
            groups[text] = current = set()
        elif text and not text.startswith("#"):
            current.add(text)

    def calls(names: list[str]) -> set[str]:
        found: set[str] = set()
        for name in names:
            found |= calls(sorted(groups[name])) if name.startswith("@") else {name}
        return found

    left = calls(["@default"])
    for value in settings(unit, "SystemCallFilter"):
        names = calls(value.removeprefix("~").split())
        left = left - names if value.startswith("~") else left | names
    return left


def confine(unit: Path) -> None:
    """Allow the unit's system calls only, its address families, and no memory that is both written and executed."""
    seccomp = ctypes.CDLL("libseccomp.so.2")
    seccomp.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(seccomp.seccomp_init(ctypes.c_uint32(REFUSE)))

    def let(name: str, *conditions: Compare) -> None:
        number = seccomp.seccomp_syscall_resolve_name(name.encode())
        if number >= 0:
            array = (Compare * len(conditions))(*conditions)
            added = seccomp.seccomp_rule_add_array(context, ctypes.c_uint32(ALLOW), number, len(conditions), array)
            assert added == 0, (name, added)

    def without(argument: int, bit: int) -> Compare:
        return Compare(argument, MASKED_EQUAL, bit, 0)

    for name in allowed(unit) - {"socket", "mmap", "mprotect", "pkey_mprotect"}:
        let(name)
    for family in " ".join(settings(unit, "RestrictAddressFamilies")).split():
        let("socket", Compare(0, EQUAL, FAMILIES[family], 0))
    for bit in (PROT_WRITE, PROT_EXEC):
        let("mmap", without(2, bit))
    let("mprotect", without(2, PROT_EXEC))
    assert seccomp.seccomp_load(context) == 0


def main(unit: Path, user: str, groups: str, writable: Path, program: list[str]) -> None:
    """Become the program."""
    mount("none", Path("/"), None, MS_REC | MS_PRIVATE)
    open_way(ROOT)
    read_only(writable)
    names = " ".join(settings(unit, "AmbientCapabilities")).split()
    capabilities = ",".join(f"+{name.removeprefix('CAP_').lower()}" for name in names)
    assert settings(unit, "NoNewPrivileges") == ["yes"]
    assert settings(unit, "CapabilityBoundingSet") == settings(unit, "AmbientCapabilities")
    words = ["setpriv", "--reuid", user, "--regid", user if user != "nobody" else "nogroup", "--groups", groups,
             "--no-new-privs", f"--bounding-set=-all,{capabilities}", f"--inh-caps=-all,{capabilities}",
             f"--ambient-caps=-all,{capabilities}", "--",
             sys.executable, "-S", "-E", __file__, "--confine", str(unit), *program]  # fmt: skip
    os.execvp(words[0], words)


if __name__ == "__main__":
    if sys.argv[1] == "--confine":
        confine(Path(sys.argv[2]))
        os.execv(sys.argv[3], sys.argv[3:])
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3], Path(sys.argv[4]), sys.argv[5:])
