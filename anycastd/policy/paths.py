"""Paths: what a mark stands for. Numbers come from content, so that they outlive a restart and agree between POPs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from zlib import crc32

from anycastd.model.address import Address, TunnelId
from anycastd.model.eip import Mode, Path, Target
from anycastd.model.topology import Config
from anycastd.policy.numbering import Numbering

PATH_NUMBERS = (1 << 23) - 1
"""Path numbers are 1 to this."""


def path_text(path: Path) -> str:
    """Return the text from which a path's number and its order of buckets come; the same on every POP."""
    ports = ",".join(f"{one.transport.value}:{one.port}>{one.to_port}" for one in path.ports)
    return f"{path.backend} {path.mode.value} {ports}"


def path_of(config: Config, target: Target, version: int) -> Path | None:
    """Return the path to a target with the number that its content gives; None if it is not configured here.

    That is also so for a backend whose address is of another family than `version`.
    """
    backend = config.backends.get(target.backend)
    region = config.regions.get(backend.region) if backend else None
    if backend is None or region is None or backend.address.version != version:
        return None
    ports = tuple(sorted(target.ports, key=lambda one: (one.transport.value, one.port, one.to_port)))
    path = Path(backend.id, region.name, target.mode or region.mode, ports, region.number, 0)
    return replace(path, number=_number(path, 0))


def _number(path: Path, salt: int) -> int:
    text = path_text(path) + (f" {salt}" if salt else "")
    return crc32(text.encode()) % PATH_NUMBERS + 1


def _wish(path: Path, salt: int) -> int:
    return path.region_number << 24 | (path.number if not salt else _number(path, salt))


def path_numbering() -> Numbering[Path]:
    """Return an empty numbering of paths as `path_of` gives them, by whole marks: a number may recur in a region."""
    return Numbering(_wish, path_text)


def numbered(path: Path, mark: int) -> Path:
    """Return the path with the number that is in `mark`."""
    return path if path.mark == mark else replace(path, number=mark & 0x00FFFFFF)


def number_paths(paths: Iterable[Path]) -> dict[Path, Path]:
    """Return each path, as `path_of` gives it, with its final number: no two of a region have the same one."""
    numbers = path_numbering()
    known = list(dict.fromkeys(paths))
    for path in known:
        numbers.add(path)
    return {path: numbered(path, numbers[path]) for path in known}


def hide_address(config: Config, path: Path, version: int, tunnel: TunnelId | None) -> Address | None:
    """Return our address that a masqueraded path's backend sees: that of the tunnel which carries the packets."""
    if path.mode is not Mode.MASQUERADE or tunnel is None or tunnel not in config.tunnels:
        return None
    ours = config.tunnels[tunnel]
    return ours.local_ipv4 if version == 4 else ours.local_ipv6
