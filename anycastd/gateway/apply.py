"""Make a gateway's kernel as its file says, and keep it so. Level-triggered: what is there is read before a change."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from anycastd.gateway import kernel
from anycastd.gateway.render import (
    HASH_FIELDS,
    HASH_POLICY,
    HASH_SYSCTLS,
    VERSIONS,
    Route,
    Rule,
    nft_script,
    order,
    routes,
    rules,
    verbed,
)
from anycastd.gateway.spec import TABLE, Gateway

STRICT, LOOSE = 1, 2


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one round came to: `changed` lines, what is not in place, and what the operator should know."""

    changed: int = 0
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


class Applier:
    """Applies a configuration again and again; only what differs is changed."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self._table: str | None = None
        """Our nftables table as it was shown after we made it; None: it is made anew."""

    def apply(self) -> Outcome:
        """Do what is missing; ActuatorTransient if a tool does not answer."""
        gateway, problems, changed = self.gateway, list[str](), 0
        for version in VERSIONS:
            lines = _lines(gateway, version)
            changed += len(lines)
            problems += kernel.batch(version, lines)
        before = kernel.nft_table()
        if self._table is None or before != self._table:
            problems += kernel.nft(nft_script(gateway))
            self._table = kernel.nft_table()
            changed += _words(before) != _words(self._table)
        problems += _tuned(gateway) if gateway.tune else []
        return Outcome(changed, tuple(problems), tuple(_warnings(gateway)))


def _words(table: str | None) -> list[str]:
    # a set made anew lists its elements in another order
    return sorted((table or "").replace(",", " ").split())


def _lines(gateway: Gateway, version: int) -> list[str]:
    """Return what differs in a family: first what must be there, then what must not, rules before their routes."""
    owner = f"protocol {gateway.protocol}"
    wanted = {one for one in routes(gateway) if one.prefix.version == version}
    have = {one for one in kernel.routes_of(gateway.protocol) if one.prefix.version == version}
    leading = {one for one in rules(gateway) if one.version == version}
    led = {one for one in kernel.rules_of(gateway.protocol) if one.version == version}
    ours = {one.key for one in have}
    places = {one.key for one in wanted}
    # `replace` would take the place of a foreign route where we have none
    puts = [
        f"route {'replace' if one.key in ours else 'add'} {verbed(one, owner)}"
        for one in sorted(wanted - have, key=order)
    ]
    adds = [f"rule add {one.line} {owner}" for one in _by_table(leading - led)]
    return [*puts, *adds, *_gone(led - leading, [one for one in have if one.key not in places], owner)]


def _gone(gone_rules: Iterable[Rule], gone_routes: Iterable[Route], owner: str) -> list[str]:
    return [
        *(f"rule del {_match(one)} {owner}" for one in _by_table(gone_rules)),
        *(f"route del {_place(one)} {owner}" for one in sorted(gone_routes, key=order)),
    ]


def _by_table(found: Iterable[Rule]) -> list[Rule]:
    return sorted(found, key=lambda one: (one.table, one.mark))


def _match(rule: Rule) -> str:
    return rule.line if rule.mark else f"pref {rule.table}"


def _place(route: Route) -> str:
    kind = "" if route.hops or route.device else "blackhole "
    return f"{kind}{route.prefix} table {route.table} metric {route.metric}"


def _tuned(gateway: Gateway) -> list[str]:
    """Set the sysctls of the tunnels' devices that are there: no strict filter, and addresses that outlive a down."""
    problems: list[str] = []
    every = kernel.sysctl("net/ipv4/conf/all/rp_filter") or 0
    for tunnel in gateway.tunnels:
        strict, keep = f"net/ipv4/conf/{tunnel.device}/rp_filter", f"net/ipv6/conf/{tunnel.device}/keep_addr_on_down"
        own = kernel.sysctl(strict)
        if own is not None and max(own, every) == STRICT:
            problems += kernel.set_sysctl(strict, LOOSE if every == STRICT else 0)
        kept = kernel.sysctl(keep)
        if kept is not None and kept < 1:
            problems += kernel.set_sysctl(keep, 1)
    return problems


def _warnings(gateway: Gateway) -> list[str]:
    """Return what the machine's own sysctls should be and are not; they are not ours to set."""
    asked = {"net/ipv4/ip_forward": 1}
    if any(tunnel.far_end_ipv6 is not None for tunnel in gateway.tunnels):
        asked["net/ipv6/conf/all/forwarding"] = 1
    for version in {prefix.version for prefix, hops in gateway.routes.items() if len(hops) > 1}:
        asked |= {
            f"net/ipv{version}/{name}": value
            for name, value in zip(HASH_SYSCTLS, (HASH_POLICY, HASH_FIELDS), strict=True)
        }
    return [
        f"{key.replace('/', '.')} is {found}, should be {value}"
        for key, value in asked.items()
        if (found := kernel.sysctl(key)) != value
    ]


def remove(protocol: int) -> Outcome:
    """Remove the table, rules and routes of ours, and nothing else."""
    changed, problems = 0, list[str]()
    if kernel.nft_table() is not None:
        problems += kernel.nft(f"delete table inet {TABLE}\n")
        changed += 1
    owner = f"protocol {protocol}"
    found_rules, found_routes = kernel.rules_of(protocol), kernel.routes_of(protocol)
    for version in VERSIONS:
        lines = _gone(
            [one for one in found_rules if one.version == version],
            [one for one in found_routes if one.prefix.version == version],
            owner,
        )
        changed += len(lines)
        problems += kernel.batch(version, lines)
    return Outcome(changed, tuple(problems))
