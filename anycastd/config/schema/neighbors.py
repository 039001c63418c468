"""`neighbors`: the BGP sessions."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from anycastd.config.schema.base import Section
from anycastd.config.values.fields import FileName, Flag, Name, choice, whole, whole_seconds
from anycastd.config.values.net import AddressField, Asn, Community, FamilyField, Ipv4Field, Ipv6Field, LargeCommunity
from anycastd.model.spread import Announce
from anycastd.model.topology import Role


class ExportSection(Section):
    """How routes to the neighbor look."""

    communities: tuple[Community, ...] = Field(
        default=(), description='Communities on every route, in quotes: "64496:100".'
    )
    large_communities: tuple[LargeCommunity, ...] = Field(
        default=(), description='Large communities on every route, in quotes: "64496:1:2".'
    )
    depref_communities: tuple[Community, ...] = Field(
        default=(),
        description="Communities added while a prefix is depreferenced, such as a transit's own prepend or backup.",
    )
    blackhole_communities: tuple[Community, ...] = Field(
        default=(),
        description="Communities of blackholes, besides 65535:666 and NO_EXPORT, which each has: a transit's own.",
    )
    prepend: Annotated[int, whole(0, 10)] = Field(
        default=0, description="How often our AS number is added at normal times."
    )
    med: Annotated[int | None, whole(0, 4294967195)] = Field(
        default=None, description="MED at normal times; 100 is added while depreferenced. Without it none is sent."
    )
    next_hop4: Ipv4Field | None = Field(
        default=None,
        description="Next hop of IPv4 routes; default: `local_address`. Needed for IPv4 over an IPv6 session.",
    )
    next_hop6: Ipv6Field | None = Field(
        default=None,
        description="Next hop of IPv6 routes; default: `local_address`. Needed for IPv6 over an IPv4 session.",
    )


class NeighborSection(Section):
    """One BGP session, under a name of your choice."""

    address: AddressField = Field(description="The neighbor's address. IPv6 link-local addresses are not supported.")
    asn: Asn = Field(description="The neighbor's AS number; our own makes it an iBGP session.")
    local_address: AddressField = Field(
        description="Our address of the session, of the same family. It is not guessed: the route to a neighbor may "
        "change, the session must not."
    )
    local_asn: Asn | None = Field(default=None, description="The AS number we show this neighbor; default: `pop.asn`.")
    families: tuple[FamilyField, ...] = Field(
        default=(), description="What the session carries; default: the family of its address."
    )
    password_file: FileName | None = Field(
        default=None,
        description="File whose first line is the TCP MD5 password (RFC 2385); mode 0600. A relative name begins at "
        "the directory of the configuration file.",
    )
    hold_time: Annotated[int, whole_seconds(3, 65535)] = Field(
        default=9, description="BGP hold time; a third of it is the keepalive interval."
    )
    role: Annotated[Role, choice(Role)] = Field(
        default=Role.UPSTREAM,
        description="`upstream` is sent our prefixes and nothing else; `observer` (a route reflector or route server "
        "of the fleet) is sent our beacon and nothing else, and what it sends is heard.",
    )
    announce: Annotated[Announce, choice(Announce)] = Field(
        default=Announce.ALWAYS,
        description="`standby`: the session carries prefixes only while a playbook of this POP calls on standbys, or "
        "while no other one has them.",
    )
    graceful_restart: Annotated[int | None, whole_seconds(0, 4095)] = Field(
        default=None,
        description="How long the neighbor keeps our routes while ExaBGP is away (RFC 4724); 0 turns it off. Default: "
        "120s; an observer has none.",
    )
    multihop: Annotated[int | None, whole(2, 255)] = Field(
        default=None, description="TTL of our packets to an eBGP neighbor that is not on a common link."
    )
    ttl_security: Annotated[int | None, whole(1, 254)] = Field(
        default=None, description="How many hops away the neighbor may be (RFC 5082); 1 for one on a common link."
    )
    max_prefixes: Annotated[int, whole(1, 100000)] = Field(
        default=1000, description="The most prefixes we ever send it; a configuration with more is refused."
    )
    blackhole: Flag = Field(
        default=False, description="It takes blackholes (RFC 7999) of single addresses in our prefixes."
    )
    flowspec: Flag = Field(
        default=False,
        description="It takes flow rules (RFC 8955, 8956) of its families; turning it on or off resets the session.",
    )
    export: ExportSection = Field(default=ExportSection(), description="How routes to it look.")


Neighbors = dict[Name, NeighborSection]
