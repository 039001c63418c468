"""Every command as a pure function: what it makes of an EIP, or every rule that it breaks, in exact words."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from anycastd.config.binding_rules import facts_of
from anycastd.model.address import BackendId, RegionName
from anycastd.model.eip import (
    Bandwidth,
    Binding,
    Eip,
    EipId,
    Mode,
    PortMap,
    Shaping,
    Source,
    Target,
    Tracking,
    Transport,
)
from anycastd.resources.commands import (
    Allocate,
    Associate,
    Dial,
    Disassociate,
    EipCommand,
    Modify,
    Release,
    Restore,
)
from anycastd.resources.plan import Planned, Stamp, World, expired, plan, plan_dial
from anycastd.resources.records import Records
from anycastd.resources.refusal import Refused
from tests.unit import status_builder

NOW_S = 1_790_000_000.0
NEW = EipId("eip-00000bad")
WEB, US = BackendId("eu-central/web-1"), BackendId("us-east/web-1")
SIX = "2001:db8:113::1"


def bound(*targets: Target, **more: Any) -> Binding:
    return Binding(targets=targets, **more)


def at(address: str, **more: Any) -> Eip:
    """Return an EIP with generation 3."""
    id_ = EipId(f"eip-{int(ip_address(address)) & 0xFFFFFFFF:08x}")
    return Eip(id=id_, address=ip_address(address), generation=3, created_unix_s=1.0, **more)


TO_WEB = bound(Target(backend=WEB))
FREE, BOUND = at("203.0.113.1"), at("203.0.113.2", binding=TO_WEB)
GONE = at("203.0.113.3", released_unix_s=NOW_S - 3600.0)
BLOCKED = at("203.0.113.4", blocked=True, blocked_reason="abuse")
STATELESS = at("203.0.113.5", tracking=Tracking.STATELESS)
OUTSIDE = at("192.0.2.1", binding=TO_WEB)
V6 = at(SIX)
WRITTEN = at("203.0.113.6", source=Source.FILE)
ALL = (FREE, BOUND, GONE, BLOCKED, STATELESS, OUTSIDE, V6)


def world(**limits: Any) -> World:
    config = status_builder.config()
    config = replace(config, eips={WRITTEN.address: WRITTEN}, eip=replace(config.eip, **limits))
    return World(Records(ALL, config.eips), config, facts_of(config))


def outcome(command: EipCommand, expected: int | None = None, **limits: Any) -> Planned | Refused:
    return plan(command, world(**limits), Stamp(NOW_S, NEW), expected)


def made(command: EipCommand, expected: int | None = None, **limits: Any) -> Planned:
    planned = outcome(command, expected, **limits)
    assert isinstance(planned, Planned), planned
    return planned


def told(command: EipCommand, expected: int | None = None, **limits: Any) -> list[str]:
    refused = outcome(command, expected, **limits)
    assert isinstance(refused, Refused), refused
    return [f"{one.status} {one.code} {one}" for one in refused.refusals]


def test_an_allocated_eip_is_new_and_has_what_was_asked_for() -> None:
    limits = Bandwidth(in_bps=10**6)
    planned = made(Allocate(address=ip_address("203.0.113.7"), bandwidth=limits, description="shop"))
    assert planned.before is None
    assert planned.after == Eip(
        id=NEW,
        address=ip_address("203.0.113.7"),
        bandwidth=limits,
        description="shop",
        created_unix_s=NOW_S,
        changed_unix_s=NOW_S,
    )
    assert planned.changes == ("203.0.113.7 allocated",)


def test_the_next_free_address_leaves_out_what_is_taken_and_the_edges() -> None:
    assert str(made(Allocate(prefix=ip_network("203.0.113.0/24"))).after.address) == "203.0.113.7"
    assert str(made(Allocate(prefix=ip_network("203.0.113.4/30"))).after.address) == "203.0.113.7"
    assert str(made(Allocate(prefix=ip_network("2001:db8:113::/64"))).after.address) == "2001:db8:113::2"
    assert str(made(Allocate(address=ip_address("203.0.113.0"))).after.address) == "203.0.113.0"


@pytest.mark.parametrize(
    ("command", "after", "changes"),
    [
        (Associate("203.0.113.1", TO_WEB), replace(FREE, binding=TO_WEB), ["203.0.113.1 bound to eu-central/web-1"]),
        (Associate("203.0.113.2", bound(Target(backend=US)), replace=True),
         replace(BOUND, binding=bound(Target(backend=US))),
         ["203.0.113.2 bound to us-east/web-1 instead of eu-central/web-1"]),
        (Associate("203.0.113.2", TO_WEB), BOUND, []),
        (Disassociate("203.0.113.2"), replace(BOUND, binding=None), ["203.0.113.2 unbound"]),
        (Disassociate("192.0.2.1"), replace(OUTSIDE, binding=None), ["192.0.2.1 unbound"]),
        (Release("203.0.113.1"), replace(FREE, released_unix_s=NOW_S), ["203.0.113.1 released"]),
        (Restore("203.0.113.3"), replace(GONE, released_unix_s=None), ["203.0.113.3 restored"]),
        (Modify(eip="203.0.113.1", in_bps=64_000, shaping=Shaping.POLICE),
         replace(FREE, bandwidth=Bandwidth(in_bps=64_000)),
         ["203.0.113.1: limit in changed from none to 64kbit"]),
        (Modify(eip="203.0.113.1", in_bps=None), FREE, []),
        (Modify(eip="192.0.2.1", description="still"), replace(OUTSIDE, description="still"),
         ["192.0.2.1: description changed from '' to 'still'"]),
        (Modify(eip="203.0.113.1", blocked=True, blocked_reason="abuse"),
         replace(FREE, blocked=True, blocked_reason="abuse"),
         ["203.0.113.1: blocked changed from no to yes",
          "203.0.113.1: reason of the block changed from '' to 'abuse'"]),
        (Modify(eip="203.0.113.4", blocked=False), replace(BLOCKED, blocked=False, blocked_reason=""),
         ["203.0.113.4: blocked changed from yes to no",
          "203.0.113.4: reason of the block changed from 'abuse' to ''"]),
        (Release("203.0.113.4"), replace(BLOCKED, released_unix_s=NOW_S), ["203.0.113.4 released"]),
    ],
)  # fmt: skip
def test_what_a_command_makes_of_an_eip(command: EipCommand, after: Eip, changes: list[str]) -> None:
    planned = made(command, 3)
    assert list(planned.changes) == changes
    if changes:
        after = replace(after, generation=4, changed_unix_s=NOW_S)
    assert planned.after == after


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (Allocate(), ["400 InvalidParameter give either an address, or a prefix to take the next free one of"]),
        (Allocate(address=FREE.address, prefix=ip_network("203.0.113.0/24")),
         ["400 InvalidParameter give either an address, or a prefix to take the next free one of"]),
        (Allocate(address=FREE.address),
         ["409 InvalidAddress.InUse address: 203.0.113.1 is allocated already: it is eip-cb007101"]),
        (Allocate(address=GONE.address),
         ["409 InvalidAddress.InUse address: 203.0.113.3 is released but kept: restore eip-cb007103, "
          "or wait until it is gone"]),
        (Allocate(address=WRITTEN.address),
         ["409 InvalidAddress.InUse address: 203.0.113.6 stands in /etc/anycastd/anycastd.yaml"]),
        (Allocate(address=ip_address("192.0.2.9")),
         ["422 InvalidAddress.OutsidePrefixes address: lies in none of the prefixes (203.0.113.0/24)"]),
        (Allocate(prefix=ip_network("192.0.2.0/24")),
         ["422 InvalidPrefix.NotFound prefix: 192.0.2.0/24 is not in a configured prefix; "
          "known: 203.0.113.0/24, 2001:db8:113::/48"]),
        (Allocate(prefix=ip_network("203.0.0.0/16")),
         ["422 InvalidPrefix.NotFound prefix: 203.0.0.0/16 is not in a configured prefix; "
          "known: 203.0.113.0/24, 2001:db8:113::/48"]),
        (Allocate(prefix=ip_network("203.0.113.2/31")),
         ["409 InvalidPrefix.NoFreeAddress prefix: every address of 203.0.113.2/31 is an EIP"]),
        (Allocate(address=ip_address("203.0.113.9"), bandwidth=Bandwidth(in_bps=0), description="a\x1b[2J"),
         ["422 InvalidParameterValue bandwidth.in_bps: 0 bit/s is not between 64kbit and 400gbit",
          "422 InvalidParameterValue description: has characters that cannot be printed"]),
        (Associate("203.0.113.99", TO_WEB),
         ["404 InvalidAddressId.NotFound no EIP has the id or address '203.0.113.99'"]),
        (Associate("203.0.113.6", TO_WEB),
         ["409 UnsupportedOperation.ConfiguredInFile 203.0.113.6 stands in /etc/anycastd/anycastd.yaml: "
          "change it there and reload"]),
        (Associate("203.0.113.3", TO_WEB),
         ["409 InvalidAddressIdStatus.NotPermit 203.0.113.3 is released, "
          "and can be restored until 2026-09-22 13:13:20 UTC"]),
        (Associate("203.0.113.4", TO_WEB), ["409 InvalidAddressId.Blocked 203.0.113.4 is blocked: abuse"]),
        (Associate("203.0.113.2", bound(Target(backend=US))),
         ["409 InvalidAddressIdStatus.NotPermit 203.0.113.2 is bound to eu-central/web-1; "
          "--replace (replace=true) binds it anew, make before break"]),
        (Associate("203.0.113.1", bound(Target(backend=BackendId("eu-central/web-9")))),
         ["422 InvalidBackend.NotFound targets[0].backend: no backend is called 'eu-central/web-9'; "
          "did you mean 'eu-central/web-2'?"]),
        (Associate(SIX, TO_WEB),
         ["422 InvalidBackend.OtherFamily targets[0].backend: 'eu-central/web-1' has the IPv4 address 10.10.0.11; "
          "an IPv6 one is needed"]),
        (Associate("192.0.2.1", bound(Target(backend=US)), replace=True),
         ["422 InvalidAddress.OutsidePrefixes address: lies in none of the prefixes (203.0.113.0/24)"]),
        (Associate("203.0.113.5", TO_WEB),
         ["422 InvalidParameterValue tracking: stateless needs mode routed, 'eu-central/web-1' has masquerade: "
          "a translation needs the state"]),
        (Associate("203.0.113.1", bound(
            Target(backend=WEB, weight=256, mode=Mode.ROUTED, ports=(PortMap(Transport.TCP, 80, 0),)),
            Target(backend=WEB, priority=101),
         )),
         ["422 InvalidParameterValue targets[0].weight: 256 is not between 0 and 255",
          "422 InvalidParameterValue targets[0].ports: "
          "ports cannot be changed in mode routed, which leaves packets as they are",
          "422 InvalidParameterValue targets[0].ports[0]: 0 is not between 1 and 65535",
          "422 InvalidParameterValue targets[1].priority: 101 is not between 1 and 100",
          "422 InvalidParameterValue targets[1].backend: 'eu-central/web-1' is already in this binding"]),
        (Disassociate("203.0.113.1"), ["409 InvalidAddressIdStatus.NotPermit 203.0.113.1 is not bound"]),
        (Release("203.0.113.2"),
         ["409 InvalidAddressIdStatus.NotPermit 203.0.113.2 is bound to eu-central/web-1: disassociate it first"]),
        (Release("203.0.113.3"),
         ["409 InvalidAddressIdStatus.NotPermit 203.0.113.3 is released, "
          "and can be restored until 2026-09-22 13:13:20 UTC"]),
        (Restore("203.0.113.1"), ["409 InvalidAddressIdStatus.NotPermit 203.0.113.1 is not released"]),
        (Modify(eip="203.0.113.1", shaping=Shaping.HTB),
         ["422 InvalidParameterValue bandwidth.shaping: htb shapes on the devices to the clients: "
          "eip.uplinks must name them"]),
        (Modify(eip="203.0.113.2", tracking=Tracking.STATELESS),
         ["422 InvalidParameterValue tracking: stateless needs mode routed, 'eu-central/web-1' has masquerade: "
          "a translation needs the state"]),
        (Modify(eip="203.0.113.1", blocked=True),
         ["422 InvalidParameterValue blocked_reason: say why it is blocked"]),
        (Modify(eip="203.0.113.1", blocked_reason="why"),
         ["422 InvalidParameterValue blocked_reason: belongs to blocked: true"]),
        (Modify(eip="203.0.113.1", out_bps=63_999, description="x" * 257),
         ["422 InvalidParameterValue bandwidth.out_bps: 63999 bit/s is not between 64kbit and 400gbit",
          "422 InvalidParameterValue description: has 257 characters, 256 are allowed"]),
    ],
)  # fmt: skip
def test_every_rule_that_a_command_breaks_is_told(command: EipCommand, said: list[str]) -> None:
    assert told(command) == said


def test_quotas() -> None:
    assert told(Allocate(address=ip_address("203.0.113.9")), max_eips=8) == [
        "409 AddressQuotaLimitExceeded there are 8 EIPs, eip.max_eips allows 8"
    ]
    assert made(Allocate(address=ip_address("203.0.113.9")), max_eips=9)
    two = bound(Target(backend=WEB), Target(backend=US))
    assert told(Associate("203.0.113.1", two), max_targets=1) == [
        "422 TargetQuotaLimitExceeded targets: 2 backends; eip.max_targets allows 1"
    ]


def test_another_generation_is_refused_before_anything_else() -> None:
    assert told(Release("203.0.113.2"), 2) == [
        "412 PreconditionFailed 203.0.113.2 is at generation 3, not at 2: somebody changed it; read it again"
    ]


def test_the_severest_refusal_speaks_for_all() -> None:
    binding = bound(Target(backend=BackendId("eu-central/web-9")))
    refused = outcome(Associate("203.0.113.2", binding))
    assert isinstance(refused, Refused)
    assert (refused.first.status, [one.status for one in refused.refusals]) == (409, [409, 422])


def test_dials() -> None:
    config = status_builder.config()
    us = RegionName("us-east")
    assert plan_dial(Dial(us, 0), {}, config) == ({us: 0}, ("the dial of us-east changed from 100 % to 0 %",))
    assert plan_dial(Dial(us, 5), {us: 5}, config) == ({us: 5}, ())
    assert plan_dial(Dial(us, None), {us: 5}, config) == ({}, ("the dial of us-east changed from 5 % to 100 %",))
    for bad, said in ((Dial(us, 101), "101 is not between 0 and 100"), (Dial(RegionName("x"), 1), "known: eu-central")):
        refused = plan_dial(bad, {}, config)
        assert isinstance(refused, Refused)
        assert said in str(refused.first)


def test_what_is_kept_long_enough() -> None:
    records = world().records
    assert expired(records, 3600.5, NOW_S) == []
    assert expired(records, 3600.0, NOW_S) == [GONE]
