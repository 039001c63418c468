"""Check the merged keys of one node and build it."""

from __future__ import annotations

import re
import shlex
from pathlib import Path, PurePosixPath

from anycastd.lab.layers import Found, Merged
from anycastd.lab.refusals import Refusals, named
from anycastd.lab.shape import Bind, Kind, Node
from anycastd.lab.stage_keys import healthcheck_from, stages_from

# Only what a network, IPC or UTS namespace keeps for itself: anything else would change the host.
_OWN_SYSCTLS = re.compile(r"(net\.[\w./-]+|kernel\.(msg\w+|sem|shm\w+|domainname)|fs\.mqueue\.\w+)\Z")
_HOSTNAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,61}[A-Za-z0-9])?\Z")
_ENV_NAME = re.compile(r"[A-Za-z_]\w*\Z")
_COVERED = ("/", "/proc", "/sys", "/dev")
_BRIDGE_REFUSED = ("cmd", "entrypoint", "hostname", "startup-delay")
STARTUP_DELAY_MAX_S = 3600


def build_node(name: str, kind: Kind, merged: Merged, directory: Path, refusals: Refusals) -> Node:
    """Check every key of a node and build it; what is wrong goes to `refusals`."""
    _check_ignored(merged, refusals)
    if kind is Kind.BRIDGE:
        _check_bridge(merged, refusals)
    waits, stage_commands = stages_from(merged.maps["stages"], refusals)
    return Node(
        name=name,
        kind=kind,
        hostname=_hostname(name, merged, refusals),
        argv=() if kind is Kind.BRIDGE else _argv(merged, refusals),
        env=_env(merged.maps["env"], refusals),
        sysctls=_sysctls(merged.maps["sysctls"], refusals),
        binds=tuple(bind for found in merged.lists["binds"] if (bind := _bind(found, directory, refusals))),
        commands=tuple(argv for found in merged.lists["exec"] if (argv := split(found, refusals))),
        waits=waits,
        stage_commands=stage_commands,
        healthcheck=healthcheck_from(merged.maps["healthcheck"], refusals),
        startup_delay_s=_delay(merged, refusals),
    )


def split(found: Found, refusals: Refusals) -> tuple[str, ...]:
    """Split a command as a shell would, without running one; refuse what cannot be split."""
    text = refusals.text(found.value, found.where)
    if text is None:
        return ()
    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        refusals.add(found.where, f"cannot be split into words: {str(error).lower()}")
        return ()


def _check_ignored(merged: Merged, refusals: Refusals) -> None:
    for key in ("image", "image-pull-policy", "group"):
        if found := merged.get(key):
            refusals.text(found.value, found.where)
    privileged = merged.get("privileged")
    if privileged and not isinstance(privileged.value, bool):
        refusals.add(privileged.where, f"must be true or false, is {named(privileged.value)}")
    for found in merged.lists["cap-add"]:
        refusals.text(found.value, found.where)
    for found in merged.maps["labels"].values():
        refusals.scalar(found.value, found.where)


def _check_bridge(merged: Merged, refusals: Refusals) -> None:
    wrong = [found for key in _BRIDGE_REFUSED if (found := merged.single.get(key)) and merged.where in found.where]
    wrong += [found for key in ("exec", "binds") for found in merged.lists[key] if merged.where in found.where]
    wrong += [found for key in ("env", "healthcheck", "stages", "sysctls") for found in merged.maps[key].values()]
    for found in wrong:
        if found.where.startswith(f"{merged.where}."):
            refusals.add(found.where, "has no meaning for a bridge")


def _argv(merged: Merged, refusals: Refusals) -> tuple[str, ...]:
    mode = merged.get("network-mode")
    if mode is None:
        refusals.add(merged.where, "network-mode: none is needed (there is no management network here)")
    elif mode.value != "none":
        refusals.add(mode.where, f"not supported: {mode.value}; supported here: none (there is no management network)")
    words = tuple(
        word for key in ("entrypoint", "cmd") if (found := merged.get(key)) for word in split(found, refusals)
    )
    if not merged.get("entrypoint") and not merged.get("cmd"):
        refusals.add(merged.where, "cmd or entrypoint is needed (images are not used here, so theirs are unknown)")
    return words


def _hostname(name: str, merged: Merged, refusals: Refusals) -> str:
    found = merged.get("hostname")
    if found is None:
        return name
    text = refusals.text(found.value, found.where)
    if text is not None and not _HOSTNAME.match(text):
        refusals.add(found.where, f"not a host name: {text}")
    return text or name


def _env(found: dict[str, Found], refusals: Refusals) -> dict[str, str]:
    for name, value in found.items():
        if not _ENV_NAME.match(name):
            refusals.add(value.where, "not the name of an environment variable")
    return {name: refusals.scalar(value.value, value.where) for name, value in found.items()}


def _sysctls(found: dict[str, Found], refusals: Refusals) -> dict[str, str]:
    for name, value in found.items():
        if not _OWN_SYSCTLS.match(name) or ".." in name:
            refusals.add(value.where, "not a setting of the node's own namespaces; supported here: net.*, kernel.msg*, "
                         "kernel.shm*, kernel.sem, kernel.domainname, fs.mqueue.*")  # fmt: skip
    return {name: refusals.scalar(value.value, value.where) for name, value in found.items()}


def _bind(found: Found, directory: Path, refusals: Refusals) -> Bind | None:
    text = refusals.text(found.value, found.where)
    if text is None:
        return None
    source, *rest = text.split(":")
    if not source or len(rest) not in (1, 2):
        refusals.add(found.where, f"must be source:destination or source:destination:ro, is {text}")
        return None
    mode = rest[1] if len(rest) > 1 else "rw"
    if mode not in ("ro", "rw"):
        refusals.add(found.where, f"option not supported: {mode}; supported here: ro, rw")
    target = PurePosixPath(rest[0])
    if not target.is_absolute() or ".." in target.parts or str(target) in _COVERED:
        refusals.add(found.where, f"not a possible destination: {rest[0]}")
    return Bind(directory / Path(source).expanduser(), str(target), mode == "ro")


def _delay(merged: Merged, refusals: Refusals) -> int:
    found = merged.get("startup-delay")
    return 0 if found is None else refusals.integer(found.value, found.where, 0, STARTUP_DELAY_MAX_S) or 0
