"""Read `gateway.yaml`: every mistake at once, with its line and column, as for the daemon's own file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from anycastd.config.document import Document, Path, parse
from anycastd.config.reading import Reading
from anycastd.config.shown import shown
from anycastd.config.slots import table_slots
from anycastd.config.source import read_text
from anycastd.config.values.fields import DeviceName, Flag, Name, ValueType, whole
from anycastd.config.values.net import AddressField, Ipv4Field, Ipv6Field, PrefixField
from anycastd.errors import ConfigError
from anycastd.gateway.spec import Gateway, GatewayTunnel
from anycastd.model.address import Address, Prefix


def _type(field: Any) -> ValueType:
    """Return how a field of the daemon's schema is read; without the schema itself, which takes long to import."""
    kind: ValueType = field.__metadata__[0]
    return kind


NAME, DEVICE, ADDRESS, PREFIX = (_type(one) for one in (Name, DeviceName, AddressField, PrefixField))
IPV4, IPV6, FLAG = (_type(one) for one in (Ipv4Field, Ipv6Field, Flag))
TUNNEL_KEYS = ("device", "pop", "far_end", "far_end6")
MAX_NUMBER = 512


def _read_mark(value: object) -> int:
    # the file types only decimal numbers; marks are usually written as 0x...
    try:
        number = int(value, 16) if isinstance(value, str) and value.startswith("0x") else value
    except ValueError:
        number = value
    if isinstance(number, int) and not isinstance(number, bool) and 0 < number <= 0xFFFFFFFF - MAX_NUMBER:
        return number
    message = f"{shown(value)} is not a mark: 1 to {0xFFFFFFFF - MAX_NUMBER:#x}"
    raise ValueError(message)


SCALARS: dict[str, tuple[ValueType, str]] = {
    "tune": (FLAG, "tune"),
    "protocol": (whole(5, 255), "protocol"),
    "mark_base": (ValueType("mark", _read_mark, hex), "mark_base"),
    "table_base": (whole(256, 0x7FFFFFFF), "table_base"),
}
MSS = {"ipv4": (whole(500, 9000), "mss_ipv4"), "ipv6": (whole(1220, 9000), "mss_ipv6")}
"""Key -> how it is read, and the field of `Gateway` that it becomes. IPv6 needs 1280 bytes (RFC 8200)."""
KEYS = ("tunnels", "routes", "mss", *SCALARS)


def load(path: str) -> Gateway:
    """Return the configuration of a file; raise ConfigError with every problem found."""
    return read(parse(read_text(path), path))


def read(document: Document) -> Gateway:
    """Return the configuration of a document; raise ConfigError with every problem found."""
    reading = _Reading(document)
    gateway = reading.gateway()
    if reading.problems or gateway is None:
        raise ConfigError(tuple(sorted(set(reading.problems))))
    return gateway


class _Reading(Reading):
    """Reads one document; what is wrong is noted and left out."""

    def gateway(self) -> Gateway | None:
        """Return the configuration, of which only a document without problems makes sense."""
        root = self.document.value
        if not root and self.problems:
            return None
        self.known((), root, KEYS)
        fields: dict[str, Any] = {}
        for key, (kind, name) in SCALARS.items():
            if (value := self.value((key,), root.get(key), kind)) is not None:
                fields[name] = value
        for key, (kind, name) in MSS.items():
            if (value := self.value(("mss", key), self.mapping(("mss",)).get(key), kind)) is not None:
                fields[name] = value
        self.known(("mss",), self.mapping(("mss",)), tuple(MSS))
        return Gateway(tunnels=tuple(self._tunnels()), routes=dict(self._routes()), **fields)

    def _tunnels(self) -> Iterator[GatewayTunnel]:
        written = self.mapping(("tunnels",))
        if not written and ("tunnels",) not in self.document.empty | self.wronged:
            self.wrong(("tunnels",), "is missing or empty: a gateway without tunnels has nothing to do", at_key=True)
        slots, devices = table_slots(written), dict[str, str]()
        for name in written:
            path: Path = ("tunnels", name)
            self.value(path, name, NAME, at_key=True)
            tunnel = self.mapping(path)
            if not tunnel and path in self.wronged:
                continue
            self.known(path, tunnel, TUNNEL_KEYS)
            device = self.needed(path, tunnel, "device", DEVICE) or f"?{name}"
            pop = self.needed(path, tunnel, "pop", NAME) or f"?{name}"
            far4 = self.value((*path, "far_end"), tunnel.get("far_end"), IPV4)
            far6 = self.value((*path, "far_end6"), tunnel.get("far_end6"), IPV6)
            if "far_end" not in tunnel and "far_end6" not in tunnel:
                self.wrong(path, "needs far_end, far_end6 or both: the POP's addresses on the tunnel", at_key=True)
            if device in devices:
                self.wrong((*path, "device"), f"'{device}' is already the device of {devices[device]}")
            devices.setdefault(device, name)
            yield GatewayTunnel(
                name=name, device=device, pop=pop, number=slots[name] + 1, far_end_ipv4=far4, far_end_ipv6=far6
            )

    def _routes(self) -> Iterator[tuple[Prefix, tuple[Address, ...]]]:
        seen: dict[Prefix, str] = {}
        for text, value in self.mapping(("routes",)).items():
            path: Path = ("routes", text)
            prefix: Prefix | None = self.value(path, text, PREFIX, at_key=True)
            backends = value if isinstance(value, list) else [value]
            found = []
            for number, one in enumerate(backends):
                place = (*path, number) if isinstance(value, list) else path
                address: Address | None = self.value(place, one, ADDRESS)
                if address is None or prefix is None:
                    continue
                if address.version != prefix.version:
                    self.wrong(place, f"{address} is not of the prefix's family")
                elif address in prefix:
                    self.wrong(place, f"{address} is in {prefix} itself")
                elif address in found:
                    self.wrong(place, f"{address} is written twice")
                found.append(address)
            if not backends:
                self.wrong(path, "is empty: no backend")
            if prefix is not None and prefix in seen:
                self.wrong(path, f"is the prefix {seen[prefix]!r} again", at_key=True)
            if prefix is not None:
                seen.setdefault(prefix, text)
                yield prefix, tuple(found)
