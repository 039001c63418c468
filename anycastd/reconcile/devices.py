"""Wanted against observed tunnel devices -> actions and problems. Pure, level-triggered.

A device is ours by its alias alone. One round makes devices, the next gives them what they lack: after each the kernel
is read again. What is not ours is never changed, but for the sysctls of adopted devices and an MTU that was written.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, fields, replace

from anycastd.model.tunnel_device import (
    ALIAS,
    UNDERLAY_MTU_BYTES,
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
    Shape,
    Sysctl,
    WantedDevice,
    WireGuard,
    default_mtu_bytes,
)

STRICT, LOOSE = 1, 2


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do now; what cannot be helped from here; `strays`: ours, unwanted, kept until their time is over."""

    actions: tuple[DeviceAction, ...] = ()
    problems: tuple[DeviceProblem, ...] = ()
    strays: frozenset[str] = frozenset()


def diff(wanted: Collection[WantedDevice], observed: DevicesObserved, expired: Collection[str] = ()) -> Plan:
    """Return the next steps; `expired` are the names of strays whose linger time is over."""
    problems: list[DeviceProblem] = []
    deletes: list[DeviceAction] = []
    creates: list[DeviceAction] = []
    changes: list[DeviceAction] = []
    names = {one.name for one in wanted}
    strays = [view for name, view in observed.devices.items() if view.owner is not None and name not in names]
    in_the_way = {view.name: why for view in strays if (why := _in_the_way(view, wanted, observed, expired))}
    deletes += [
        DeleteDevice(view.name, view.index, in_the_way[view.name]) for view in strays if view.name in in_the_way
    ]
    for one in wanted:
        view = observed.devices.get(one.name)
        if one.shape is None:
            changes += _adopted(one, view, observed, problems)
        elif view is None:
            creates.append(CreateDevice(one))
        elif view.owner is None:
            problems.append(_foreign(one, view))
        elif why := _other(one.shape, view):
            deletes.append(DeleteDevice(view.name, view.index, why))
        else:
            changes += _own(one, view, observed)
    left = frozenset(view.name for view in strays if view.name not in in_the_way)
    return Plan((*deletes, *creates, *changes), tuple(problems), left)


def _in_the_way(
    view: DeviceView, wanted: Collection[WantedDevice], observed: DevicesObserved, expired: Collection[str]
) -> str:
    """Return why a stray goes now, or nothing: two devices of the same parameters cannot be."""
    for one in wanted:
        if one.shape is None or one.name in observed.devices:
            continue
        if one.tunnel == view.owner or (view.shape is not None and _same(one.shape, view.shape)):
            return f"{one.tunnel} now has it as {one.name}"
    return "no longer in the configuration" if view.name in expired else ""


def _foreign(one: WantedDevice, view: DeviceView) -> DeviceProblem:
    detail = (
        f"there is a {view.kind or 'device'} {one.name} that anycastd did not make; it is not touched: "
        "delete or rename it, or leave out `create` to use it as it is"
    )
    return DeviceProblem(one.tunnel, one.name, DeviceFault.FOREIGN, detail)


def _other(shape: Shape, view: DeviceView) -> str:
    """Return in what a device of ours differs so that it must be made anew, or nothing."""
    if view.kind != shape.kind:
        return f"kind changed from {view.kind} to {shape.kind}"
    if isinstance(shape, WireGuard):
        return ""
    if view.shape is None:
        return "parameters that were never ours"
    changed = [
        f"{field.name} from {_word(getattr(view.shape, field.name))} to {_word(getattr(shape, field.name))}"
        for field in fields(shape)
        if getattr(view.shape, field.name) != getattr(shape, field.name)
    ]
    return f"changed: {', '.join(changed)}" if changed else ""


def _word(value: object) -> str:
    return "none" if value is None else str(value)


def _same(wanted: Shape, seen: Shape) -> bool:
    if not isinstance(wanted, WireGuard) or not isinstance(seen, WireGuard):
        return wanted == seen
    # what was left to the kernel or the peer is as it may be
    port = wanted.listen_port or seen.listen_port
    endpoint = wanted.endpoint or seen.endpoint
    asked = replace(wanted, listen_port=port, endpoint=endpoint, private_key_file=seen.private_key_file)
    return asked == seen


def _adopted(
    one: WantedDevice, view: DeviceView | None, observed: DevicesObserved, problems: list[DeviceProblem]
) -> Iterator[DeviceAction]:
    if view is None:
        detail = f"there is no device {one.name}; make it, or let anycastd do so by `create`"
        problems.append(DeviceProblem(one.tunnel, one.name, DeviceFault.MISSING, detail))
        return
    if one.mtu_bytes is not None and view.mtu_bytes != one.mtu_bytes:
        yield SetMtu(view.name, view.index, one.mtu_bytes)
    elif one.mtu_bytes is None and view.shape is not None:
        # larger ones tell of an underlay with large frames
        limit = default_mtu_bytes(view.shape)
        if limit < view.mtu_bytes <= UNDERLAY_MTU_BYTES:
            detail = f"{one.name} ({view.kind}) has MTU {view.mtu_bytes}; above {limit} its packets are fragmented"
            problems.append(DeviceProblem(one.tunnel, one.name, DeviceFault.MTU, detail))
    yield from _tuned(one, view, observed)


def _own(one: WantedDevice, view: DeviceView, observed: DevicesObserved) -> Iterator[DeviceAction]:
    if view.owner != one.tunnel:
        yield SetAlias(view.name, view.index, f"{ALIAS}{one.tunnel}")
    if isinstance(one.shape, WireGuard) and (view.shape is None or not _same(one.shape, view.shape)):
        yield SetWireGuard(one, view.index)
    if one.mtu_bytes is not None and view.mtu_bytes != one.mtu_bytes:
        yield SetMtu(view.name, view.index, one.mtu_bytes)
    yield from _tuned(one, view, observed)
    # added before those that go: the last address of a family takes routes along
    for address in _sorted(one.addresses - view.addresses):
        yield AddAddress(view.name, view.index, address)
    for address in _sorted(view.addresses - one.addresses):
        yield DeleteAddress(view.name, view.index, address)
    if not view.admin_up:
        yield SetUp(view.name, view.index)


def _sorted(addresses: Iterable[Interface]) -> list[Interface]:
    return sorted(addresses, key=str)


def _tuned(one: WantedDevice, view: DeviceView, observed: DevicesObserved) -> Iterator[DeviceAction]:
    """Yield the sysctls to write: no strict reverse path filter, and IPv6 addresses that outlive a down."""
    if not one.tune:
        return
    if view.rp_filter is not None and max(view.rp_filter, observed.rp_filter_all) == STRICT:
        # the larger of both counts (ip-sysctl of the kernel), so 0 would not help where `all` is strict
        yield SetSysctl(view.name, Sysctl.RP_FILTER, LOOSE if observed.rp_filter_all == STRICT else 0)
    if view.keep_addresses is not None and view.keep_addresses < 1:
        yield SetSysctl(view.name, Sysctl.KEEP_ADDRESSES, 1)
