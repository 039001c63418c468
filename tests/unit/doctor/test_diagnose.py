"""One thing broken at a time: the check that is for it finds it, and no other does."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from anycastd.actuators.exabgp.versions import version_of
from anycastd.doctor.diagnose import CHECKS, broken, diagnose
from anycastd.doctor.facts import (
    Directory,
    Facts,
    ForwardChain,
    Link,
    Listener,
    Networkd,
    Program,
    RouteSeen,
    RuleSeen,
    Secret,
    Step,
    UnitSeen,
    User,
)
from anycastd.doctor.finding import Severity
from anycastd.doctor.scope import SCOPE
from anycastd.doctor.service import DAEMON, SPEAKER
from anycastd.model.address import CheckId, NeighborName
from anycastd.model.attack_config import AttackConfig
from anycastd.model.checks import BfdOptions, CheckKind, CheckSpec, ProbeSpec
from anycastd.model.filter_config import FilterConfig
from anycastd.model.filters import Auto
from anycastd.model.fleet_config import FleetConfig, FleetPop
from anycastd.model.kernel import SourceRule
from anycastd.model.topology import Config, Launch, Neighbor, Role
from anycastd.model.tunnel_device import Vxlan
from tests.unit.doctor.machine import CONFIG, DEVICE, OUR_RULES, SYSCTLS, TUNNEL, V4, V6, WELL, sysctl, tunnel

ERROR, WARNING = Severity.ERROR, Severity.WARNING
DOCKER = ForwardChain(family="ip", table="filter", name="FORWARD", refuses="policy drop", text="-P FORWARD DROP")
FIREWALLD = ForwardChain(family="inet", table="firewalld", name="filter_FORWARD", refuses="a last rule: reject")
NET_RAW = 1 << 13
BOTH = {name: UnitSeen(installed=True, enabled=True, state="active") for name in (DAEMON, SPEAKER)}


def routes(*more: RouteSeen) -> Facts:
    return replace(WELL, routes=(*WELL.routes, *more))


def rule(**fields: object) -> Facts:
    return replace(WELL, rules=(RuleSeen(version=4, **fields),))  # type: ignore[arg-type]


def program(*steps: Step, missing: str = "") -> Facts:
    return replace(WELL, programs=(Program("/home/ops/venv/bin/exabgp", steps, missing),))


def secret(**fields: object) -> Facts:
    return replace(WELL, secrets=(Secret(path="/etc/anycastd/md5", **{"mode": 0o600, **fields}),))  # type: ignore[arg-type]


def state(**fields: object) -> Facts:
    return replace(WELL, state_dir=Directory(path="/var/lib/anycastd", **fields))  # type: ignore[arg-type]


def service(units: dict[str, UnitSeen]) -> Facts:
    config = replace(CONFIG, bgp=replace(CONFIG.bgp, launch=Launch.SERVICE))
    return replace(WELL, config=config, units=units, daemon_user=User("anycastd", 991, frozenset({991, 990})))


def created(config: Config) -> Config:
    shape = Vxlan(vni=1, remote=ip_address("192.0.2.77"))
    return replace(config, tunnels={key: replace(one, shape=shape) for key, one in config.tunnels.items()})


def spoken(process: str, *, ours: bool = False) -> Facts:
    check = CheckSpec(name="alive", kind=CheckKind.BFD, options=BfdOptions())
    probe = ProbeSpec(id=CheckId("tunnel/eu/a/alive"), check=check, target=ip_address("10.255.1.2"))
    holder = Listener(address="0.0.0.0", process=process, ours=ours)
    return replace(WELL, config=replace(CONFIG, probes=(probe,)), bfd_listeners=(holder,))


def observed(*more: RouteSeen) -> Facts:
    """Return the machine in a fleet, with one observer at 192.0.2.250."""
    observer = Neighbor(
        name=NeighborName("rr1"), address=ip_address("192.0.2.250"), asn=64500,
        local_address=ip_address("192.0.2.2"), local_asn=64500, role=Role.OBSERVER,
    )  # fmt: skip
    own = FleetPop(name=CONFIG.pop.name, number=1)
    fleet = FleetConfig(own=own, pops={own.name: own}, beacon_networks=(ip_network("10.255.255.0/24"),))
    config = replace(CONFIG, neighbors={**CONFIG.neighbors, observer.name: observer}, fleet=fleet)
    return replace(WELL, config=config, routes=(*WELL.routes, *more))


def filtering(*, auto: Auto = Auto.PROPOSE, **neighbor: Any) -> Facts:
    """Return what is so with a transit like this."""
    transit = Neighbor(
        name=NeighborName("transit"), address=ip_address("192.0.2.250"), asn=64496,
        local_address=ip_address("192.0.2.2"), local_asn=64500, **neighbor,
    )  # fmt: skip
    attack = AttackConfig(filter=FilterConfig(auto=auto))
    return replace(WELL, config=replace(CONFIG, attack=attack, neighbors={transit.name: transit}))


def only_ipv4() -> Facts:
    config = replace(CONFIG, prefixes={V4: CONFIG.prefixes[V4]})
    return replace(WELL, config=config, routes=tuple(route for route in WELL.routes if route.prefix.version == 4))


RA_DEFAULT = RouteSeen(prefix=ip_network("::/0"), protocol=9, device="eth0", metric=1024)

BROKEN: list[tuple[str, Severity, str, str, Facts]] = [
    ("filters", WARNING, "no neighbor takes flow rules", "flowspec: true", filtering(auto=Auto.APPLY)),
    ("filters", WARNING, "transit takes flow rules, and forgets them", "graceful_restart: 120s",
     filtering(flowspec=True, graceful_restart_s=0)),
    ("observer-paths", WARNING, f"reached over a tunnel: rr1 over {DEVICE}", "ip route add",
     observed(RouteSeen(prefix=ip_network("192.0.2.0/24"), device=DEVICE))),
    ("observer-paths", ERROR, "rr1: there is no route to 192.0.2.250", "ip route get",
     replace(observed(), routes=tuple(r for r in WELL.routes if r.prefix.prefixlen))),
    ("beacon-addresses", WARNING, "10.255.255.4/30 lies in the beacon network", "another network",
     observed(RouteSeen(prefix=ip_network("10.255.255.4/30"), device="eth0"))),
    ("ipv4-forwarding", ERROR, "ip_forward is 0", "sysctl -w net.ipv4.ip_forward=1",
     sysctl({"net/ipv4/ip_forward": "0"})),
    ("ipv4-forwarding", ERROR, f"conf/{DEVICE}/forwarding is 0", f"net/ipv4/conf/{DEVICE}/forwarding=1",
     sysctl({f"net/ipv4/conf/{DEVICE}/forwarding": "0"})),
    ("ipv6-forwarding", ERROR, "all.forwarding is 0", "sysctl -w net.ipv6.conf.all.forwarding=1",
     sysctl({"net/ipv6/conf/all/forwarding": "0"})),
    ("ipv6-forwarding", ERROR, "not there", "", sysctl({"net/ipv6/conf/all/forwarding": None})),
    ("rp-filter", ERROR, f"all=0, {DEVICE}=1", f"net/ipv4/conf/{DEVICE}/rp_filter=2",
     sysctl({f"net/ipv4/conf/{DEVICE}/rp_filter": "1"})),
    ("rp-filter", ERROR, f"all=1, {DEVICE}=0", "rp_filter=2", sysctl({"net/ipv4/conf/all/rp_filter": "1"})),
    ("addresses-kept", WARNING, DEVICE, "keep_addr_on_down=1",
     sysctl({f"net/ipv6/conf/{DEVICE}/keep_addr_on_down": "0"})),
    ("addresses-kept", WARNING, DEVICE, "", sysctl({"net/ipv6/conf/all/keep_addr_on_down": "-1"})),
    ("tunnel-devices", ERROR, f"no device {DEVICE}", "create it", replace(WELL, links={})),
    ("tunnel-devices", WARNING, f"{DEVICE} is down", f"ip link set {DEVICE} up", tunnel(up=False)),
    ("tunnel-addresses", ERROR, "10.255.1.1", f"ip address add 10.255.1.1/30 dev {DEVICE}",
     tunnel(addresses=frozenset({ip_address("fd00:1::1")}))),
    ("tunnel-addresses", ERROR, "it is on eth0", "",
     replace(tunnel(addresses=frozenset({ip_address("10.255.1.1")})),
             links={DEVICE: replace(TUNNEL, addresses=frozenset({ip_address("10.255.1.1")})),
                    "eth0": Link(name="eth0", addresses=frozenset({ip_address("fd00:1::1")}))})),
    ("tunnel-mtu", WARNING, "at most 1450", f"ip link set {DEVICE} mtu 1450", tunnel(mtu=1500)),
    ("tunnel-mtu", WARNING, "assumed", "mtu 1450", tunnel(mtu=1451, underlay_mtu=None)),
    ("tunnel-mtu", WARNING, "at most 1430", "mtu 1430", tunnel(outer_version=6)),
    ("tunnel-mtu", WARNING, "(gre)", "mtu 1476", tunnel(kind="gre", mtu=1500)),
    ("conntrack", WARNING, "65536", "nf_conntrack_max=262144", sysctl({"net/netfilter/nf_conntrack_max": "65536"})),
    ("conntrack", ERROR, "900000 of 1048576", "nf_conntrack_max=4194304",
     sysctl({"net/netfilter/nf_conntrack_count": "900000"})),
    ("router-advertisements", WARNING, "eth0", "net/ipv6/conf/eth0/accept_ra=2",
     replace(sysctl({"net/ipv6/conf/eth0/accept_ra": "1"}), routes=(RA_DEFAULT,))),
    ("router-advertisements", WARNING, DEVICE, f"{DEVICE}/accept_ra=0",
     sysctl({f"net/ipv6/conf/{DEVICE}/accept_ra": "2"})),
    ("forward-firewall", ERROR, "ip filter FORWARD has policy drop", f"iptables -I FORWARD -i {DEVICE} -j ACCEPT",
     replace(WELL, chains=(DOCKER,))),
    ("forward-firewall", ERROR, "reject", "firewall-cmd", replace(WELL, chains=(FIREWALLD,))),
    ("forward-firewall", WARNING, f"name {DEVICE}", "nft list table ip filter",
     replace(WELL, chains=(replace(DOCKER, text=f'iifname "{DEVICE}" accept'),))),
    ("protocol-taken", WARNING, "198.51.100.0/24", "kernel.protocol",
     routes(RouteSeen(prefix=ip_network("198.51.100.0/24"), protocol=201))),
    ("protocol-taken", WARNING, "rule 900", "kernel.protocol", rule(preference=900, table=77, protocol=201)),
    ("rules-taken", WARNING, "rule 1300", "ip -4 rule del pref 1300", rule(preference=1300, source="all", table=77)),
    ("rules-taken", WARNING, "lookup 1300", "table_base", rule(preference=5, source="10.0.0.0/8", table=1300)),
    ("rules-taken", ERROR, "10.255.1.1", "rule del pref 40", rule(preference=40, source="10.255.1.1", table=77)),
    ("rules-taken", ERROR, "fwmark 0x1000000/0xff000000", "rule del pref 900",
     rule(preference=900, table=77, mark=0x01000000, mask=0xFF000000)),
    ("rules-taken", WARNING, "lookup 1001", "region_table_base", rule(preference=5, source="10.0.0.0/8", table=1001)),
    ("tables-taken", WARNING, "10.10.0.0/16", "table_base",
     routes(RouteSeen(prefix=ip_network("10.10.0.0/16"), table=1300, protocol=4, device="eth0"))),
    ("own-addresses", WARNING, "an address of this machine", "ip address del 203.0.113.7/32 dev lo",
     routes(RouteSeen(prefix=ip_network("203.0.113.7/32"), table=255, protocol=2, kind="local", device="lo"))),
    ("networkd", WARNING, "ManageForeignRoutes and ManageForeignRoutingPolicyRules are on", "networkd.conf.d",
     replace(WELL, networkd=Networkd(running=True))),
    ("networkd", WARNING, "and ManageForeignRoutingPolicyRules is on", "ManageForeignRoutingPolicyRules=no",
     replace(WELL, networkd=Networkd(running=True, manage_routes=False, manage_rules=True))),
    ("nftables-service", WARNING, "flush ruleset", "systemctl", replace(WELL, nftables_flushes=True)),
    ("privileges", ERROR, "CAP_NET_ADMIN", "AmbientCapabilities", replace(WELL, capabilities=NET_RAW)),
    ("privileges", WARNING, "may not listen on port 179", "CAP_NET_BIND_SERVICE", replace(WELL, uid=990)),
    ("exabgp-reachable", ERROR, "uid 1000 cannot pass /opt/x", "chmod o+x /opt/x",
     replace(program(Step("/opt/x", 0o700)), uid=1000, capabilities=WELL.capabilities | 1 << 10)),
    ("ping-sockets", WARNING, "is 1 0", "ping_group_range='0 2147483647'",
     replace(sysctl({"net/ipv4/ping_group_range": "1\t0"}), capabilities=WELL.capabilities | NET_RAW)),
    ("ping-sockets", ERROR, "no ICMP check can run", "ping_group_range",
     sysctl({"net/ipv4/ping_group_range": "100\t200"})),
    ("bgp-port", WARNING, "bgpd listens on 0.0.0.0 port 179", "bgp: {listen: false}   # or, where",
     replace(WELL, listeners=(Listener(address="0.0.0.0", process="bgpd"),))),
    ("bfd-port", ERROR, "bfdd speaks BFD on 0.0.0.0: UDP port 3784 is taken", "checks.NAME.bfd.via: frr",
     spoken("bfdd")),
    ("bfd-port", ERROR, "bird speaks BFD", "checks.NAME.bfd.via: bird", spoken("bird")),
    ("exabgp-version", ERROR, "4.2.25", "exabgp>=5.0.13", replace(WELL, exabgp_version="4.2.25")),
    ("exabgp-version", ERROR, "5.0.12", "", replace(WELL, exabgp_version="5.0.12")),
    ("exabgp-version", ERROR, "6.0.0", "", replace(WELL, exabgp_version="6.0.0")),
    ("exabgp-version", ERROR, "does not tell", "", replace(WELL, exabgp_version="")),
    ("bgp-user", WARNING, "no user exabgp", "useradd --system", replace(WELL, bgp_user=None)),
    ("exabgp-reachable", ERROR, "exabgp cannot pass /home/ops (mode 0700)", "chmod o+x /home/ops",
     program(Step("/home", 0o755), Step("/home/ops", 0o700, 1000, 1000))),
    ("exabgp-reachable", ERROR, "cannot run /home/ops/venv/bin/exabgp", "chmod o+rx",
     program(Step("/home/ops/venv/bin/exabgp", 0o750, directory=False))),
    ("exabgp-reachable", ERROR, "cannot be found", "bgp: {exabgp: PATH}", program(missing="No such file or directory")),
    ("password-files", ERROR, "mode 0644", "chmod 600", secret(mode=0o644)),
    ("password-files", ERROR, "cannot be looked at", "ls -l", secret(mode=None)),
    ("password-files", ERROR, "cannot be read", "chown", secret(readable=False)),
    ("password-files", WARNING, "uid 1000", "chown 0", secret(uid=1000)),
    ("service-units", ERROR, "there is no anycastd-bgp.service", "make install", service({})),
    ("service-units", ERROR, "ExaBGP would end with the daemon", "launch: service", replace(WELL, units=BOTH)),
    ("service-units", WARNING, "does not start with the machine", "systemctl enable anycastd-bgp",
     service({**BOTH, "anycastd-bgp.service": UnitSeen(installed=True)})),
    ("service-units", ERROR, "anycastd.service has failed", "journalctl -u anycastd.service",
     service({**BOTH, "anycastd.service": UnitSeen(installed=True, enabled=True, state="failed")})),
    ("daemon-user", ERROR, "no user for the daemon", "systemd-sysusers", replace(service(BOTH), daemon_user=None)),
    ("daemon-user", ERROR, "anycastd is not of the group of exabgp", "usermod -aG exabgp anycastd",
     replace(service(BOTH), daemon_user=User("anycastd", 991, frozenset({991})))),
    ("bgp-user", ERROR, "anycastd-bgp.service cannot start", "systemd-sysusers",
     replace(service(BOTH), bgp_user=None, uid=991)),
    ("daemon-reads", ERROR, "anycastd cannot read /etc/anycastd/anycastd.yaml (mode 0600", "chgrp anycastd",
     replace(service(BOTH), config_file=Secret(path="/etc/anycastd/anycastd.yaml", mode=0o600))),
    ("daemon-reads", ERROR, "cannot read /etc/anycastd/md5 (mode 0640, group 0)", "chmod 640",
     replace(service(BOTH), secrets=(Secret(path="/etc/anycastd/md5", mode=0o640),),
             config_file=Secret(path="/etc/anycastd/anycastd.yaml", mode=0o640, gid=991))),
    ("kernel-modules", ERROR, "no vxlan, needed for tunnel eu/a", "modprobe vxlan",
     replace(WELL, modules_missing=(("vxlan", "tunnel eu/a"),))),
    ("open-files", WARNING, "at most 100 files", "LimitNOFILE=65536", replace(WELL, open_files=100)),
    ("clock", WARNING, "not synchronized", "set-ntp", replace(WELL, clock_synced=False)),
    ("other-package", ERROR, "distribution anycastd 0.9", "pip uninstall", replace(WELL, rival="0.9")),
    ("state-dir", ERROR, "is not writable", "install -d", state(writable=False)),
    ("state-dir", ERROR, "cannot be made", "install -d", state(exists=False, writable=False)),
    ("state-dir", WARNING, "50 MiB", "df -h", state(free_bytes=50 << 20)),
    ("state-dir", ERROR, "0 MiB", "df -h", state(free_bytes=4096)),
    ("state-dir", WARNING, "12 inodes", "df -i", state(free_inodes=12)),
    ("unexamined", WARNING, "lsmod: not there", "sudo", replace(WELL, unexamined=("lsmod: not there",))),
]  # fmt: skip


@pytest.mark.parametrize(("id_", "severity", "what", "mend", "facts"), BROKEN, ids=[f"{b[0]}:{b[2]}" for b in BROKEN])
def test_what_is_broken_is_found(id_: str, severity: Severity, what: str, mend: str, facts: Facts) -> None:
    findings = diagnose(facts)
    (found,) = [finding for finding in findings if finding.severity in (ERROR, WARNING)]
    assert (found.id, found.severity) == (id_, severity)
    assert what in found.what
    assert mend in found.mend
    assert found.why
    assert broken(findings) is (severity is ERROR)


def test_every_check_is_broken_here_once() -> None:
    assert {case[0] for case in BROKEN} == {check.id for check in CHECKS}


FINE: dict[str, Facts] = {
    "nothing wrong": WELL,
    "an observer behind the uplink": observed(RouteSeen(prefix=ip_network("10.0.0.0/8"), device=DEVICE)),
    "loose rp_filter, though all is strict": sysctl(
        {"net/ipv4/conf/all/rp_filter": "1", f"net/ipv4/conf/{DEVICE}/rp_filter": "2"}
    ),
    "addresses kept on all devices": sysctl(
        {"net/ipv6/conf/all/keep_addr_on_down": "1", f"net/ipv6/conf/{DEVICE}/keep_addr_on_down": "0"}
    ),
    "no IPv6 forwarding, and no IPv6 prefix": replace(
        only_ipv4(), sysctls={**SYSCTLS, "net/ipv6/conf/all/forwarding": "0"}
    ),
    "an IPv6 firewall, and no IPv6 prefix": replace(only_ipv4(), chains=(replace(DOCKER, family="ip6"),)),
    "a firewall that accepts": replace(WELL, chains=(replace(DOCKER, refuses=""),)),
    "a device that the daemon is yet to make": replace(WELL, config=created(CONFIG), links={}),
    "jumbo frames below": tunnel(mtu=8950, underlay_mtu=9000),
    "a device whose overhead is not known": tunnel(mtu=1500, kind="tun"),
    "no conntrack": sysctl({"net/netfilter/nf_conntrack_max": None, "net/netfilter/nf_conntrack_count": None}),
    "advertisements taken although it forwards": replace(
        sysctl({"net/ipv6/conf/eth0/accept_ra": "2"}), routes=(RA_DEFAULT,)
    ),
    "our own rules": replace(
        WELL,
        rules=tuple(
            RuleSeen(version=r.version, preference=1300, source=str(r.source), table=1300, protocol=201)
            for r in OUR_RULES
            if isinstance(r, SourceRule)
        ),
    ),
    "our own routes in our table": routes(
        RouteSeen(prefix=ip_network("0.0.0.0/0"), table=1300, protocol=201, metric=100)
    ),
    "another route for a prefix: marks are looked up before it": routes(
        RouteSeen(prefix=V4, protocol=186, metric=20, device="eth0")
    ),
    "a mark of other bits": rule(preference=900, table=77, mark=0x10, mask=0xFF),
    "a rule for checks after ours": rule(preference=20000, source="10.255.1.1", table=77),
    "networkd that leaves others alone": replace(
        WELL, networkd=Networkd(running=True, manage_routes=False, manage_rules=False)
    ),
    "our own BFD process on the port": spoken("python", ours=True),
    "our own ExaBGP on the port": replace(WELL, listeners=(Listener(address="::", process="python3", ours=True),)),
    "a stranger on the port, and we do not listen": replace(
        WELL,
        config=replace(CONFIG, bgp=replace(CONFIG.bgp, listen=False)),
        listeners=(Listener(address="::", process="bird"),),
    ),
    "the lowest version": replace(WELL, exabgp_version="5.0.13"),
    "the group may pass": program(Step("/srv/app", 0o710, 0, 990)),
    "the owner may pass": program(Step("/srv/app", 0o700, 990, 0)),
    "root may pass": replace(program(Step("/root", 0o700, 1, 1)), bgp_user=User("root", 0)),
    "ICMP by the second group": replace(
        sysctl({"net/ipv4/ping_group_range": "100\t200"}), groups=frozenset({0, 150})
    ),
    "a password file of root's": secret(uid=0),
    "no user for ExaBGP, and the daemon is not root": replace(
        WELL, uid=990, capabilities=WELL.capabilities | 1 << 10, bgp_user=None
    ),
    "ports from 100 are for everybody": replace(sysctl({"net/ipv4/ip_unprivileged_port_start": "100"}), uid=990),
    "a file system without inodes": state(free_inodes=None),
}  # fmt: skip


@pytest.mark.parametrize("facts", FINE.values(), ids=FINE)
def test_what_is_fine_is_left_alone(facts: Facts) -> None:
    assert [finding for finding in diagnose(facts) if finding.severity in (ERROR, WARNING)] == []


def test_the_worst_comes_first_and_every_check_answers() -> None:
    facts = replace(sysctl({"net/ipv4/ip_forward": "0"}), bgp_user=None)
    findings = diagnose(facts)
    assert [finding.severity for finding in findings][:3] == [ERROR, WARNING, Severity.OK]
    assert {finding.id for finding in findings} == {check.id for check in CHECKS}


UNSEEN = [
    (replace(WELL, links={}), {"rp-filter", "addresses-kept", "tunnel-mtu", "tunnel-addresses"}),
    (replace(WELL, modules_missing=None), {"kernel-modules"}),
    (replace(WELL, clock_synced=None), {"clock"}),
    (replace(WELL, secrets=()), {"password-files"}),
]


@pytest.mark.parametrize(("facts", "unseen"), UNSEEN, ids=["no device", "no list", "no answer", "no secret"])
def test_what_there_was_nothing_to_look_at_for_is_not_called_well(facts: Facts, unseen: set[str]) -> None:
    before = {finding.id for finding in diagnose(WELL) if finding.severity is Severity.NOT_EXAMINED}
    after = {finding.id: finding for finding in diagnose(facts) if finding.severity is Severity.NOT_EXAMINED}
    assert unseen <= after.keys()
    assert after.keys() <= before | unseen
    assert all(finding.what for finding in after.values()), "each says why"


def test_only_checks_that_exist_are_said_to_have_nothing_to_look_at() -> None:
    assert {check.id for check in CHECKS} >= SCOPE.keys()


@pytest.mark.parametrize(
    ("unanswered", "unknown"),
    [
        ("nft -j list chains: exit 1: Operation not permitted", {"forward-firewall"}),
        ("/proc/net/ip_tables_names: Permission denied", {"forward-firewall"}),
        ("ip -6 -d -N -j rule show: exit 255", {"protocol-taken", "rules-taken"}),
        (
            "ip -4 -N -j route show table all: no answer within 20 s",
            {"protocol-taken", "tables-taken", "own-addresses"},
        ),
    ],
)
def test_nothing_found_where_nothing_was_seen_is_not_ok(unanswered: str, unknown: set[str]) -> None:
    findings = diagnose(replace(WELL, unexamined=(unanswered,)))
    warned = {finding.id for finding in findings if finding.severity is WARNING}
    assert warned == unknown | {"unexamined"}
    assert not broken(findings)


def test_an_owner_whose_own_bit_is_missing_is_barred_though_others_may() -> None:
    assert broken(diagnose(program(Step("/srv/app", 0o077, 990, 0))))


def test_many_routes_make_one_short_line() -> None:
    many = [RouteSeen(prefix=ip_network(f"10.0.{n}.0/24"), table=1300, protocol=4) for n in range(200)]
    (found,) = [finding for finding in diagnose(routes(*many)) if finding.severity is WARNING]
    assert "and 197 more" in found.what
    assert len(found.what) < 300


@pytest.mark.parametrize(
    ("text", "numbers"), [("5.0.15", (5, 0, 15)), ("5.1.0.dev3", (5, 1, 0)), ("v5.0", (5, 0)), ("", ())]
)
def test_version(text: str, numbers: tuple[int, ...]) -> None:
    assert version_of(text) == numbers


def test_both_families_of_a_prefix_count() -> None:
    assert WELL.versions == {4, 6}
    assert V6 in CONFIG.prefixes
