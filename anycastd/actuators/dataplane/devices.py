"""Tunnel devices in the kernel: made, kept as wanted, and read back. What is not ours by its alias is only tuned.

All of it blocks, and is rare: it runs in a thread of its own, where devices can also be made in another namespace.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import secrets
import socket
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from anycastd.actuators.dataplane import link_wire, wireguard_wire
from anycastd.actuators.dataplane.namespace import Thread
from anycastd.actuators.dataplane.private_key import KeyFileError, read_key
from anycastd.actuators.dataplane.requests import RefusedError, Requests
from anycastd.model.address import TunnelId
from anycastd.model.tunnel_device import (
    ALIAS,
    AddAddress,
    CreateDevice,
    DeleteAddress,
    DeleteDevice,
    DeviceAction,
    DeviceFault,
    DeviceProblem,
    DevicesObserved,
    DeviceView,
    Interface,
    SetAlias,
    SetMtu,
    SetSysctl,
    SetUp,
    SetWireGuard,
    Sysctl,
    TunnelKind,
    WantedDevice,
    WireGuard,
)
from anycastd.reconcile.devices import Plan, diff

log = logging.getLogger(__name__)

SYSCTLS = Path("/proc/sys/net")
ROUNDS = 5
"""Make, tune, address, bring up: the kernel is read again after each round, and one more finds nothing to do."""
INDEX_FROM, INDEX_BELOW = 1 << 24, 1 << 30
"""Where devices that we make are numbered, by chance: the kernel's own numbers begin at 1."""
NETLINK_GENERIC = 16
NO_SUCH_KIND = frozenset({errno.EOPNOTSUPP, errno.ENOENT})
ALREADY_SO = {
    AddAddress: frozenset({errno.EEXIST}),
    DeleteAddress: frozenset({errno.EADDRNOTAVAIL}),
    DeleteDevice: frozenset({errno.ENODEV}),
}


class Devices:
    """Keeps tunnel devices as wanted; `observed` is what was last read."""

    def __init__(self, *, netns: str | None = None) -> None:
        self._thread = Thread("devices", netns)
        self._links, self._generic = Requests(socket.NETLINK_ROUTE), Requests(NETLINK_GENERIC)
        self._wireguard: int | None = None
        self._stray_since_s: dict[str, float] = {}
        self._observed = DevicesObserved()
        self._linger_s = 0.0

    @property
    def observed(self) -> DevicesObserved:
        """Return all devices as last read; sysctls only of those that were wanted."""
        return self._observed

    @property
    def mtus(self) -> Mapping[str, int]:
        """Return the MTU of each device by name, for `policy.mss`."""
        return {name: view.mtu_bytes for name, view in self._observed.devices.items()}

    @property
    def next_s(self) -> float | None:
        """Return when a device that left the configuration is to go (loop time); None when there is none."""
        since_s = min(self._stray_since_s.values(), default=None)
        return None if since_s is None else since_s + self._linger_s

    async def start(self) -> None:
        """Read everything once; ActuatorTransient if the kernel does not answer, OSError without the namespace."""
        await self._thread.run(partial(self._observe, ()))

    async def reconcile(self, wanted: Iterable[WantedDevice], *, linger_s: float = 300.0) -> tuple[DeviceProblem, ...]:
        """Make the kernel as wanted, and return what is not and why; correct after any loss, cheap when all is so.

        To be called at the start, after a reload, after link events and now and then. Devices of ours that nobody wants
        go after `linger_s`; at once, if they are in the way. ActuatorTransient if the kernel does not answer.
        """
        self._linger_s = linger_s
        now_s = asyncio.get_running_loop().time()
        return await self._thread.run(partial(self._reconcile, tuple(wanted), now_s))

    async def remove_all(self) -> tuple[DeviceProblem, ...]:
        """Remove every device of ours, and nothing else."""
        return await self.reconcile((), linger_s=0.0)

    async def close(self) -> None:
        """Stop; everything in the kernel is left standing."""
        await self._thread.run(self._links.close)
        await self._thread.run(self._generic.close)
        self._thread.close()

    def _reconcile(self, written: Sequence[WantedDevice], now_s: float) -> tuple[DeviceProblem, ...]:
        wanted = [self._with_digest(one) for one in written]
        failed: dict[DeviceAction, DeviceProblem] = {}
        for _ in range(ROUNDS):
            self._observe([one.name for one in wanted])
            plan = self._plan(wanted, now_s)
            todo = [action for action in plan.actions if action not in failed]
            if not todo:
                break
            for action in todo:
                problem = self._tried(action, wanted)
                if problem is not None:
                    failed[action] = problem
        left = dict.fromkeys(failed[action] for action in plan.actions if action in failed)
        return (*plan.problems, *left)

    def _plan(self, wanted: Sequence[WantedDevice], now_s: float) -> Plan:
        strays = diff(wanted, self._observed).strays
        self._stray_since_s = {name: self._stray_since_s.get(name, now_s) for name in strays}
        expired = {name for name, since_s in self._stray_since_s.items() if now_s - since_s >= self._linger_s}
        return diff(wanted, self._observed, expired)

    def _tried(self, action: DeviceAction, wanted: Sequence[WantedDevice]) -> DeviceProblem | None:
        try:
            self._act(action)
        except RefusedError as error:
            if error.code in ALREADY_SO.get(type(action), frozenset()):
                return None
            return _problem(action, error, _tunnel_of(action, wanted, self._observed))
        except KeyFileError as error:
            name = action.device.name if isinstance(action, SetWireGuard) else ""
            return DeviceProblem(_tunnel_of(action, wanted, self._observed), name, DeviceFault.KEY_FILE, str(error))
        return None

    def _act(self, action: DeviceAction) -> None:
        ask = self._links.ask
        match action:
            case CreateDevice(device):
                self._create(device)
            case SetWireGuard(device, index):
                self._set_wireguard(device, index)
            case DeleteDevice(name, index, why):
                log.warning("tunnel device %s is deleted: %s", name, why)
                ask(partial(link_wire.encode_delete, index))
            case SetAlias(_, index, alias):
                ask(partial(link_wire.encode_alias, index, alias))
            case SetMtu(_, index, mtu_bytes):
                ask(partial(link_wire.encode_mtu, index, mtu_bytes))
            case AddAddress(_, index, address):
                ask(partial(link_wire.encode_address, index, address, add=True))
            case DeleteAddress(_, index, address):
                ask(partial(link_wire.encode_address, index, address, add=False))
            case SetUp(_, index):
                ask(partial(link_wire.encode_up, index))
            case SetSysctl(name, sysctl, value):
                _write_sysctl(name, sysctl, value)

    def _create(self, device: WantedDevice) -> None:
        indexes = {name: view.index for name, view in self._observed.devices.items()}
        index = INDEX_FROM + secrets.randbelow(INDEX_BELOW - INDEX_FROM)
        while index in indexes.values():
            index = INDEX_FROM + secrets.randbelow(INDEX_BELOW - INDEX_FROM)
        alias = f"{ALIAS}{device.tunnel}"

        def encode(sequence: int) -> bytes:
            return link_wire.encode_create(device, index, alias, indexes, sequence)

        try:
            self._links.ask(encode, messages=2)
        except KeyError as error:
            raise RefusedError(errno.ENODEV, f"its lower device {error.args[0]} does not exist") from None
        except RefusedError:
            # one without its alias would be foreign to us for ever
            with contextlib.suppress(RefusedError):
                self._links.ask(partial(link_wire.encode_delete, index))
            raise
        log.warning("tunnel device %s is made for %s", device.name, device.tunnel)

    def _set_wireguard(self, device: WantedDevice, index: int) -> None:
        if not isinstance(device.shape, WireGuard):
            return
        key = read_key(device.shape.private_key_file)
        self._generic.ask(partial(wireguard_wire.encode_set, self._family(), index, device.shape, key))

    def _family(self) -> int:
        if self._wireguard is None:
            (body,) = self._generic.ask(wireguard_wire.encode_find)
            self._wireguard = wireguard_wire.parse_found(body)
        return self._wireguard

    def _with_digest(self, one: WantedDevice) -> WantedDevice:
        """Return it with what its key is compared by; nothing where the key cannot be had, which `_act` then tells."""
        if not isinstance(one.shape, WireGuard):
            return one
        digest = ""
        with contextlib.suppress(KeyFileError):
            digest = wireguard_wire.digest_of(read_key(one.shape.private_key_file))
        return replace(one, shape=replace(one.shape, key_digest=digest))

    def _observe(self, names: Iterable[str]) -> None:
        parsed = [link_wire.parse_link(body) for body in self._links.dump(link_wire.encode_dump_links)]
        addresses: dict[int, set[Interface]] = {}
        for body in self._links.dump(link_wire.encode_dump_addresses):
            if (found := link_wire.parse_address(body)) is not None:
                addresses.setdefault(found[0], set()).add(found[1])
        by_index = {view.index: view.name for view, _ in parsed}
        devices = {
            view.name: replace(
                view,
                addresses=frozenset(addresses.get(view.index, ())),
                shape=link_wire.shape_of(view.kind, have, by_index),
            )
            for view, have in parsed
        }
        for name in names:
            if name in devices:
                devices[name] = self._with_sysctls(devices[name])
        self._observed = DevicesObserved(devices, _read_sysctl("all", Sysctl.RP_FILTER) or 0)

    def _with_sysctls(self, view: DeviceView) -> DeviceView:
        if view.kind == TunnelKind.WIREGUARD and view.owner is not None:
            with contextlib.suppress(RefusedError):
                bodies = self._generic.dump(partial(wireguard_wire.encode_get, self._family(), view.index))
                view = replace(view, shape=wireguard_wire.parse_device(bodies))
        return replace(
            view,
            rp_filter=_read_sysctl(view.name, Sysctl.RP_FILTER),
            keep_addresses=_read_sysctl(view.name, Sysctl.KEEP_ADDRESSES),
        )


def _sysctl_path(device: str, sysctl: Sysctl) -> Path:
    return SYSCTLS / sysctl.value.format(device)


def _read_sysctl(device: str, sysctl: Sysctl) -> int | None:
    """Return a switch of a device; None where there is none (no IPv6, or the device has just gone)."""
    try:
        return int(_sysctl_path(device, sysctl).read_text())
    except (OSError, ValueError):
        return None


def _write_sysctl(device: str, sysctl: Sysctl, value: int) -> None:
    path = _sysctl_path(device, sysctl)
    try:
        path.write_text(f"{value}\n")
    except OSError as error:
        raise RefusedError(error.errno or errno.EIO, f"{path} cannot be written") from error


def _tunnel_of(action: DeviceAction, wanted: Iterable[WantedDevice], observed: DevicesObserved) -> TunnelId:
    if isinstance(action, CreateDevice | SetWireGuard):
        return action.device.tunnel
    view = observed.devices.get(action.name)
    owners = [one.tunnel for one in wanted if one.name == action.name]
    return owners[0] if owners else (view.owner if view is not None and view.owner else TunnelId(""))


def _problem(action: DeviceAction, error: RefusedError, tunnel: TunnelId) -> DeviceProblem:
    if not isinstance(action, CreateDevice | SetWireGuard):
        return DeviceProblem(tunnel, action.name, DeviceFault.REFUSED, f"{_verb(action)}: {error}")
    device = action.device
    kind = device.shape.kind if device.shape is not None else ""
    if error.code in NO_SUCH_KIND:
        return DeviceProblem(tunnel, device.name, DeviceFault.UNSUPPORTED, f"this kernel has no {kind} devices")
    detail = f"the kernel refuses this {kind} device: {error}"
    if error.code == errno.EEXIST:
        detail = f"another device has the name {device.name} or the same parameters ({kind}): {error}"
    return DeviceProblem(tunnel, device.name, DeviceFault.REFUSED, detail)


def _verb(action: DeviceAction) -> str:
    match action:
        case AddAddress(_, _, address):
            return f"add {address}"
        case DeleteAddress(_, _, address):
            return f"delete {address}"
        case SetMtu(_, _, mtu_bytes):
            return f"set mtu {mtu_bytes}"
        case SetSysctl(_, sysctl, value):
            return f"set {sysctl.name.lower()} {value}"
    return {DeleteDevice: "delete", SetAlias: "set alias", SetUp: "set up"}.get(type(action), "")
