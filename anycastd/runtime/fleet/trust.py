"""Whose beacons are believed: those of the fleet's own AS and routers, and with a key those that are signed with it."""

from __future__ import annotations

from hashlib import blake2b
from pathlib import Path

from anycastd.errors import AnycastdError
from anycastd.fleet.codec import BeaconError, read
from anycastd.fleet.signing import UNSIGNED, Signing
from anycastd.fleet.stored import MAX_KEY_BYTES
from anycastd.model.bgp import Heard
from anycastd.model.fleet import FleetSpec, Part
from anycastd.model.fleet_config import FleetConfig
from anycastd.model.topology import Config

MAX_FILE_BYTES = 4096


class FleetKeyError(AnycastdError):
    """The fleet's key cannot be used: nothing that others say is believed till it can."""


class ForeignError(BeaconError):
    """A beacon that cannot be of the POP whose address it has."""


def read_key(path: str) -> bytes:
    """Return the fleet's key; FleetKeyError if it cannot be read, or others could read it as well."""
    try:
        file = Path(path)
        if file.stat().st_mode & 0o137:
            message = f"{path} can be used by others; chmod 600 it, or 640 with the daemon's group"
            raise FleetKeyError(message)
        with file.open("rb") as content:
            key = content.read(MAX_FILE_BYTES).strip()
    except OSError as error:
        message = f"{path} cannot be read: {error}"
        raise FleetKeyError(message) from error
    if not key:
        message = f"{path} is empty"
        raise FleetKeyError(message)
    # of a longer one everything counts
    return blake2b(key, digest_size=MAX_KEY_BYTES).digest()


def signing_of(fleet: FleetConfig | None) -> Signing:
    """Return how beacons are signed; FleetKeyError if the key cannot be read."""
    if fleet is None or fleet.key_file is None:
        return UNSIGNED
    return Signing(read_key(fleet.key_file), fleet.accepts_unsigned)


def signing_or_none(fleet: FleetConfig | None) -> Signing:
    """Return how beacons are signed; where the key cannot be read ours are not, and nobody's is believed."""
    try:
        return signing_of(fleet)
    except FleetKeyError as error:
        return Signing(refuses=f"fleet.key_file: {error}")


def part_of(config: Config, fleet: FleetConfig, spec: FleetSpec, heard: Heard, signing: Signing) -> Part | BeaconError:
    """Return the part that an observer's route carries, or why it is none or not believed."""
    if why := refusal(config, fleet, heard):
        return ForeignError(why)
    try:
        return read(spec, heard.prefix, heard.large_communities or (), signing)
    except BeaconError as error:
        return error


def refusal(config: Config, fleet: FleetConfig, heard: Heard) -> str:
    """Return why a beacon cannot be of the POP whose address it has; empty if it can.

    A path with an AS that is not ours (but for the observer's own, a route server that is not transparent), or a
    reflector's word that it had it from another router than that POP's. A reflector that does not say from whom it had
    it (RFC 4456 section 8) announces it itself.
    """
    observer = config.neighbors[heard.observer]
    ours = {config.pop.asn, observer.local_asn}
    path = [asn for asn in heard.as_path if asn != observer.asn or asn in ours]
    if any(asn not in ours for asn in path):
        return f"announced by AS {next(asn for asn in reversed(heard.as_path) if asn not in ours)}, not by ours"
    number = int(heard.prefix.network_address) % 256
    pop = next((one for one in fleet.pops.values() if one.number == number), None)
    wanted = None if pop is None else pop.router_id
    if pop is None or wanted is None or heard.originator == str(wanted) or observer.is_ebgp:
        return ""
    if not heard.originator:
        return f"the observer announces it itself, and {pop.name} is {wanted}"
    return f"the reflector had it from {heard.originator}, and {pop.name} is {wanted}"
