"""`regions`: where the backends are, and the tunnels that lead there."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from anycastd.config.schema.base import Section
from anycastd.config.schema.checks import CheckUse
from anycastd.config.schema.create import CreateSection
from anycastd.config.schema.rules import NeedOrRule
from anycastd.config.values.fields import DeviceName, Flag, Name, choice, percent, whole
from anycastd.config.values.net import AddressField, Ipv4Field, Ipv6Field
from anycastd.config.values.tunnel import OwnIpv4Field, OwnIpv6Field
from anycastd.model.eip import Mode
from anycastd.model.topology import Need, ReturnPath


class TunnelSection(Section):
    """A tunnel: a device, our address on it and the far end's, for IPv4, IPv6 or both. See docs/tunnels.md."""

    device: DeviceName = Field(
        description="The network device. Without `create` it must exist, and stays as it is but for `tune` and `mtu`."
    )
    create: CreateSection | None = Field(
        default=None,
        description="Make the device and keep it as written here; it goes when the tunnel leaves the file.",
    )
    mtu: Annotated[int | None, whole(576, 65535)] = Field(
        default=None,
        description="MTU of the device. Default of a created one: what fits an underlay of 1500 bytes; an existing one "
        "is left as it is.",
    )
    tune: Flag = Field(
        default=True,
        description="Whether the device's sysctls are set: no strict rp_filter, and keep_addr_on_down.",
    )
    local: OwnIpv4Field | None = Field(
        default=None,
        description="Our IPv4 address on the device; checks are sent from it. With `create` the length of its network "
        "follows: `10.255.2.1/30`.",
    )
    far_end: Ipv4Field | None = Field(
        default=None, description="The far end's IPv4 address: the next hop of IPv4 packets."
    )
    local6: OwnIpv6Field | None = Field(
        default=None,
        description="Our IPv6 address on the device (not link-local). With `create` the length of its network follows.",
    )
    far_end6: Ipv6Field | None = Field(
        default=None, description="The far end's IPv6 address: the next hop of IPv6 packets."
    )
    priority: Annotated[int, whole(1, 100)] = Field(
        default=1, description="Healthy tunnels of the lowest number are used first; among equals the quickest."
    )
    checks: tuple[CheckUse, ...] = Field(
        description="Names of checks, or checks written here. They go to the far end, of each family it has. "
        "Without a link check one is added: `device`, each second."
    )


class BackendSection(Section):
    """A server, checked through every tunnel of its region that carries its family."""

    address: AddressField = Field(description="Its address, as seen from the far ends of the tunnels.")
    checks: tuple[CheckUse, ...] = Field(description="Names of checks, or checks written here.")


class RegionSection(Section):
    """One region."""

    tunnels: dict[Name, TunnelSection] = Field(description="The ways into the region; at least one.")
    backends: dict[Name, BackendSection] = Field(description="Its servers; at least one.")
    usable_when: NeedOrRule = Field(
        default=Need(),
        description="How many backends must be usable, or a rule over what is in the region. A region whose gateway "
        "spreads packets over all its backends without checking them wants `all`: with `any`, a dead backend would "
        "still get its share.",
    )
    priority: Annotated[int, whole(1, 100)] = Field(
        default=1, description="Usable regions of the lowest number are used first; among equals the nearest."
    )
    mode: Annotated[Mode, choice(Mode)] = Field(
        default=Mode.MASQUERADE,
        description="How packets of EIPs reach its backends. `masquerade`: from our tunnel address, the region needs "
        "nothing; `dnat`: from the client's address, the region sends answers back through the tunnel; `routed`: "
        "unchanged, the backend owns the EIP.",
    )
    number: Annotated[int | None, whole(1, 255)] = Field(
        default=None,
        description="Its number in packet marks and routing tables, the same at every POP; default: from its name.",
    )
    return_path: Annotated[ReturnPath, choice(ReturnPath)] = Field(
        default=ReturnPath.ADDRESS,
        description="How answers of mode masquerade come back: by the tunnel whose `address` they go to, so that a "
        "change of tunnel ends connections, or as the region's `gateway` sends them (`anycastd gateway`), so that they "
        "go on.",
    )
    traffic_dial: Annotated[int, percent(0, 100)] = Field(
        default=100,
        description="How much of the traffic that would go here does; `anycastd region dial` changes it at run time.",
    )


Regions = dict[Name, RegionSection]
