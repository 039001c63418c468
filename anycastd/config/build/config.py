"""From a checked file to `model.topology.Config`. Pure; everything here relies on `check` having found nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

from anycastd.config.aims import destination, resolver_of
from anycastd.config.build.attack import attack_of
from anycastd.config.build.eips import eip_config, eips_of, region_number
from anycastd.config.build.fleet import fleet_of, restart_of
from anycastd.config.build.rules import rule_of, usable_when_of
from anycastd.config.build.safety import safety_of
from anycastd.config.build.store import store_config
from anycastd.config.build.check_options import absolute
from anycastd.config.build.expand import OF_DEVICES, CheckBook, backend_probes, tunnel_probes
from anycastd.config.schema.api import ApiSection
from anycastd.config.schema.neighbors import ExportSection, NeighborSection
from anycastd.config.schema.prefixes import PrefixSection
from anycastd.config.schema.regions import RegionSection
from anycastd.config.schema.root import Root
from anycastd.config.schema.rules import GroupSection
from anycastd.config.schema.self_test import SelfTestSection
from anycastd.config.schema.timers import TimersSection
from anycastd.config.slots import table_slots
from anycastd.config.build.tunnels import device_of
from anycastd.errors import InvariantError
from anycastd.model.access import TlsSpec, TokenSpec
from anycastd.model.address import BackendId, CheckId, NeighborName, Prefix, RegionName, TunnelId, family_of
from anycastd.model.checks import ProbeSpec
from anycastd.model.log import LoggingConfig
from anycastd.model.probing import ProbingConfig
from anycastd.model.topology import (
    ApiConfig,
    Backend,
    BfdConfig,
    BgpConfig,
    Config,
    Export,
    JournalConfig,
    KernelConfig,
    Neighbor,
    OperatorConfig,
    Pop,
    PrefixSpec,
    PrefixTimers,
    Region,
    SelfTest,
    Tunnel,
)


def digest_of(text: str) -> str:
    """Return what identifies a configuration text in logs and status."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def build(root: Root, *, path: str, directory: str, digest: str, warnings: tuple[str, ...]) -> Config:
    """Return the configuration of a file without mistakes; `directory` is where relative names begin."""
    if root.pop is None:
        message = "a file without pop was not refused"
        raise InvariantError(message)
    book = CheckBook(root.checks, directory, resolver_of(root.resolver))
    pop = Pop(name=root.pop.name, asn=root.pop.asn, router_id=root.pop.router_id)
    neighbors = {
        NeighborName(name): _neighbor(name, section, pop.asn, directory) for name, section in root.neighbors.items()
    }
    tunnels = _tunnels(root, directory)
    backends = {
        backend.id: backend
        for name, region in root.regions.items()
        for backend in (
            Backend(id=BackendId(f"{name}/{key}"), region=RegionName(name), address=one.address)
            for key, one in region.backends.items()
        )
    }
    return Config(
        pop=pop,
        neighbors=neighbors,
        regions={RegionName(name): _region(name, region, root.groups) for name, region in root.regions.items()},
        tunnels=tunnels,
        backends=backends,
        probes=_probes(root, book, tunnels, backends),
        prefixes={
            prefix: _prefix(prefix, section, root, neighbors.values()) for prefix, section in root.prefixes.items()
        },
        fleet=fleet_of(root, directory),
        self_test=_self_test(root.self_test, book),
        api=_api(root.api, directory),
        logging=LoggingConfig(
            level=root.logging.level.value, format=root.logging.format.value, burst=root.logging.burst
        ),
        bgp=_bgp(root),
        bfd=_bfd(root),
        kernel=_kernel(root),
        operator=_operator(root),
        safety=safety_of(root.safety),
        attack=attack_of(root.attack),
        eip=eip_config(root.eip),
        eips=eips_of(root),
        journal=_journal(root),
        store=store_config(root.store, directory),
        probing=_probing(root),
        state_dir=root.state_dir,
        digest=digest,
        path=path,
        warnings=warnings,
    )


def _api(section: ApiSection, directory: str) -> ApiConfig:
    tls = section.tls
    return ApiConfig(
        host=section.host,
        port=section.port,
        socket=section.socket,
        group=section.group,
        tokens={
            name: TokenSpec(name=name, role=one.role, file=absolute(one.file, directory) or "")
            for name, one in section.tokens.items()
        },
        tls=None
        if tls is None
        else TlsSpec(
            cert_file=absolute(tls.cert_file, directory) or "",
            key_file=absolute(tls.key_file, directory) or "",
            client_ca_file=absolute(tls.client_ca_file, directory),
        ),
    )


def _neighbor(name: str, section: NeighborSection, asn: int, directory: str) -> Neighbor:
    return Neighbor(
        name=NeighborName(name),
        address=section.address,
        asn=section.asn,
        local_address=section.local_address,
        local_asn=section.local_asn or asn,
        families=section.families or (family_of(section.address),),
        password_file=absolute(section.password_file, directory),
        hold_time_s=section.hold_time,
        graceful_restart_s=restart_of(section),
        multihop=section.multihop,
        ttl_security=section.ttl_security,
        max_prefixes=section.max_prefixes,
        export=_export(section.export),
        role=section.role,
        announce=section.announce,
        blackhole=section.blackhole,
        flowspec=section.flowspec,
    )


def _export(section: ExportSection) -> Export:
    return Export(
        communities=section.communities,
        large_communities=section.large_communities,
        depref_communities=section.depref_communities,
        blackhole_communities=section.blackhole_communities,
        prepend=section.prepend,
        med=section.med,
        next_hop_ipv4=section.next_hop4,
        next_hop_ipv6=section.next_hop6,
    )


def _tunnels(root: Root, directory: str) -> dict[TunnelId, Tunnel]:
    written = {f"{name}/{key}": one for name, region in root.regions.items() for key, one in region.tunnels.items()}
    slots = table_slots(written)
    return {
        TunnelId(id_): Tunnel(
            id=TunnelId(id_),
            region=RegionName(id_.partition("/")[0]),
            priority=one.priority,
            table=root.kernel.table_base + slots[id_],
            **device_of(one, directory),
        )
        for id_, one in written.items()
    }


def _region(name: str, section: RegionSection, groups: Mapping[str, GroupSection]) -> Region:
    return Region(
        name=RegionName(name),
        tunnels=tuple(TunnelId(f"{name}/{key}") for key in section.tunnels),
        backends=tuple(BackendId(f"{name}/{key}") for key in section.backends),
        usable_when=usable_when_of(section.usable_when, groups),
        priority=section.priority,
        number=region_number(name, section.number),
        mode=section.mode,
        return_path=section.return_path,
        traffic_dial_percentage=section.traffic_dial,
    )


def _probes(
    root: Root, book: CheckBook, tunnels: dict[TunnelId, Tunnel], backends: dict[BackendId, Backend]
) -> tuple[ProbeSpec, ...]:
    probes: list[ProbeSpec] = []
    for name, region in root.regions.items():
        ours = [tunnels[TunnelId(f"{name}/{key}")] for key in region.tunnels]
        for tunnel, section in zip(ours, region.tunnels.values(), strict=True):
            probes += tunnel_probes(tunnel, book.specs(section.checks))
        for key, written in region.backends.items():
            probes += backend_probes(backends[BackendId(f"{name}/{key}")], ours, book.specs(written.checks))
    return tuple(probes)


def timers_of(own: TimersSection, general: TimersSection) -> PrefixTimers:
    """Return the timers of a prefix: its own, else the global, else the defaults."""
    written = general.model_dump(exclude_none=True) | own.model_dump(exclude_none=True)
    return PrefixTimers(**{f"{name}_s": seconds for name, seconds in written.items()})


def _prefix(prefix: Prefix, section: PrefixSection, root: Root, neighbors: Iterable[Neighbor]) -> PrefixSpec:
    family = family_of(prefix)
    return PrefixSpec(
        prefix=prefix,
        announce_when=rule_of(section.announce_when, root.groups),
        announce=section.announce,
        min_announcers=section.min_announcers,
        last_resort=section.last_resort,
        when_degraded=section.when_degraded,
        depref_prepend=section.depref_prepend,
        return_prepends=section.return_prepends,
        dead_man=section.dead_man.action,
        dead_man_after_s=section.dead_man.after,
        timers=timers_of(section.timers, root.timers),
        neighbors=tuple(
            neighbor.name
            for neighbor in neighbors
            if family in neighbor.families
            and not neighbor.is_observer
            and (section.neighbors is None or neighbor.name in section.neighbors)
        ),
    )


def _self_test(section: SelfTestSection, book: CheckBook) -> SelfTest:
    probes: list[ProbeSpec] = []
    for name, target in section.targets.items():
        for check in book.specs(target.checks):
            # the kernel chooses among its own addresses, those of a source are of its family
            wanted = check.aim.of(target.address.version) if check.aim is not None else target.address.version
            found = destination(check, target.source.version if target.source else wanted, target.address)
            if found is not None:
                probes.append(
                    ProbeSpec(
                        id=CheckId(f"self/{name}/{check.name}"),
                        check=check,
                        target=found[0],
                        name=found[1],
                        source=target.source,
                        device=target.device if check.kind in OF_DEVICES else None,
                    )
                )
    return SelfTest(
        probes=tuple(probes),
        window_s=section.window,
        hold_s=section.hold,
        min_targets=section.min_targets,
        min_regions=section.min_regions,
    )


def _bgp(root: Root) -> BgpConfig:
    section = root.bgp
    return BgpConfig(
        launch=section.launch,
        user=section.user,
        socket=section.socket,
        directory=section.directory,
        exabgp=section.exabgp or "",
        port=section.port,
        listen=section.listen,
        window=section.window,
        reactor_speed=section.reactor_speed,
        wedged_after_s=section.wedged_after,
        idle_ask_s=section.idle_ask,
        reconcile_s=section.reconcile,
        connect_within_s=section.connect_within,
    )


def _bfd(root: Root) -> BfdConfig:
    section = root.bfd
    return BfdConfig(
        launch=section.launch,
        socket=section.socket,
        silent_after_s=section.silent_after,
        replace_after_s=section.replace_after,
        alone_s=section.alone,
    )


def _journal(root: Root) -> JournalConfig:
    section = root.journal
    return JournalConfig(
        max_decisions=section.max_decisions,
        max_events=section.max_events,
        max_size_bytes=section.max_size,
        keep_s=section.keep,
        write_after_s=section.write_after,
        retry_s=section.retry,
        max_waiting=section.max_waiting,
        max_readers=section.max_readers,
        reader_backlog=section.reader_backlog,
        reader_patience_s=section.reader_patience,
        heartbeat_s=section.heartbeat,
    )


def _probing(root: Root) -> ProbingConfig:
    section = root.probes
    return ProbingConfig(
        workers=section.workers,
        worker_start_s=section.worker_start,
        worker_silent_s=section.worker_silent,
        worker_replace_s=section.worker_replace,
    )


def _kernel(root: Root) -> KernelConfig:
    section = root.kernel
    return KernelConfig(
        protocol=section.protocol,
        region_table_base=section.region_table_base,
        table_base=section.table_base,
        forward_metric=section.forward_metric,
        blackhole_metric=section.blackhole_metric,
        reconcile_s=section.reconcile,
        switch_hysteresis_ms=section.switch_hysteresis_ms,
    )


def _operator(root: Root) -> OperatorConfig:
    section = root.operator
    return OperatorConfig(
        depref_s=section.depref,
        quiet_percent=section.quiet_percent,
        quiet_bps=section.quiet_below,
        quiet_for_s=section.quiet_for,
        wait_at_most_s=section.wait_at_most,
        settled_s=section.settled,
        drain_expires_s=section.drain_expires,
        override_expires_s=section.override_expires,
    )
