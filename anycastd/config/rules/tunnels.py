"""Tunnel devices: one kind each, addresses with their networks, outer addresses that lead outside, keys kept secret."""

from __future__ import annotations

from collections.abc import Iterator

from anycastd.config.build.tunnels import networks_of, shape_of
from anycastd.config.document import Path
from anycastd.config.rules.files import Stat, look, secret
from anycastd.config.rules.findings import Findings
from anycastd.config.schema.create import CreateSection
from anycastd.config.schema.regions import TunnelSection
from anycastd.model.tunnel_device import Geneve, IpTunnel, Shape, TunnelKind, Vxlan, WireGuard

SMALLEST_IPV6_MTU = 1280
"""RFC 8200 section 5."""
KEY_FILE_BYTES = range(44, 47)
"""32 bytes in base64; a line end may follow."""


def _made(found: Findings) -> Iterator[tuple[Path, str, TunnelSection, Shape]]:
    """Yield each tunnel whose device is created, with what it is made of."""
    for path, id_, tunnel in found.tunnels():
        if tunnel.create is not None and len(tunnel.create.kinds) == 1:
            yield path, id_, tunnel, shape_of(tunnel.create, "/")


def one_kind(found: Findings) -> None:
    """A device is of exactly one kind."""
    for path, _, tunnel in found.tunnels():
        if tunnel.create is None:
            continue
        kinds, place = tunnel.create.kinds, (*path, "create")
        if len(kinds) > 1:
            found.error(place, f"has {len(kinds)} kinds ({', '.join(kinds)}); a device has one")
        elif not kinds and not any(empty[:-1] == place for empty in found.draft.document.empty):
            found.error(place, f"has no kind; write one of {', '.join(CreateSection.model_fields)}")


def networks(found: Findings) -> None:
    """A device that we make gets addresses with the length of their network; one that is there has its own."""
    for path, _, tunnel in found.tunnels():
        for key, own in (("local", tunnel.local), ("local6", tunnel.local6)):
            if own is None:
                continue
            if tunnel.create is None and own.length is not None:
                found.error((*path, key), f"/{own.length} is only for a device that anycastd creates; leave it out")
            elif tunnel.create is not None and own.length is None:
                example = "30" if own.version == 4 else "64"
                found.error((*path, key), f"needs the length of its network, such as {own}/{example}")
        for interface in networks_of(tunnel) if tunnel.create is not None else ():
            suffix, far_end = ("", tunnel.far_end) if interface.version == 4 else ("6", tunnel.far_end6)
            if far_end is not None and far_end not in interface.network:
                found.error((*path, f"far_end{suffix}"), f"{far_end} is not in {interface.network}, our end's network")


def outer(found: Findings) -> None:
    """Outer packets go from one machine to another, and not into a tunnel or an announced prefix."""
    announced = [prefix for _, prefix, _ in found.prefixes()]
    inside = [interface.network for _, _, tunnel in found.tunnels() for interface in networks_of(tunnel)]
    for path, _, _, shape in _made(found):
        if isinstance(shape, WireGuard):
            place, local = (*path, "create", "wireguard", "endpoint"), None
            remote = None if shape.endpoint is None else shape.endpoint[0]
        else:
            key = _written_kind(shape)
            place, remote = (*path, "create", key, "remote"), shape.remote
            local = None if isinstance(shape, Geneve) else shape.local
        if remote is None:
            continue
        if local is not None and local.version != remote.version:
            found.error(place, f"{remote} and local {local} are of two families")
        elif local == remote:
            found.error(place, f"{remote} is our own end (local)")
        for network in inside:
            if remote.version == network.version and remote in network:
                found.error(place, f"{remote} is in {network}, the inside of a tunnel: its packets would loop")
        for prefix in announced:
            if remote.version == prefix.version and remote in prefix:
                found.error(place, f"{remote} is in {prefix}, which this POP announces: its packets would be dropped")


def _written_kind(shape: Shape) -> str:
    return {TunnelKind.IP6GRE: "gre", TunnelKind.IP6GRETAP: "gretap"}.get(shape.kind, str(shape.kind))


def carried(found: Findings) -> None:
    """What the device cannot carry is not asked of it."""
    for path, _, tunnel in found.tunnels():
        if tunnel.create is not None and tunnel.create.ipip is not None and tunnel.local6 is not None:
            found.error((*path, "local6"), "an ipip tunnel carries IPv4 only; use gre or ip6tnl")
        if tunnel.mtu is not None and tunnel.mtu < SMALLEST_IPV6_MTU and tunnel.local6 is not None:
            found.error((*path, "mtu"), f"{tunnel.mtu} is below {SMALLEST_IPV6_MTU}, the least that IPv6 needs")
        if tunnel.create is not None and tunnel.create.vxlan is not None:
            lower = tunnel.create.vxlan.lower
            if lower == tunnel.device:
                found.error((*path, "create", "vxlan", "lower"), f"'{lower}' is the device itself")


def told_apart(found: Findings) -> None:
    """The kernel tells outer packets of two devices apart, or refuses the second."""
    seen: dict[object, str] = {}
    for path, id_, _, shape in _made(found):
        if (identity := _identity(shape)) is None:
            continue
        if identity in seen:
            place = (*path, "create", _written_kind(shape))
            found.error(place, f"cannot be told from {seen[identity]}: {identity[1]}", at_key=True)
        seen.setdefault(identity, id_)


def _identity(shape: Shape) -> tuple[object, ...] | None:
    """Return by what the kernel tells devices of a kind apart, with the words for it."""
    if isinstance(shape, Vxlan):
        # vxlan_vni_in_use() does not look at the peer
        return shape.kind, "the same vni and port", shape.vni, shape.port, shape.remote.version
    if isinstance(shape, Geneve):
        return shape.kind, "the same vni, remote and port", shape.vni, shape.remote, shape.port
    if isinstance(shape, IpTunnel):
        words = "the same local and remote" + (" and key" if shape.key is not None else "")
        return shape.kind, words, shape.local, shape.remote, shape.key
    return (shape.kind, "the same listen_port", shape.listen_port) if shape.listen_port else None


def key_files(found: Findings, directory: str, stat: Stat) -> None:
    """Look at every private key file; never into it."""
    for path, _, tunnel in found.tunnels():
        if tunnel.create is None or tunnel.create.wireguard is None:
            continue
        place, name = (*path, "create", "wireguard", "private_key_file"), tunnel.create.wireguard.private_key_file
        status = look(found, place, name, directory, stat)
        if status is None:
            continue
        if status.st_size not in KEY_FILE_BYTES:
            found.error(place, f"{name} holds {status.st_size} bytes; a key has 44 characters")
        secret(found, place, name, status)


RULES = (one_kind, networks, outer, carried, told_apart)
