"""Checks of what other programs do to the same kernel: firewall, routes, rules, tables, networkd. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from anycastd.doctor.facts import Facts, RouteSeen, RuleSeen
from anycastd.doctor.finding import Check, Trouble, error, warning
from anycastd.model.address import Prefix
from anycastd.model.kernel import MAIN_TABLE, MarkRule, SourceRule
from anycastd.policy.desired import region_table, wanted_kernel_rules

LOCAL_TABLE = 255
FROM_KERNEL = 2
SHOWN = 3
CARRIES = frozenset({"unicast", "local", "blackhole", "unreachable", "prohibit", "throw"})


def _some(things: Iterable[object]) -> str:
    """Return the first few of many, so that 10,000 routes make one readable line."""
    all_of_them = [str(thing) for thing in things]
    rest = len(all_of_them) - SHOWN
    return "; ".join(all_of_them[:SHOWN]) + (f"; and {rest} more" if rest > 0 else "")


def _forward_firewall(facts: Facts) -> Iterator[Trouble]:
    names = [*facts.devices, *(str(prefix) for prefix in facts.config.prefixes)]
    wanted = {"ip": {4}, "ip6": {6}}
    for chain in facts.chains:
        if not chain.refuses or not wanted.get(chain.family, {4, 6}) & facts.versions:
            continue
        where = f"{chain.family} {chain.table} {chain.name}"
        named = [name for name in names if name in chain.text]
        if named:
            yield warning(f"chain {where} has {chain.refuses}; it has rules that name {_some(named)}: test that they "
                          "let traffic through", f"nft list table {chain.family} {chain.table}")  # fmt: skip
            continue
        what = f"chain {where} has {chain.refuses}, and no rule of it names a tunnel or prefix"
        yield error(what, _let(facts, chain.table, chain.name, chain.family))


def _let(facts: Facts, table: str, name: str, family: str) -> str:
    devices = facts.devices or ("DEVICE",)
    if name == "FORWARD":
        tool = "ip6tables" if family == "ip6" else "iptables"
        return "; ".join(f"{tool} -I FORWARD -{way} {device} -j ACCEPT" for device in devices for way in ("i", "o"))
    if table == "firewalld":
        return "; ".join(f"firewall-cmd --permanent --zone=trusted --add-interface={d}" for d in devices) + (
            "; firewall-cmd --reload   # and a policy that lets the uplink's zone forward to trusted"
        )
    return "; ".join(
        f"nft insert rule {family} {table} {name} {way} {device} accept"
        for device in devices
        for way in ("iifname", "oifname")
    )


def _our_tables(facts: Facts) -> frozenset[int]:
    config = facts.config
    regions = {region_table(config, name) for name in config.regions}
    return frozenset({tunnel.table for tunnel in config.tunnels.values()} | regions) - {0, MAIN_TABLE}


def _protocol(facts: Facts) -> Iterator[Trouble]:
    number, tables = facts.config.kernel.protocol, _our_tables(facts)
    known = frozenset(facts.config.prefixes)
    routes = [
        route
        for route in facts.routes
        if route.protocol == number and route.table not in tables
        if route.table != MAIN_TABLE or route.prefix not in known
    ]
    if routes:
        mend = (
            f"give the other program another protocol number, or change kernel.protocol; ip route show proto {number}"
        )
        yield warning(f"routes with our protocol number {number} that are none of ours: {_some(routes)}", mend)
    ours = {(rule.preference, rule.table) for rule in wanted_kernel_rules(facts.config)}
    rules = [r for r in facts.rules if r.protocol == number and (r.preference, r.table) not in ours]
    if rules:
        mend = "ip -d rule   # find whose they are, or change kernel.protocol"
        yield warning(f"rules with our protocol number {number} that are none of ours: {_some(rules)}", mend)


def _rules(facts: Facts) -> Iterator[Trouble]:
    number, tables = facts.config.kernel.protocol, _our_tables(facts)
    ours = wanted_kernel_rules(facts.config)
    sources = {str(rule.source) for rule in ours if isinstance(rule, SourceRule)}
    marks = [rule for rule in ours if isinstance(rule, MarkRule)]
    lowest = min(tables, default=0)
    for rule in facts.rules:
        if rule.protocol == number:
            continue
        mend = f"ip -{rule.version} rule del pref {rule.preference}   # or change kernel.table_base, region_table_base"
        if rule.preference in tables or rule.table in tables:
            yield warning(f"{rule} uses a preference or table of ours", mend)
        elif rule.source in sources and rule.preference < lowest:
            yield error(f"{rule} takes the checks' packets before our rules do", mend)
        elif rule.mark is not None and any(_takes(rule, one) for one in marks):
            yield error(f"{rule} takes packets of EIPs by their mark before our rules do", mend)


def _takes(foreign: RuleSeen, ours: MarkRule) -> bool:
    """Return whether a rule before ours matches every packet, or some, that has our mark."""
    if foreign.version != ours.version or foreign.preference >= ours.preference or foreign.mark is None:
        return False
    both = foreign.mask & ours.mask
    return both != 0 and foreign.mark & both == ours.mark & both


def _tables(facts: Facts) -> Iterator[Trouble]:
    tables = _our_tables(facts)
    foreign = [r for r in facts.routes if r.table in tables and r.protocol != facts.config.kernel.protocol]
    if foreign:
        mend = "; ".join(_delete(route) for route in foreign[:SHOWN]) + "   # or change kernel.table_base"
        yield warning(f"foreign routes in our tables: {_some(foreign)}", mend)


class _Known:
    """The configured prefixes, to be asked once for each route of a full table."""

    def __init__(self, prefixes: Iterable[Prefix]) -> None:
        self._prefixes = frozenset(prefixes)
        self._lengths = {v: sorted({p.prefixlen for p in self._prefixes if p.version == v}) for v in (4, 6)}

    def covering(self, prefix: Prefix) -> Prefix | None:
        """Return the configured prefix that is or holds this one."""
        for length in self._lengths[prefix.version]:
            if length <= prefix.prefixlen and (wider := prefix.supernet(new_prefix=length)) in self._prefixes:
                return wider
        return None


def _own_addresses(facts: Facts) -> Iterator[Trouble]:
    known = _Known(facts.config.prefixes)
    for route in facts.routes:
        if route.table != LOCAL_TABLE or route.kind not in CARRIES:
            continue
        by_hand = route.protocol != FROM_KERNEL or route.prefix.num_addresses == 1
        if by_hand and (prefix := known.covering(route.prefix)) is not None:
            yield warning(f"{route.prefix} is an address of this machine: it answers itself, {prefix} does not "
                          "carry it to a region", f"ip address del {route.prefix} dev {route.device}")  # fmt: skip


def _delete(route: RouteSeen) -> str:
    return (
        f"ip -{route.prefix.version} route del {route.prefix} table {route.table} proto {route.protocol} "
        f"metric {route.metric}"
    )


def _networkd(facts: Facts) -> Iterator[Trouble]:
    networkd = facts.networkd
    if not networkd.running:
        return
    keys = {"ManageForeignRoutes": networkd.manage_routes, "ManageForeignRoutingPolicyRules": networkd.manage_rules}
    wrong = [key for key, value in keys.items() if value is not False]
    if wrong:
        lines = "\\n".join(f"{key}=no" for key in wrong)
        mend = (
            "mkdir -p /etc/systemd/networkd.conf.d; "
            f"printf '[Network]\\n{lines}\\n' > /etc/systemd/networkd.conf.d/anycastd.conf; "
            "systemctl restart systemd-networkd"
        )
        yield warning(f"systemd-networkd runs, and {' and '.join(wrong)} {'is' if len(wrong) == 1 else 'are'} on", mend)


def _nftables_service(facts: Facts) -> Iterator[Trouble]:
    if facts.nftables_flushes:
        mend = (
            "replace `flush ruleset` in /etc/nftables.conf by `destroy table inet YOURS`, or systemctl disable nftables"
        )
        yield warning("nftables.service is enabled and /etc/nftables.conf begins with `flush ruleset`", mend)


COLLISIONS = (
    Check("forward-firewall", "Firewalls that drop what is forwarded",
          "Docker, firewalld and many rule sets end the forward chain with drop or reject. Every chain at the hook "
          "must accept a packet, so one is enough to drop what the POP attracts.",
          "A rule that accepts what comes from and goes to the tunnels, in each such chain, kept over a restart of "
          "the program that made it (Docker: the chain DOCKER-USER).", _forward_firewall, ("nft ", "tables")),
    Check("protocol-taken", "Other users of our route protocol number",
          "Everything with our protocol number counts as ours: routes and rules that the daemon does not want are "
          "removed. Those of a prefix that just left the configuration stay for its linger time, and are told here.",
          "Another number for one of the two: `kernel: {protocol: N}`.", _protocol, ("route show", "rule show")),
    Check("rules-taken", "Other rules at our preferences, to our tables or before ours",
          "Packets of checks would be looked up elsewhere: a check then passes over another path than the one it "
          "judges.",
          "`kernel: {table_base: N}` in a free range, or the other program's rules elsewhere.", _rules, ("rule show",)),
    Check("tables-taken", "Other routes in our tables",
          "A more specific route in a tunnel's table takes the checks away from the tunnel.",
          "`kernel: {table_base: N}` in a free range.", _tables, ("route show",)),
    Check("own-addresses", "Addresses of our prefixes on this machine",
          "The kernel looks up its own addresses before anything else: packets to such an EIP end here.",
          "Remove the address; `ping: pop` lets the POP answer echo requests.", _own_addresses, ("route show",)),
    Check("networkd", "systemd-networkd removes foreign routes and rules",
          "By default it removes routes and rules that it did not make, whenever it reconfigures a link: the daemon "
          "puts them back, but packets are lost meanwhile.",
          "`ManageForeignRoutes=no` and `ManageForeignRoutingPolicyRules=no` in a drop-in of networkd.conf(5).",
          _networkd),
    Check("nftables-service", "nftables.service flushes the ruleset",
          "`systemctl reload nftables` removes the tables of every program, among them the ones that translate or "
          "clamp the POP's traffic.",
          "Let /etc/nftables.conf replace its own tables only.", _nftables_service),
)  # fmt: skip
