"""A POP as a value: two regions, three tunnels, two neighbors, two prefixes; every test changes what it is about."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from anycastd.model.address import BackendId, CheckId, Family, NeighborName, Prefix, RegionName, TunnelId
from anycastd.model.bgp import BgpObserved, Route, SessionState, SessionView, SpeakerState
from anycastd.model.checks import CheckKind, CheckSpec, HttpOptions, IcmpOptions, ProbeSpec, Timing
from anycastd.model.decision import (
    Decision,
    Level,
    Memory,
    NeighborLevel,
    PrefixState,
    Reason,
    Step,
    Truth,
    TunnelOrder,
)
from anycastd.model.fleet import NotCounted, Others, Uncounted
from anycastd.model.fleet_view import FleetView, Guard, ObserverSeen, PopSeen
from anycastd.model.health import (
    BackendView,
    CheckState,
    Exceeded,
    Health,
    HealthReason,
    HealthView,
    Measure,
    Measured,
    RegionView,
    SelfTestView,
    TunnelView,
)
from anycastd.model.kernel import KernelObserved, LinkView
from anycastd.model.operator import (
    Carried,
    Drain,
    DrainPhase,
    DrainScope,
    Freeze,
    Interventions,
    Override,
    OverrideKind,
)
from anycastd.model.probe import ProbeResult, Why
from anycastd.model.status import FailoverTimer, PrefixView, Status
from anycastd.model.topology import (
    ApiConfig,
    Backend,
    Config,
    Export,
    Neighbor,
    Pop,
    PrefixSpec,
    Region,
    SelfTest,
    Tunnel,
)
from anycastd.policy.desired import wanted_kernel_routes, wanted_kernel_rules, wanted_routes

NOW_S = 500_000.0
WALL_S = 1_790_000_000.25  # 2026-09-21T14:13:20.250Z
V4, V6 = ip_network("203.0.113.0/24"), ip_network("2001:db8:113::/48")
EU, US = RegionName("eu-central"), RegionName("us-east")
EUC1, EUC2, USE1 = TunnelId("eu-central/euc-1"), TunnelId("eu-central/euc-2"), TunnelId("us-east/use-1")
TRANSIT_A, TRANSIT_B = NeighborName("transit-a"), NeighborName("transit-b")

_PATH = CheckSpec(name="path", kind=CheckKind.ICMP, options=IcmpOptions(), timing=Timing(interval_s=0.3))
_WEB = CheckSpec(name="web", kind=CheckKind.HTTP, options=HttpOptions(path="/healthz"))


def _tunnel(id_: TunnelId, number: int) -> Tunnel:
    return Tunnel(
        id=id_,
        region=RegionName(id_.partition("/")[0]),
        device=f"vx-{number}",
        local_ipv4=IPv4Address(f"10.255.{number}.1"),
        far_end_ipv4=IPv4Address(f"10.255.{number}.2"),
        local_ipv6=IPv6Address(f"fd00:{number}::1"),
        far_end_ipv6=IPv6Address(f"fd00:{number}::2"),
        priority=number,
        table=1300 + number,
    )


def _neighbor(name: NeighborName, number: int) -> Neighbor:
    return Neighbor(
        name=name,
        address=ip_address(f"198.51.100.{number}"),
        asn=64495 + number,
        local_address=ip_address(f"198.51.100.{number + 100}"),
        local_asn=64500,
        families=(Family.IPV4_UNICAST, Family.IPV6_UNICAST),
        password_file="/etc/anycastd/secrets/transit",
        export=Export(
            communities=(f"{64495 + number}:100",),
            next_hop_ipv4=IPv4Address("192.0.2.1"),
            next_hop_ipv6=IPv6Address("2001:db8::1"),
        ),
    )


def _probes(tunnels: dict[TunnelId, Tunnel], backends: dict[BackendId, Backend]) -> tuple[ProbeSpec, ...]:
    probes = []
    for id_, tunnel in tunnels.items():
        far_end = tunnel.far_end_ipv4
        assert far_end is not None
        path = CheckId(f"tunnel/{id_}/path")
        source = tunnel.local_ipv4
        probes.append(ProbeSpec(id=path, check=_PATH, target=far_end, source=source, region=tunnel.region, tunnel=id_))
        for backend in backends.values():
            if backend.region == tunnel.region:
                probes.append(
                    ProbeSpec(
                        id=CheckId(f"backend/{backend.id}/web@{id_.partition('/')[2]}"),
                        check=_WEB,
                        target=backend.address,
                        source=source,
                        region=tunnel.region,
                        tunnel=id_,
                        backend=backend.id,
                    )
                )
    return tuple(probes)


def config(*, api: ApiConfig | None = None) -> Config:
    """Return the POP's configuration."""
    tunnels = {id_: _tunnel(id_, number) for number, id_ in enumerate((EUC1, EUC2, USE1), start=1)}
    backends = {
        id_: Backend(id=id_, region=RegionName(id_.partition("/")[0]), address=ip_address(address))
        for id_, address in (
            (BackendId("eu-central/web-1"), "10.10.0.11"),
            (BackendId("eu-central/web-2"), "10.10.0.12"),
            (BackendId("us-east/web-1"), "10.20.0.11"),
        )
    }
    regions = {
        name: Region(
            name=name,
            tunnels=tuple(id_ for id_ in tunnels if tunnels[id_].region == name),
            backends=tuple(id_ for id_ in backends if backends[id_].region == name),
            priority=priority,
        )
        for priority, name in enumerate((EU, US), start=1)
    }
    gateway = ProbeSpec(id=CheckId("self/gateway/path"), check=_PATH, target=ip_address("198.51.100.1"))
    return Config(
        pop=Pop(name="fra", asn=64500, router_id=IPv4Address("192.0.2.1")),
        neighbors={name: _neighbor(name, number) for number, name in enumerate((TRANSIT_A, TRANSIT_B), start=1)},
        regions=regions,
        tunnels=tunnels,
        backends=backends,
        probes=_probes(tunnels, backends),
        prefixes={p: PrefixSpec(prefix=p, neighbors=(TRANSIT_A, TRANSIT_B), min_announcers=2) for p in (V4, V6)},
        self_test=SelfTest(probes=(gateway,)),
        api=api or ApiConfig(),
        digest="9f3c1a",
        path="/etc/anycastd/anycastd.yaml",
    )


def _ok(check: CheckId, latency_ms: float) -> CheckState:
    last = ProbeResult(check, Why.ANSWERED, NOW_S - 0.2 - latency_ms / 1000.0, NOW_S - 0.2)
    return CheckState(check, Health.HEALTHY, NOW_S - 270_000.0, passed=9000, last=last, latency_ms=latency_ms)


def failed(check: CheckId, *, ago_s: float, why: Why = Why.TIMEOUT, detail: str = "") -> CheckState:
    """Return the state of a check that went bad."""
    last = ProbeResult(check, why, NOW_S - 0.4, NOW_S - 0.1, detail)
    return CheckState(check, Health.UNHEALTHY, NOW_S - ago_s, failed=30, last=last, last_failure=last)


def _measured(latency_ms: float) -> Measured:
    return Measured(20, answered=20, round_trips_us=int(latency_ms * 20_000), pairs=19, differences_us=3_800)


def _health(config_: Config) -> HealthView:
    reason, at_s = HealthReason.CHECKS_PASS, NOW_S - 270_000.0
    latencies = {EUC1: 8.1, EUC2: 31.0, USE1: 88.4}
    return HealthView(
        tunnels={
            id_: TunnelView(
                id_,
                tunnel.region,
                tunnel.device,
                Health.HEALTHY,
                reason,
                at_s,
                latency_ms=latencies[id_],
                healthy_backends=len(config_.regions[tunnel.region].backends),
            )
            for id_, tunnel in config_.tunnels.items()
        },
        backends={
            id_: BackendView(
                id_,
                backend.region,
                Health.HEALTHY,
                reason,
                at_s,
                paths=dict.fromkeys(config_.regions[backend.region].tunnels, Health.HEALTHY),
                latency_ms=12.0,
            )
            for id_, backend in config_.backends.items()
        },
        regions={
            name: RegionView(
                name,
                Health.HEALTHY,
                HealthReason.ENOUGH_BACKENDS,
                at_s,
                healthy_tunnels=len(region.tunnels),
                healthy_backends=len(region.backends),
                total_tunnels=len(region.tunnels),
                total_backends=len(region.backends),
            )
            for name, region in config_.regions.items()
        },
        self_test=SelfTestView(Health.HEALTHY),
    )


def decision(
    prefix: Prefix,
    level: Level = Level.NORMAL,
    *,
    wanted: Level = Level.NORMAL,
    reason: Reason = Reason.SERVING,
    hold: Reason | None = None,
    age_s: float = 270_000.0,
    trail: tuple[Step, ...] = (),
    wake_in_s: float | None = None,
    detail: str = "regions usable: eu-central, us-east",
    would_change: tuple[str, ...] = (),
) -> Decision:
    """Return a decision; without a trail, the one step of the health rule."""
    return Decision(
        prefix=prefix,
        level=level,
        wanted=wanted,
        reason=reason,
        hold=hold,
        since_s=NOW_S - age_s,
        trail=trail or (Step("health", reason, Level.NORMAL, wanted, detail),),
        wake_at_s=None if wake_in_s is None else NOW_S + wake_in_s,
        condition=Truth.TRUE,
        detail=detail,
        would_change=would_change,
    )


def view_of(decision_: Decision, state: PrefixState = PrefixState.ANNOUNCED) -> PrefixView:
    """Return a prefix's view, with both neighbors confirmed when it is announced."""
    carriers = (TRANSIT_A, TRANSIT_B)
    return PrefixView(
        prefix=decision_.prefix,
        state=state,
        decision=decision_,
        memory=Memory(level=decision_.level, was_announced=True),
        confirmed=carriers if state is PrefixState.ANNOUNCED else (),
        carriers=carriers,
    )


def _routes(config_: Config, views: dict[Prefix, PrefixView]) -> dict[NeighborName, dict[Prefix, Route]]:
    return wanted_routes(config_, {prefix: view.decision.level for prefix, view in views.items()}, views)


def serving(*, api: ApiConfig | None = None) -> Status:
    """Return a POP where all is well, but that IPv6 is in its slow start."""
    config_ = config(api=api)
    slow = Step("slow_start", Reason.SLOW_START, Level.NORMAL, Level.DEPREF, "fine for 19 s more before NORMAL")
    returning = decision(
        V6,
        Level.DEPREF,
        hold=Reason.SLOW_START,
        age_s=41.0,
        wake_in_s=19.2,
        trail=(Step("health", Reason.SERVING, Level.NORMAL, Level.NORMAL, "regions usable: eu-central"), slow),
        would_change=("fine for another 19 s -> NORMAL",),
    )
    return with_views(config_, {V4: view_of(decision(V4)), V6: view_of(returning)})


def with_views(config_: Config, views: dict[Prefix, PrefixView]) -> Status:
    """Return the whole state for these prefixes: ExaBGP and kernel hold what the decisions want."""
    routes = _routes(config_, views)
    orders = {
        (name, 4): TunnelOrder(name, 4, region.tunnels, "best first", NOW_S - 270_000.0)
        for name, region in config_.regions.items()
    }
    kernel_routes = wanted_kernel_routes(config_, orders.values())
    rules = wanted_kernel_rules(config_)
    devices = [tunnel.device for tunnel in config_.tunnels.values()]
    latency_ms = {"path": 8.1, "web": 12.0}
    checks = {p.id: _ok(p.id, latency_ms[p.check.name]) for p in (*config_.probes, *config_.self_test.probes)}
    established = SessionView(SessionState.ESTABLISHED, NOW_S - 270_001.0)
    return Status(
        now_s=NOW_S,
        wall_s=WALL_S,
        started_s=NOW_S - 273_900.0,
        version="0.1.0",
        config=config_,
        config_loaded_s=NOW_S - 7_200.0,
        config_error="",
        checks=checks,
        measured={
            id_: _measured(latency_ms) for id_, latency_ms in ((s.id, s.latency_ms or 0) for s in checks.values())
        },
        health=_health(config_),
        prefixes=views,
        wanted_routes=routes,
        bgp=BgpObserved(
            speaker=SpeakerState.READY,
            routes=routes,
            sessions={TRANSIT_A: established, TRANSIT_B: established},
            dumped_at_s=NOW_S - 12.0,
        ),
        unwanted=(),
        kernel=KernelObserved(
            routes=kernel_routes,
            rules=rules,
            links={name: LinkView(name, i, True, True, "unknown") for i, name in enumerate(devices, start=2)},
        ),
        wanted_kernel_routes=kernel_routes,
        wanted_kernel_rules=rules,
        tunnel_orders=orders,
    )


def degraded() -> Status:
    """Return a POP where the second tunnel loses packets since 12 s, and every second probe of a backend fails."""
    status = serving()
    path, web = CheckId(f"tunnel/{EUC2}/path"), CheckId("backend/us-east/web-1/web@use-1")
    loss, share = Exceeded(Measure.LOSS, 5.0, NOW_S - 12.4), Exceeded(Measure.FAILURES, 40.0, NOW_S - 75.0)
    checks, measured = dict(status.checks), dict(status.measured)
    checks[path] = replace(checks[path], health=Health.DEGRADED, since_s=NOW_S - 12.4, exceeded=(loss,))
    measured[path] = Measured(50, 3, 3, 47, 47 * 31_000, 46, 46 * 9_800)
    checks[web] = replace(checks[web], health=Health.UNHEALTHY, since_s=NOW_S - 75.0, exceeded=(share,))
    measured[web] = Measured(20, 10, 0, 10, 120_000, 9, 9_000)
    tunnel = replace(
        status.health.tunnels[EUC2],
        health=Health.DEGRADED,
        reason=HealthReason.CHECK_DEGRADED,
        since_s=NOW_S - 12.4,
        evidence=(path,),
    )
    backend = BackendId("us-east/web-1")
    bad = replace(
        status.health.backends[backend],
        health=Health.UNHEALTHY,
        reason=HealthReason.TOO_MANY_FAILURES,
        since_s=NOW_S - 75.0,
        evidence=(web,),
    )
    health = replace(
        status.health,
        tunnels={**status.health.tunnels, EUC2: tunnel},
        backends={**status.health.backends, backend: bad},
        regions={
            **status.health.regions,
            EU: replace(status.health.regions[EU], healthy_tunnels=1, degraded_tunnels=1),
        },
    )
    return replace(status, checks=checks, measured=measured, health=health)


def ordered() -> Status:
    """Return a POP in which operators ordered something of each kind."""
    base = serving()
    drains = tuple(
        Drain(
            id=f"drain-{number}",
            scope=scope,
            name=name,
            owner="ann",
            reason="new line card",
            began_s=NOW_S - 60.0,
            expires_s=NOW_S + 3600.0,
            phase=phase,
            phase_since_s=NOW_S - 20.0,
            baseline_bps=8_000_000.0,
        )
        for number, (scope, name, phase) in enumerate(
            (
                (DrainScope.POP, "", DrainPhase.DEPREF),
                (DrainScope.NEIGHBOR, "transit-a", DrainPhase.GSHUT),
                (DrainScope.TUNNEL, "eu-central/euc-1", DrainPhase.DRAINED),
            )
        )
    )
    held = decision(
        V4, Level.DEPREF, reason=Reason.DRAINING, hold=Reason.STATIC_GUARD, detail="pop is drained",
        trail=(Step("withdraw_guard", Reason.STATIC_GUARD, Level.DEPREF, Level.DEPREF, "nobody to ask"),),
    )  # fmt: skip
    held = replace(held, drained=(NeighborLevel(TRANSIT_A, Level.DEPREF, Reason.ONLY_NEIGHBOR),))
    override = Override(
        id="override-1",
        kind=OverrideKind.PREFIX,
        name=str(V6),
        level=Level.DEPREF,
        owner="ann",
        reason="",
        began_s=NOW_S,
    )
    freeze = Freeze(owner="bob", reason="incident 42", since_s=NOW_S - 5.0, expires_s=NOW_S + 600.0)
    return replace(
        base,
        prefixes={**base.prefixes, V4: view_of(held)},
        orders=Interventions(drains, (override,), freeze),
        carried={"drain-0": Carried(rate_bps=125_000.0, quiet_since_s=NOW_S - 3.0)},
    )


def isolated(*, api: ApiConfig | None = None) -> Status:
    """Return a POP whose every tunnel is down: it stays at DEPREF, because nobody can be asked."""
    config_ = config(api=api)
    guard = "nobody to ask whether 2 other POPs announce it: it stays, depreferenced"
    detail = "0 of 2 regions usable, any wanted; not usable: eu-central, us-east"
    held = decision(
        V4,
        Level.DEPREF,
        wanted=Level.WITHDRAWN,
        reason=Reason.UNABLE_TO_SERVE,
        hold=Reason.STATIC_GUARD,
        age_s=38.0,
        trail=(
            Step("health", Reason.UNABLE_TO_SERVE, Level.NORMAL, Level.WITHDRAWN, detail),
            Step("withdraw_guard", Reason.STATIC_GUARD, Level.WITHDRAWN, Level.DEPREF, guard),
        ),
        detail=detail,
        would_change=("enough usable again -> announced, first depreferenced",),
    )
    status = with_views(config_, {V4: view_of(held), V6: view_of(replace(held, prefix=V6))})
    checks = dict(status.checks)
    for probe in config_.probes:
        if probe.backend is None:
            checks[probe.id] = failed(probe.id, ago_s=38.2, detail="no answer within 0.3 s")
    tunnels = {
        id_: replace(
            view,
            health=Health.UNHEALTHY,
            reason=HealthReason.CHECK_FAILED,
            since_s=NOW_S - 38.2,
            evidence=(CheckId(f"tunnel/{id_}/path"),),
            latency_ms=None,
            healthy_backends=0,
        )
        for id_, view in status.health.tunnels.items()
    }
    regions = {
        name: replace(view, health=Health.UNHEALTHY, reason=HealthReason.NO_USABLE_TUNNEL, healthy_tunnels=0)
        for name, view in status.health.regions.items()
    }
    timer = FailoverTimer(V4, "NORMAL -> DEPREF", NOW_S - 38.0021, NOW_S - 38.0, NOW_S - 37.9996, NOW_S - 37.9975)
    health = replace(status.health, tunnels=tunnels, regions=regions)
    return replace(status, checks=checks, health=health, timers=(timer,))


def starting(*, api: ApiConfig | None = None) -> Status:
    """Return a POP that has just begun: nothing observed, no verdicts, no session."""
    first = decision(
        V4,
        Level.WITHDRAWN,
        wanted=Level.WITHDRAWN,
        reason=Reason.FIRST_CHECKS,
        hold=Reason.FIRST_CHECKS,
        age_s=0.5,
        detail="cannot tell yet of regions: eu-central, us-east",
    )
    full = with_views(config(api=api), {V4: view_of(first, PrefixState.PENDING)})
    tunnels = {
        id_: replace(tunnel, health=Health.INITIAL, reason=HealthReason.CHECKS_PENDING, latency_ms=None)
        for id_, tunnel in full.health.tunnels.items()
    }
    return replace(
        full,
        started_s=NOW_S - 0.5,
        checks={},
        health=replace(full.health, tunnels=tunnels, self_test=SelfTestView()),
        wanted_routes={},
        bgp=BgpObserved(),
        kernel=KernelObserved(),
        tunnel_orders={},
    )


def in_a_fleet() -> Status:
    """Return a POP at DEPREF with two others in view: one counted, one silent."""
    status = isolated()
    others = Others(
        pops=3, counted=("sin",), normal=("sin",), present=("sin",), uncounted=(Uncounted("iad", NotCounted.STALE),)
    )
    pops = (
        PopSeen("sin", 2, None, NOW_S - 0.4, 1790000000, 71, 2, (NeighborName("rr1"), NeighborName("rr2"))),
        PopSeen("iad", 3, NotCounted.STALE, NOW_S - 40.0, 1780000000, 9, 1, (NeighborName("rr2"),)),
        PopSeen("hkg", 4, NotCounted.NOT_HEARD),
    )
    observers = (
        ObserverSeen(NeighborName("rr1"), True, 70, 1, 2, 3),
        ObserverSeen(NeighborName("rr2"), False),
    )
    view = FleetView(
        Guard.ECHO, 1, 1790000001, 99, NOW_S - 1.0, pops, observers, dict.fromkeys(status.prefixes, others), True
    )
    return replace(status, fleet=view)
