"""When the packet filter is told, and when it is not yet; whose elements go, and whose stay."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anycastd.model.address import Prefix, RegionName
from anycastd.model.eip import Eip, EipId, FlushConnections
from anycastd.model.health import Health, HealthView
from anycastd.model.nft import Key, NftChange, NftObserved, NftSet
from anycastd.model.topology import Config, PrefixSpec, PrefixTimers
from anycastd.reconcile.eip_plane import EipPlane
from anycastd.reconcile.eip_pool import Moved
from anycastd.runtime.loop import steering as words
from anycastd.runtime.loop.steering import Steering
from tests.unit.policy.eips import BAD, CONFIG, NET4, NET6, bound, eip, to, view_of, world
from tests.unit.policy.pops import Place
from tests.unit.runtime.world import Nft, World

US = RegionName("us")
ONE, TWO = ip_address("203.0.113.1"), ip_address("203.0.113.2")
HALF, OTHER = ip_network("203.0.113.0/25"), ip_network("198.51.100.0/24")
BOTH = bound("eu/web-1", to("us/web-1", priority=2))


def with_prefixes(*prefixes: Prefix, linger_s: float = 300.0, config: Config = CONFIG) -> Config:
    timers = PrefixTimers(linger_s=linger_s)
    return replace(config, prefixes={prefix: PrefixSpec(prefix=prefix, timers=timers) for prefix in prefixes})


class Daemon:
    """The steering of one daemon, on a packet filter that may have seen others before."""

    def __init__(
        self,
        nft: Nft,
        config: Config = CONFIG,
        eips: Iterable[Eip] = (),
        *,
        complete: bool = True,
        filled: bool = True,
    ) -> None:
        self.nft, self.config, self.now_s = nft, config, 0.0
        self.states: dict[str, Health] = {}
        self.latency_ms: dict[str, float] = {}
        self.complete, self.filled = complete, filled
        self.moves: list[Moved] = []
        self.steering = Steering(nft, self.moves.append)
        self.steering.is_complete = lambda: self.complete
        self.steering.is_filled = lambda: self.filled
        self.steering.configure(config, view_of({}, config=config), 0.0)
        for one in eips:
            self.steering.put(one, 0.0)
        self.act()

    def act(self, after_s: float = 0.0, *, anew: bool = False) -> None:
        self.now_s += after_s
        health = view_of(self.states, latency_ms=self.latency_ms, config=self.config)
        self.steering.act(health, {}, self.now_s, anew=anew)

    def reload(self, config: Config, gone: Iterable[Eip] = (), new: Iterable[Eip] = ()) -> None:
        """Take a configuration as the daemon does: the loop first, then the EIPs of the file."""
        left = self.config.prefixes.keys() - config.prefixes.keys()
        for prefix in left:
            self.steering.linger({prefix: self.now_s + self.config.prefixes[prefix].timers.linger_s})
        self.config = config
        self.steering.configure(config, view_of(self.states, config=config), self.now_s)
        self.act()
        for one in gone:
            self.steering.drop(one.address, self.now_s)
        for one in new:
            self.steering.put(one, self.now_s)
        self.act()

    def has(self, name: NftSet) -> set[Key]:
        return set(self.nft.elements[name])


def without(name: str) -> Config:
    """Return the configuration without a region."""
    region = RegionName(name)
    return replace(
        CONFIG,
        regions={key: one for key, one in CONFIG.regions.items() if key != region},
        tunnels={key: one for key, one in CONFIG.tunnels.items() if one.region != region},
        backends={key: one for key, one in CONFIG.backends.items() if one.region != region},
        probes=tuple(one for one in CONFIG.probes if one.region != region),
    )


def left_by(config: Config, *eips: Eip) -> Nft:
    return Daemon(Nft(), config, eips).nft


def anew(world: World) -> None:
    """Begin with a packet filter that holds nothing."""
    for elements in world.nft.elements.values():
        elements.clear()
    world.nft.resync += 1


def test_nothing_is_told_before_the_eips_of_a_start_are_here() -> None:
    world = World()
    steering, filled = world.control.forwarder.steering, False
    steering.is_filled = lambda: filled
    anew(world)
    world.answer("")
    assert not any(world.nft.elements.values()), "a prefix alone would be announced, its packets dropped as nobody's"
    filled = True
    world.settle()
    assert world.nft.elements[NftSet.OWN4]
    assert world.nft.elements[NftSet.EIP4]


def test_while_much_is_under_way_the_rest_is_told_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(words, "TOLD_ANEW", 5)
    world = World()
    world.answer("")
    some = next(iter(world.control.config.eips.values()))
    prefix = next(iter(world.control.config.prefixes))
    new = [replace(some, address=prefix[number], id=EipId(f"eip-{number:08x}")) for number in (101, 102)]

    def put(eip: Eip) -> None:
        world.control.forwarder.steering.put(eip, world.now_s)

    put(new[0])
    world.nft.busy = True
    world.settle()
    assert new[0].address in world.nft.elements[NftSet.IN4], "a little is told at once, busy or not"
    anew(world)
    world.nft.busy = False
    monkeypatch.setattr(world.nft, "refuses", True)
    world.settle()
    monkeypatch.setattr(world.nft, "refuses", False)
    world.nft.busy = True
    put(new[1])
    world.settle()
    assert not world.nft.elements[NftSet.IN4]
    assert world.control.forwarder.steering.held
    world.nft.busy = False
    world.settle()
    assert {eip.address for eip in new} <= world.nft.elements[NftSet.IN4].keys()
    assert not world.control.forwarder.steering.held


# what a daemon before us left


def test_with_a_store_that_cannot_be_read_nothing_of_its_eips_goes() -> None:
    nft = left_by(CONFIG, eip(1, BOTH), eip(2, bound("ap/web-1")))
    before = {name: dict(some) for name, some in nft.elements.items()}
    daemon = Daemon(nft, CONFIG, [eip(1, BOTH)], complete=False)
    assert nft.elements == before
    daemon.complete = True
    daemon.act()
    assert daemon.has(NftSet.EIP4) == {ONE}, "now it is known that nobody wants it"


def settle(daemon: Daemon) -> None:
    """Let what was done be looked at, and once more."""
    for _ in range(3):
        daemon.act()


def test_what_waits_for_the_store_is_not_compared_at_each_look(monkeypatch: pytest.MonkeyPatch) -> None:
    nft = left_by(CONFIG, eip(1, BOTH), eip(2, bound("ap/web-1")))
    daemon = Daemon(nft, CONFIG, [eip(1, BOTH)], complete=False)
    settle(daemon)
    compared, changes = list[NftObserved](), EipPlane.changes

    def noting(plane: EipPlane, seen: NftObserved) -> tuple[NftChange, ...]:
        compared.append(seen)
        return changes(plane, seen)

    monkeypatch.setattr(EipPlane, "changes", noting)
    daemon.act()
    assert not compared, "10,000 elements that wait cost 150 ms"
    daemon.steering.put(eip(3, BOTH), daemon.now_s)
    settle(daemon)
    assert compared
    assert eip(3).address in nft.elements[NftSet.EIP4]
    count = len(compared)
    daemon.act()
    assert len(compared) == count
    daemon.act(anew=True)
    assert len(compared) == count + 1


@pytest.mark.parametrize("complete", [True, False])
def test_an_eip_that_is_known_is_rid_of_what_it_was(complete: bool) -> None:
    was = replace(eip(1), blocked=True)
    nft = left_by(CONFIG, was, eip(2, BOTH))
    assert ONE in nft.elements[NftSet.IDLE4]
    daemon = Daemon(nft, CONFIG, [eip(1, BOTH)], complete=complete)
    assert daemon.has(NftSet.IDLE4) == set(), "its packets would be dropped for as long as the store cannot be read"
    assert len(nft.marks_of(ONE)) == 1


def test_an_eip_of_a_prefix_that_left_the_file_is_rid_of_what_it_was() -> None:
    nft = left_by(CONFIG, eip(1), eip(2, BOTH))
    stored = eip(1, BOTH)
    Daemon(nft, with_prefixes(OTHER), [stored])
    assert ONE not in nft.elements[NftSet.IDLE4]
    assert TWO in nft.elements[NftSet.EIP4], "another one there may be bound still"


def test_the_single_path_of_a_pool_that_has_several_now_goes() -> None:
    several = bound("eu/web-1", "eu/web-2")
    nft = left_by(CONFIG, eip(1, several), eip(2, BOTH))
    pool = next(iter(key[0] for key in nft.elements[NftSet.SLOT] if isinstance(key, tuple)))
    nft.elements[NftSet.SLOT].clear()
    nft.elements[NftSet.POOL][pool] = 0x01000001
    Daemon(nft, CONFIG, [eip(1, several)], complete=False)
    assert pool not in nft.elements[NftSet.POOL], "it is looked up first, and would be for ever"
    assert len(nft.marks_of(ONE)) == 2


@pytest.mark.parametrize("complete", [True, False])
def test_a_prefix_that_became_wider_takes_the_place_of_the_old_one(complete: bool) -> None:
    nft = left_by(with_prefixes(HALF), eip(1, BOTH))
    daemon = Daemon(nft, with_prefixes(NET4), [eip(1, BOTH)], complete=complete)
    assert daemon.has(NftSet.OWN4) == {NET4}, "the kernel refuses both at once"


def test_a_prefix_that_the_file_lost_is_carried_with_its_eips_for_the_linger_time() -> None:
    nft = left_by(CONFIG, eip(1, BOTH))
    daemon = Daemon(nft, with_prefixes(OTHER))
    daemon.act(299.0)
    assert nft.marks_of(ONE)
    assert daemon.steering.next_s() == 300.0
    daemon.act(2.0)
    assert not daemon.has(NftSet.EIP4) | daemon.has(NftSet.POOL) | daemon.has(NftSet.TRANSLATED)
    assert daemon.has(NftSet.OWN4) == {OTHER}
    assert daemon.steering.next_s() is None


def test_a_prefix_that_is_spared_is_carried_as_long_as_it_is() -> None:
    nft = left_by(CONFIG, eip(1, BOTH))
    daemon = Daemon(nft, with_prefixes(OTHER))
    for _ in range(10):
        daemon.steering.keep({NET4}, daemon.now_s)
        daemon.act(100.0)
    assert nft.marks_of(ONE)
    daemon.act(300.0)
    assert daemon.has(NftSet.OWN4) == {OTHER}
    assert not daemon.has(NftSet.EIP4)


def test_pools_go_on_where_the_kernel_is_though_the_first_verdict_came_before_the_eips() -> None:
    one = eip(1, bound("eu/web-1", "us/web-1"))
    daemon = Daemon(Nft(), CONFIG, [one])
    daemon.states = {"eu/web-1": BAD}
    daemon.act()
    there = daemon.nft.marks_of(ONE)
    again = Daemon(daemon.nft, CONFIG, filled=False)
    again.states = {"ap": BAD}
    again.act()
    again.steering.put(one, 0.0)
    again.filled = True
    again.act()
    assert daemon.nft.marks_of(ONE) == there, "of two that are as good it stays where it is"


# reloads


def test_what_lingers_is_carried_and_then_goes() -> None:
    one = eip(1, BOTH)
    daemon = Daemon(Nft(), with_prefixes(NET4, OTHER, linger_s=60.0), [one])
    daemon.reload(with_prefixes(OTHER), gone=[one])
    assert daemon.steering.next_s() == 60.0
    daemon.act(59.0)
    assert daemon.nft.marks_of(ONE)
    daemon.act(2.0)
    assert daemon.has(NftSet.OWN4) == {OTHER}
    assert not daemon.has(NftSet.EIP4)
    assert daemon.nft.flushed == [FlushConnections(0, 0, ONE)]
    assert daemon.steering.view(ONE, daemon.nft.observed) is not None
    assert daemon.steering.next_s() is None


@pytest.mark.parametrize("comes_back", [True, False])
def test_a_prefix_that_comes_back_while_it_lingers_brings_only_the_eips_of_the_file(comes_back: bool) -> None:
    one, two = eip(1, BOTH), eip(2, BOTH)
    both = with_prefixes(NET4, OTHER, linger_s=60.0)
    daemon = Daemon(Nft(), both, [one, two])
    daemon.reload(with_prefixes(OTHER), gone=[one, two])
    daemon.act(10.0)
    daemon.reload(both, new=[one, two] if comes_back else [one])
    daemon.act(100.0)
    assert daemon.has(NftSet.EIP4) == ({ONE, TWO} if comes_back else {ONE})
    assert FlushConnections(0, 0, ONE) not in daemon.nft.flushed
    assert (FlushConnections(0, 0, TWO) in daemon.nft.flushed) is not comes_back
    assert daemon.steering.next_s() is None


def test_two_reloads_in_a_row_shorten_no_linger_time() -> None:
    one = eip(1, BOTH)
    daemon = Daemon(Nft(), with_prefixes(NET4, OTHER, HALF, linger_s=60.0), [one])
    daemon.reload(with_prefixes(OTHER, HALF, linger_s=60.0), gone=[one])
    daemon.reload(with_prefixes(OTHER, linger_s=60.0))
    daemon.reload(with_prefixes(OTHER, linger_s=5.0))
    daemon.act(59.0)
    assert daemon.nft.marks_of(ONE)
    daemon.act(2.0)
    assert not daemon.has(NftSet.EIP4)


def test_a_region_that_left_the_file_takes_its_packets_and_connections_elsewhere() -> None:
    daemon = Daemon(Nft(), CONFIG, [eip(1, BOTH)])
    (there,) = daemon.nft.marks_of(ONE)
    daemon.reload(without("eu"))
    (now,) = daemon.nft.marks_of(ONE)
    assert now >> 24 == CONFIG.regions[US].number
    assert FlushConnections(there & 0xFF000000, 0xFF000000) in daemon.nft.flushed
    daemon.reload(CONFIG)
    assert daemon.nft.marks_of(ONE) == {there}


# health


def test_only_news_are_looked_at() -> None:
    daemon = Daemon(Nft(), CONFIG, [eip(1, bound("eu/web-1", "us/web-1"))])
    looked: list[frozenset[str]] = []
    whole = daemon.steering.plane.on_health

    def counted(health: HealthView, regions: frozenset[RegionName] | None, now_s: float) -> tuple[Moved, ...]:
        looked.append(frozenset(regions or ()))
        return whole(health, regions, now_s)

    daemon.steering.plane.on_health = counted  # type: ignore[method-assign]
    daemon.act()
    daemon.states = {"ap": BAD}
    daemon.act()
    daemon.act()
    assert looked == [frozenset({"ap"})]


@pytest.mark.parametrize(
    ("family", "key"),
    [("4", "eu/a"), ("6", "eu/b")],
)
def test_a_tunnel_that_grew_slow_is_news_for_its_own_family(family: str, key: str) -> None:
    places = {
        "eu": Place({"a": "4", "b": "6"}, {"web-1": 4, "six": 6}),
        "us": Place({"a": "46"}, {"web-1": 4, "six": 6}),
    }
    config = with_prefixes(NET4, NET6, config=world(places))
    backend = "web-1" if family == "4" else "six"
    address = "203.0.113.1" if family == "4" else "2001:db8:113::1"
    daemon = Daemon(Nft(), config)
    daemon.latency_ms = {"eu/a": 10.0, "eu/b": 10.0, "us": 40.0}
    daemon.act()
    daemon.steering.put(eip(address, bound(f"eu/{backend}", f"us/{backend}")), 0.0)
    daemon.act()
    before = daemon.nft.marks_of(ip_address(address))
    daemon.latency_ms |= {key: 100.0}
    daemon.act()
    assert daemon.nft.marks_of(ip_address(address)) != before


def test_a_failure_in_the_middle_loses_no_news(monkeypatch: pytest.MonkeyPatch) -> None:
    daemon = Daemon(Nft(), CONFIG, [eip(1, BOTH)])
    before = daemon.nft.marks_of(ONE)

    def fails(*_: object) -> tuple[Moved, ...]:
        raise RuntimeError

    with monkeypatch.context() as patch:
        patch.setattr(daemon.steering.plane, "on_health", fails)
        daemon.states = {"eu": BAD}
        with pytest.raises(RuntimeError):
            daemon.act()
    daemon.act()
    assert daemon.nft.marks_of(ONE) != before


def test_packets_move_before_anybody_is_told() -> None:
    daemon = Daemon(Nft(), CONFIG, [eip(1, BOTH)])
    seen: list[set[int]] = []
    daemon.steering._moved = lambda moved: seen.append(daemon.nft.marks_of(ONE))
    before = daemon.nft.marks_of(ONE)
    daemon.states = {"eu": BAD}
    daemon.act()
    assert seen == [daemon.nft.marks_of(ONE)] != [before]


def test_a_filter_that_refuses_everything_for_a_while_is_told_all_of_it_again() -> None:
    daemon = Daemon(Nft(), CONFIG, [eip(1, BOTH)])
    daemon.nft.refuses = True
    daemon.states = {"eu": BAD}
    daemon.steering.put(eip(2, BOTH), 0.0)
    daemon.steering.drop(ONE, 0.0)
    for _ in range(3):
        daemon.act(1.0)
    assert daemon.steering.plane.missing
    daemon.nft.refuses = False
    # nothing else was read meanwhile: it is told again at the next tick
    daemon.act(1.0, anew=True)
    daemon.act()
    assert daemon.has(NftSet.EIP4) == {TWO}
    assert {mark >> 24 for mark in daemon.nft.marks_of(TWO)} == {CONFIG.regions[US].number}
    assert daemon.steering.plane.missing == 0


class Late(Nft):
    """A packet filter that does what it is told when the test says so: of changes to one element the last."""

    def __init__(self) -> None:
        super().__init__()
        self.queue: dict[tuple[NftSet, Key], NftChange] = {}
        self.kept = super().observed
        self.times = 0

    @property
    def observed(self) -> NftObserved:
        return self.kept

    def apply(self, changes: Sequence[NftChange], /) -> None:
        self.times += 1
        self.queue |= {(one.set, one.key): one for one in changes}

    def do(self) -> None:
        changes, self.queue = list(self.queue.values()), {}
        before = len(self.done)
        super().apply(changes)
        if len(self.done) > before and not self.refuses:
            self.kept = super().observed


def test_what_is_taken_back_before_the_kernel_did_it_is_not_done() -> None:
    nft = Late()
    daemon = Daemon(nft, CONFIG, [eip(1), eip(2, BOTH)])
    nft.do()
    daemon.act()
    daemon.steering.put(eip(1, BOTH), 0.0)
    daemon.steering.put(eip(2), 0.0)
    daemon.act()
    daemon.steering.put(eip(1), 0.0)
    daemon.steering.put(eip(2, BOTH), 0.0)
    daemon.act()
    nft.do()
    daemon.act()
    nft.do()
    assert daemon.has(NftSet.EIP4) == {TWO}, "an EIP that was unbound would stay bound until something else is read"
    assert daemon.has(NftSet.IDLE4) == {ONE}
    daemon.act()
    assert daemon.steering.plane.missing == 0


def test_a_change_that_is_refused_again_and_again_is_told_again_at_each_look_at_everything_only() -> None:
    nft = Late()
    daemon = Daemon(nft, CONFIG, [eip(1, BOTH)])
    nft.do()
    daemon.act()
    nft.refuses, nft.times = True, 0
    daemon.steering.put(eip(2, BOTH), 0.0)
    for _ in range(5):
        daemon.act()
        nft.do()
    assert nft.times == 1
    daemon.act(anew=True)
    assert nft.times == 2
    daemon.steering.put(eip(3), 0.0)
    daemon.act()
    assert nft.times == 3


# what carries a prefix


@pytest.mark.parametrize(
    ("own", "rules", "asked", "carried"),
    [
        ([NET4], True, NET4, True),
        ([NET4], True, HALF, True),
        ([HALF], True, NET4, False),
        ([NET4], False, NET4, False),
        ([NET4], True, NET6, False),
        ([], True, NET4, False),
        ([ip_network("0.0.0.0/0")], True, NET4, True),
        ([NET6], True, ip_network("2001:db8:113:8000::/49"), True),
    ],
)
def test_a_prefix_is_carried_when_it_was_read_back(
    own: list[Prefix], rules: bool, asked: Prefix, carried: bool
) -> None:
    daemon = Daemon(Nft(), CONFIG)
    for name in (NftSet.OWN4, NftSet.OWN6):
        daemon.nft.elements[name].clear()
    for prefix in own:
        daemon.nft.elements[NftSet.OWN4 if prefix.version == 4 else NftSet.OWN6][prefix] = None
    daemon.nft.rules = rules
    assert daemon.steering.carries(asked) is carried


EIPS = st.lists(
    st.builds(
        lambda last, binding, blocked: eip(last, binding, blocked=blocked),
        st.integers(1, 4),
        st.sampled_from((None, BOTH, bound("eu/web-1"), bound("eu/web-1", "eu/web-2"), bound("ap/web-1"))),
        st.booleans(),
    ),
    max_size=4,
    unique_by=lambda one: one.address,
)


@settings(max_examples=25)
@given(before=EIPS, known=EIPS, rest=EIPS)
def test_whatever_was_left_the_known_stand_the_unknown_stay_and_in_the_end_all_is_as_if_begun_anew(
    before: list[Eip], known: list[Eip], rest: list[Eip]
) -> None:
    nft = left_by(CONFIG, *before)
    left = {name: dict(some) for name, some in nft.elements.items()}
    daemon = Daemon(nft, CONFIG, known, complete=False)
    names = {one.address for one in known}
    alone = Daemon(Nft(), CONFIG, known)
    for one in known:
        assert nft.marks_of(one.address) == alone.nft.marks_of(one.address)
        assert daemon.steering.view(one.address, nft.observed) == alone.steering.view(one.address, alone.nft.observed)
    for name in words.OF_ADDRESSES:
        for key, value in left[name].items():
            if key not in names:
                assert nft.elements[name][key] == value
    unknown = [one for one in rest if one.address not in names]
    for one in unknown:
        daemon.steering.put(one, 0.0)
        alone.steering.put(one, 0.0)
    daemon.complete = True
    daemon.act()
    alone.act()
    assert nft.elements == alone.nft.elements
