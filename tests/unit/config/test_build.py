"""What a file is built into."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anycastd.config.document import parse
from anycastd.config.load import load
from anycastd.config.rules.findings import Findings
from anycastd.config.rules.known import known_of
from anycastd.config.slots import TABLE_SLOTS, table_slots
from anycastd.config.validate import validate
from anycastd.model.address import BackendId, CheckId, NeighborName, RegionName, TunnelId
from anycastd.model.checks import (
    BadWhen,
    CheckKind,
    DnsOptions,
    ExecOptions,
    Expiring,
    FileOptions,
    HttpOptions,
    Limit,
    Limits,
    NameTarget,
    Resolver,
    TlsOptions,
)
from anycastd.model.dns import Rcode, RecordType, Transport, Truncated
from anycastd.model.eip import Mode
from anycastd.model.topology import (
    AtLeast,
    Condition,
    Config,
    DeadMan,
    Group,
    LastResort,
    Member,
    MemberKind,
    Need,
    ReturnPath,
    Scope,
    WhenDegraded,
)
from tests.unit.config.places import EXAMPLE, GOOD, SMALLEST, load_text


@pytest.fixture(scope="module")
def dual() -> Config:
    return load(str(GOOD / "dual-stack.yaml"))


def test_ids_of_probes(dual: Config) -> None:
    assert [probe.id for probe in dual.probes] == [
        "tunnel/eu/both/ping",
        "tunnel/eu/both/ping#6",
        "tunnel/eu/both/link",
        "tunnel/eu/both/link#6",
        "tunnel/eu/only6/ping#6",
        "tunnel/eu/only6/icmp#6",
        "tunnel/eu/only6/icmp-2#6",
        "tunnel/eu/only6/device#6",
        "backend/eu/four/site@both",
        "backend/eu/six/site@both",
        "backend/eu/six/site@only6",
        "tunnel/us/t1/ping",
        "tunnel/us/t1/device",
        "backend/us/web/ping@t1",
    ]
    assert [probe.id for probe in dual.self_test.probes] == ["self/gateway/ping", "self/uplink/link"]


def test_probes_go_where_they_should(dual: Config) -> None:
    probes = {probe.id: probe for probe in dual.probes}
    six = probes[CheckId("tunnel/eu/both/ping#6")]
    assert (six.target, six.source, six.device) == (ip_address("fd00:1::2"), ip_address("fd00:1::1"), None)
    assert (six.region, six.tunnel, six.backend) == ("eu", "eu/both", None)
    link = probes[CheckId("tunnel/eu/both/link")]
    assert (link.check.kind, link.device, link.source) == (CheckKind.LINK, "vx1", ip_address("10.255.1.1"))
    through = probes[CheckId("backend/eu/six/site@only6")]
    assert (through.target, through.source) == (ip_address("fd00:10::11"), ip_address("fd00:2::1"))
    assert (through.region, through.tunnel, through.backend) == ("eu", "eu/only6", "eu/six")


def test_timing_and_options(dual: Config) -> None:
    probes = {probe.id: probe for probe in dual.probes}
    timing = probes[CheckId("tunnel/eu/both/ping")].check.timing
    assert (timing.interval_s, timing.timeout_s, timing.fast_interval_s) == (0.5, 0.2, 0.1)
    assert (timing.rise, timing.fall) == (5, 2)
    assert probes[CheckId("backend/eu/four/site@both")].check.options == HttpOptions(
        port=8443,
        host="www.example.net",
        status=(200, 204),
        tls=True,
        server_name="www.example.net",
        ca_file=str(GOOD / "authorities.pem"),
    )


def test_neighbors(dual: Config) -> None:
    six = dual.neighbors[NeighborName("v6")]
    assert (six.hold_time_s, six.graceful_restart_s, six.multihop, six.local_asn) == (3, 120, 5, 4200000001)
    assert [family.value for family in six.families] == ["ipv6-unicast", "ipv4-unicast"]
    assert six.export.communities == ("64497:100", "64497:20")
    assert (six.export.next_hop_ipv4, six.export.med) == (ip_address("198.51.100.6"), 50)
    assert dual.neighbors[NeighborName("v4")].families == ("ipv4-unicast",)
    assert not dual.neighbors[NeighborName("rr")].is_ebgp


def test_prefixes(dual: Config) -> None:
    four = dual.prefixes[ip_network("203.0.113.0/24")]
    assert four.neighbors == ("v4", "rr")
    assert four.announce_when == Condition(Scope.REGIONS, Need(count=2))
    assert (four.last_resort, four.dead_man) == (LastResort.STAY, DeadMan.KEEP)
    six = dual.prefixes[ip_network("2001:db8:113::/48")]
    assert six.neighbors == ("v6",)
    assert six.announce_when == Condition(Scope.BACKENDS, Need(count=1), (RegionName("eu"),))
    assert (six.last_resort, six.dead_man, six.dead_man_after_s) == (LastResort.WITHDRAW, DeadMan.WITHDRAW, 3600.0)


def test_timers_of_a_prefix_go_before_the_global_ones_before_the_defaults(dual: Config) -> None:
    timers = dual.prefixes[ip_network("203.0.113.0/24")].timers
    assert (timers.return_after_s, timers.linger_s, timers.settle_s, timers.half_life_s) == (600.0, 600.0, 1.5, 900.0)


def test_regions(dual: Config) -> None:
    assert dual.regions[RegionName("eu")].usable_when == Need(all=True)
    us = dual.regions[RegionName("us")]
    assert (us.usable_when, us.priority, us.tunnels, us.backends) == (Need(percent=50), 2, ("us/t1",), ("us/web",))
    assert dual.backends[BackendId("us/web")].address == ip_address("10.10.0.11")


def test_sections_of_their_own(dual: Config) -> None:
    assert (dual.logging.level, dual.logging.format) == ("debug", "json")
    assert type(dual.logging.level) is str
    assert (dual.kernel.protocol, dual.kernel.table_base, dual.state_dir) == (202, 2000, "/srv/anycastd")


def test_tables_lie_in_the_range_of_the_file(dual: Config) -> None:
    tables = [tunnel.table for tunnel in dual.tunnels.values()]
    assert all(2000 <= table < 2000 + TABLE_SLOTS for table in tables)
    assert len(set(tables)) == 3


@given(st.sets(st.text("abcdefgh/", min_size=1, max_size=6), min_size=1, max_size=TABLE_SLOTS))
def test_every_tunnel_has_a_slot_of_its_own(names: set[str]) -> None:
    slots = table_slots(names)
    assert slots.keys() == names
    assert len(set(slots.values())) == len(names)
    assert all(0 <= slot < TABLE_SLOTS for slot in slots.values())
    assert slots == table_slots(reversed(sorted(names)))


def test_adding_a_tunnel_renumbers_no_other() -> None:
    names = {f"region-{n}/tunnel" for n in range(20)}
    before = table_slots(names)
    moved = [
        new for new in range(500) if (table_slots({*names, f"new/{new}"}).items() & before.items()) != before.items()
    ]
    assert len(moved) <= 500 * 20 // TABLE_SLOTS * 2  # only names that fall on a taken slot, and of these about half


def test_defaults_are_those_of_the_model(tmp_path: Path) -> None:
    config = load_text(SMALLEST, tmp_path)
    plain = Config(
        pop=config.pop, neighbors={}, regions={}, tunnels={}, backends={}, probes=(), prefixes={},
    )  # fmt: skip
    same = ("self_test", "api", "logging", "bgp", "kernel", "eip", "eips", "state_dir")
    assert {name: getattr(config, name) for name in same} == {name: getattr(plain, name) for name in same}
    (prefix,) = config.prefixes.values()
    assert replace(prefix, neighbors=()) == type(prefix)(prefix=prefix.prefix)
    (neighbor,) = config.neighbors.values()
    assert neighbor == type(neighbor)(
        name=neighbor.name,
        address=ip_address("198.51.100.1"),
        asn=64496,
        local_address=ip_address("198.51.100.2"),
        local_asn=64500,
    )


def test_the_example_shows_the_defaults_it_says_it_shows(tmp_path: Path) -> None:
    example, plain = load(str(EXAMPLE)), load_text(SMALLEST, tmp_path)
    for section in ("api", "logging", "bgp", "kernel", "state_dir"):
        assert getattr(example, section) == getattr(plain, section)
    assert replace(example.eip, uplinks=()) == plain.eip
    assert {spec.timers for spec in example.prefixes.values()} == {spec.timers for spec in plain.prefixes.values()}


def test_the_numbers_of_the_regions_of_the_example_are_those_it_shows() -> None:
    example = load(str(EXAMPLE))
    assert [(region.number, region.mode, region.traffic_dial_percentage) for region in example.regions.values()] == [
        (31, Mode.MASQUERADE, 100),
        (122, Mode.ROUTED, 100),
    ]


def test_what_is_written_of_a_region(tmp_path: Path) -> None:
    text = SMALLEST.replace(
        "  eu:", "  eu:\n    number: 255\n    mode: dnat\n    return_path: gateway\n    traffic_dial: 0"
    )
    (region,) = load_text(text, tmp_path).regions.values()
    assert (region.number, region.mode, region.return_path, region.traffic_dial_percentage) == (
        255, Mode.DNAT, ReturnPath.GATEWAY, 0,
    )  # fmt: skip


def test_the_digest_is_of_the_text(tmp_path: Path) -> None:
    first, second = load_text(SMALLEST, tmp_path), load_text(SMALLEST + "# more\n", tmp_path)
    assert len(first.digest) == 12
    assert first.digest != second.digest
    assert replace(second, digest=first.digest) == first


def test_a_tunnel_keeps_its_table_when_others_come(tmp_path: Path) -> None:
    more = SMALLEST.replace(
        "tunnels: {", "tunnels: {t0: {device: gre0, local: 10.255.0.1, far_end: 10.255.0.2, checks: [{icmp: {}}]}, "
    )
    one, two = load_text(SMALLEST, tmp_path), load_text(more, tmp_path)
    assert len(two.tunnels) == 2
    assert one.tunnels[TunnelId("eu/t1")] == two.tunnels[TunnelId("eu/t1")]


def test_every_kind_has_its_options() -> None:
    probes = {probe.id: probe for probe in load(str(GOOD / "check-kinds.yaml")).probes}

    def options(id_: str) -> object:
        return probes[CheckId(id_)].check.options

    assert options("backend/eu/ns/names@t1") == DnsOptions(
        name="www.example.net", type=RecordType.AAAA, expect=("2001:db8::1",)
    )
    assert options("backend/eu/ns/zone@t2") == DnsOptions(
        name="example.net",
        type=RecordType.MX,
        port=5353,
        transport=Transport.TCP,
        recursion=False,
        contains=("10 mail.example.net",),
    )
    assert options("backend/eu/ns/gone@t1") == DnsOptions(
        name="old.example.net", rcode=Rcode.NXDOMAIN, truncated=Truncated.FAIL
    )
    assert options("backend/eu/ns/secure@t1") == TlsOptions(
        server_name="www.example.net",
        port=8443,
        expires_in_s=30 * 86400.0,
        expiring=Expiring.FAIL,
        ca_file=str(GOOD / "authorities.pem"),
    )
    assert options("backend/eu/ns/script@t1") == ExecOptions(argv=("/bin/true", "--all"))
    assert options("tunnel/eu/t2/line") == ExecOptions(argv=("test -e /run/x && echo yes",), shell=True)
    assert [probes[CheckId(id_)].device for id_ in ("backend/eu/ns/script@t1", "tunnel/eu/t2/line")] == ["gre1", "gre2"]
    assert options("tunnel/eu/t1/out") == FileOptions(path="/run/anycastd/maintenance")
    assert options("backend/eu/ns/in@t1") == FileOptions(path="/run/anycastd/serving", when=BadWhen.ABSENT)


def test_a_file_is_looked_at_once_for_both_families() -> None:
    ids = [probe.id for probe in load(str(GOOD / "check-kinds.yaml")).probes if probe.check.kind is CheckKind.FILE]
    assert [id_ for id_ in ids if id_.startswith("tunnel/eu/t1/")] == ["tunnel/eu/t1/out"]


def test_limits_of_checks() -> None:
    config = load(str(GOOD / "limits.yaml"))
    limits = {probe.check.name: probe.check.limits for probe in config.probes}
    share = Limit(40.0, 20.0)
    assert limits["quality"] == Limits(
        window=20, failures=share, loss=Limit(5.0, 2.5), latency_ms=Limit(80.0, 40.0), jitter_ms=Limit(20.0, 10.0)
    )
    assert limits["pair"] == Limits(
        window=40, failures=Limit(50.0, 10.0), loss=Limit(10.0, 2.5), latency_ms=Limit(80.0, 70.0)
    )
    assert limits["free"] == Limits()
    assert limits["slow-to-fall"] == Limits(window=40, failures=share)
    # the check that is added to each tunnel, and every link check that does not say otherwise
    assert limits["device"] == Limits()
    assert config.prefixes[ip_network("203.0.113.0/24")].when_degraded is WhenDegraded.DEPREF


def test_rules_and_groups() -> None:
    config = load(str(GOOD / "rules.yaml"))
    web = (Member(MemberKind.BACKEND, "eu/web-1"), Member(MemberKind.BACKEND, "eu/web-2"))
    assert config.regions[RegionName("eu")].usable_when == AtLeast(
        Need(all=True), (Member(MemberKind.BACKEND, "eu/db"), Group("web", Need(), web))
    )
    assert config.regions[RegionName("us")].usable_when == Need()
    ways = Group("ways", Need(percent=50), tuple(Member(MemberKind.TUNNEL, id_) for id_ in ("eu/t1", "eu/t2", "us/t1")))
    two = AtLeast(
        Need(count=2),
        (
            Member(MemberKind.REGION, "eu"),
            Member(MemberKind.REGION, "us"),
            Member(MemberKind.CHECK, "self/gw/ping"),
        ),
    )
    either = AtLeast(
        Need(),
        (
            Condition(Scope.TUNNELS, Need(all=True), (RegionName("us"),)),
            Condition(Scope.BACKENDS, Need(percent=50)),
        ),
    )
    assert config.prefixes[ip_network("198.18.0.0/24")].announce_when == AtLeast(Need(all=True), (ways, two, either))


def test_every_check_that_is_built_can_be_named_in_a_rule() -> None:
    """`known.py` makes the ids anew, without building: the two must agree."""
    for file in (EXAMPLE, GOOD / "dual-stack.yaml", GOOD / "rules.yaml", GOOD / "limits.yaml"):
        config = load(str(file))
        document = parse(file.read_text(), str(file))
        draft = validate(document)
        assert draft.root is not None
        known = known_of(Findings(draft, draft.root)).names["check"]
        assert set(known) == {probe.id for probe in (*config.probes, *config.self_test.probes)}


def test_a_check_may_have_a_target_of_its_own() -> None:
    config = load(str(GOOD / "check-kinds.yaml"))
    probes = {probe.id: probe for probe in config.probes}
    resolver = Resolver(
        servers=(ip_address("192.0.2.53"), ip_address("2001:db8::53")),
        port=5353, timeout_s=1.0, retry_s=2.0, min_ttl_s=10.0, max_ttl_s=300.0, stale_s=86400.0,
    )  # fmt: skip

    def aims(id_: str) -> tuple[str, str, NameTarget | None]:
        probe = probes[CheckId(id_)]
        return str(probe.source), str(probe.target), probe.name

    name = "www.example.net"
    assert aims("tunnel/eu/t1/named") == ("10.255.1.1", "10.255.1.2", NameTarget(name, 4, resolver))
    assert aims("tunnel/eu/t1/named#6") == ("fd00:1::1", "fd00:1::2", NameTarget(name, 6, resolver))
    assert "tunnel/eu/t1/sixes" not in probes
    assert aims("tunnel/eu/t1/sixes#6") == ("fd00:1::1", "fd00:1::2", NameTarget(name, 6, resolver))
    assert aims("tunnel/eu/t1/there") == ("10.255.1.1", "192.0.2.80", None)
    assert "tunnel/eu/t1/there#6" not in probes
    assert aims("backend/eu/ns/named@t2") == ("10.255.2.1", "10.10.0.11", NameTarget(name, 4, resolver))
    # an IPv4 backend, looked at by an IPv6 address of the name, through the one tunnel that carries it
    assert aims("backend/eu/ns/sixes@t1") == ("fd00:1::1", "10.10.0.11", NameTarget(name, 6, resolver))
    assert "backend/eu/ns/sixes@t2" not in probes
    asked = probes[CheckId("tunnel/eu/t1/named")].check.options
    assert isinstance(asked, HttpOptions)
    assert (asked.host, asked.server_name) == ("www.example.net:8443", name)
