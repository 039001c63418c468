"""The diff of the packet filter's elements: an order without gaps, and nothing named that was not asked for."""

from __future__ import annotations

from ipaddress import IPv4Network, ip_address, ip_network

from hypothesis import given, settings

from anycastd.model.nft import DropElement, Key, Limit, NftObserved, NftSet, PutElement, Value
from anycastd.reconcile.nft import diff
from tests.property.eip_histories import ANYTHING
from tests.unit.reconcile.filter import Tables, apply, observed, tables

A, B, C = (ip_address(f"203.0.113.{last}") for last in (1, 2, 3))
NET = ip_network("203.0.113.0/24")
MARK, OTHER = 0x01000001, 0x02000002


def elements(*them: tuple[NftSet, Key, Value]) -> Tables:
    found = tables()
    for name, key, value in them:
        found[name][key] = value
    return found


BOUND = elements(
    (NftSet.OWN4, NET, None),
    (NftSet.EIP4, A, 5),
    (NftSet.IN4, A, None),
    (NftSet.LIMIT_IN4, A, Limit(1, 65536)),
    (NftSet.POOL, 5, MARK),
    (NftSet.TRANSLATED, MARK, None),
    (NftSet.NAT4, MARK, ip_address("10.0.0.1")),
    (NftSet.HIDE4, MARK, ip_address("10.255.0.1")),
)
IDLE = elements((NftSet.OWN4, NET, None), (NftSet.IN4, A, None), (NftSet.IDLE4, A, None))


def names(wanted: Tables, there: Tables, reassigned: frozenset[int] = frozenset()) -> list[str]:
    changes = diff(wanted, observed(there), None, reassigned)
    return [f"{'+' if isinstance(one, PutElement) else '-'}{one.set.value}" for one in changes]


def test_from_nothing_what_leads_to_it_comes_last() -> None:
    wanted = ["+translated", "+nat4", "+hide4", "+pool", "+in4", "+limin4", "+eip4", "+own4"]
    assert names(BOUND, tables()) == wanted


def test_to_nothing_the_other_way_round() -> None:
    assert names(tables(), BOUND) == ["-own4", "-eip4", "-in4", "-limin4", "-pool", "-nat4", "-hide4", "-translated"]


def test_binding_and_unbinding() -> None:
    assert names(BOUND, IDLE) == ["+translated", "+nat4", "+hide4", "+pool", "+limin4", "+eip4", "-idle4"]
    assert names(IDLE, BOUND) == ["+idle4", "-eip4", "-limin4", "-pool", "-nat4", "-hide4", "-translated"]


def test_from_one_path_to_several_and_back() -> None:
    single = elements((NftSet.POOL, 5, MARK))
    several = elements((NftSet.SLOT, (5, 0), MARK), (NftSet.SLOT, (5, 1), OTHER))
    assert names(several, single) == ["+slot", "+slot", "-pool"]
    assert names(single, several) == ["+pool", "-slot", "-slot"]


def test_an_eip_is_untracked_only_while_its_paths_need_no_translation() -> None:
    stateless = elements((NftSet.EIP4, A, 6), (NftSet.FREE4, A, None))
    assert names(stateless, elements((NftSet.EIP4, A, 5))) == ["+eip4", "+free4"]
    assert names(elements((NftSet.EIP4, A, 5)), stateless) == ["-free4", "+eip4"]


def test_prefixes_that_overlap_change_hands_at_once() -> None:
    half, whole = ip_network("203.0.113.0/25"), NET
    wanted = elements((NftSet.OWN4, half, None), (NftSet.IN4, A, None))
    there = elements(
        (NftSet.OWN4, whole, None), (NftSet.OWN4, ip_network("198.51.100.0/24"), None), (NftSet.EIP4, A, 5)
    )
    assert diff(wanted, observed(there)) == (
        PutElement(NftSet.IN4, A),
        DropElement(NftSet.OWN4, whole),
        PutElement(NftSet.OWN4, half),
        DropElement(NftSet.OWN4, ip_network("198.51.100.0/24")),
        DropElement(NftSet.EIP4, A),
    )


class _Counted(IPv4Network):
    """A prefix that counts how often one is held against another."""

    asked = 0

    def overlaps(self, other: object) -> bool:
        _Counted.asked += 1
        return super().overlaps(other)  # type: ignore[arg-type]


def test_many_prefixes_that_change_hands_are_not_each_held_against_each() -> None:
    """As when many are split: with 2,000 and as many EIPs that go it took half a minute, without a failover."""
    whole = [_Counted((0x0A000000 + (n << 8), 24)) for n in range(200)]
    halves = [_Counted((int(net.network_address) + half, 25)) for net in whole for half in (0, 128)]
    wanted = elements(*((NftSet.OWN4, net, None) for net in halves))
    there = elements(
        *((NftSet.OWN4, net, None) for net in whole),
        *((NftSet.EIP4, ip_address("192.0.2.0") + n, 5) for n in range(200)),
    )
    _Counted.asked = 0
    changes = diff(wanted, observed(there))
    assert _Counted.asked <= len(changes)
    kinds = [type(one) for one in changes]
    assert kinds == [DropElement] * 200 + [PutElement] * 400 + [DropElement] * 200


def test_a_number_that_stands_for_something_else_is_used_when_nobody_uses_it_any_more() -> None:
    """Pool 5 was A's and becomes B's, who is new; A's pool is 6 now: A's packets must never meet B's path."""
    there = elements((NftSet.EIP4, A, 5), (NftSet.SLOT, (5, 0), MARK), (NftSet.SLOT, (5, 1), MARK))
    wanted = elements(
        (NftSet.EIP4, A, 6),
        (NftSet.SLOT, (6, 0), MARK),
        (NftSet.SLOT, (6, 1), MARK),
        (NftSet.EIP4, B, 5),
        (NftSet.POOL, 5, OTHER),
    )
    assert diff(wanted, observed(there), None, frozenset({5})) == (
        PutElement(NftSet.SLOT, (6, 0), MARK),
        PutElement(NftSet.SLOT, (6, 1), MARK),
        PutElement(NftSet.EIP4, A, 6),
        DropElement(NftSet.SLOT, (5, 0)),
        DropElement(NftSet.SLOT, (5, 1)),
        PutElement(NftSet.POOL, 5, OTHER),
        PutElement(NftSet.EIP4, B, 5),
    )


def test_a_limit_that_changed_is_put_again() -> None:
    there = elements((NftSet.LIMIT_OUT4, A, Limit(1, 65536)))
    wanted = elements((NftSet.LIMIT_OUT4, A, Limit(2, 65536)))
    assert diff(wanted, observed(there)) == (PutElement(NftSet.LIMIT_OUT4, A, Limit(2, 65536)),)


def test_nothing_before_the_first_read() -> None:
    assert diff(BOUND, NftObserved()) == ()


@given(ANYTHING, ANYTHING)
@settings(max_examples=50, deadline=None)
def test_it_converges_and_names_only_what_differs(wanted: Tables, there: Tables) -> None:
    changes = diff(wanted, observed(there))
    for change in changes:
        if isinstance(change, DropElement):
            assert change.key in there[change.set]
            assert change.key not in wanted[change.set]
        else:
            assert change.key not in there[change.set] or there[change.set][change.key] != change.value
            assert wanted[change.set][change.key] == change.value
    apply(there, changes)
    assert there == wanted
    assert diff(wanted, observed(there)) == ()


def test_with_keys_only_those_are_looked_at() -> None:
    keys = [(NftSet.EIP4, A), (NftSet.IDLE4, A), (NftSet.EIP4, C)]
    assert diff(BOUND, observed(IDLE), keys) == (PutElement(NftSet.EIP4, A, 5), DropElement(NftSet.IDLE4, A))
