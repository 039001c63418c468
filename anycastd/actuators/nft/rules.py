"""The constant rules of the table, in the words of nft(8): an EIP is elements of sets and maps, never a rule.

Every packet to a prefix of ours that these rules do not let through ends in a counter: of an element, or one that has a
name. What is lost before them (a full table of connections) or behind them (in routing) is counted by the kernel.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType

from anycastd.actuators.nft import filters
from anycastd.actuators.nft.layout import LAYOUTS, definition
from anycastd.model.nft import BUCKETS, BY_SOURCE, REGION_MASK, Count, NamedCounter, NftSet, NftSettings, PopCounter

WITH_PORTS = "{ tcp, udp, sctp, udplite, dccp }"
REGION = f"{REGION_MASK:#010x}"
NO_REGION = f"meta mark & {REGION} == 0"
NO_PATH = f"counter name {NamedCounter.NO_PATH.value} drop"
ECHO = {4: "icmp type echo-request", 6: "icmpv6 type echo-request"}
ERROR = {
    4: "icmp type { destination-unreachable, time-exceeded, parameter-problem }",
    6: "icmpv6 type { destination-unreachable, packet-too-big, time-exceeded, parameter-problem }",
}
# the packet inside of an ICMP error, by bits behind the error's own header
INNER_HAS_PORTS = {
    # of an inner IPv4 header with options the ports are elsewhere
    4: f"@th,64,8 0x45 @th,136,8 {WITH_PORTS}",
    6: f"@th,112,8 {WITH_PORTS}",
}
INNER_TO = {4: "@th,192,32", 6: "@th,256,128"}
INNER_FROM = {4: "@th,160,32", 6: "@th,128,128"}
INNER_PORTS = {4: "@th,240,16 . @th,224,16 . @th,136,8", 6: "@th,400,16 . @th,384,16 . @th,112,8"}
WORD = {4: "ip", 6: "ip6"}
BGP_PORT = 179
ND = "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert }"
BFD_PORTS, BFD_SOURCE_PORT = "{ 3784, 4784 }", 49152
"""RFC 5881 section 4, RFC 5883 section 5."""
PRIORITY = 6
"""The highest that pfifo_fast, mq and prio sort into their first band (TC_PRIO_INTERACTIVE, linux/pkt_sched.h)."""
NFPROTO = {4: "ipv4", 6: "ipv6"}
BEGINS = "tcp flags & (fin | syn | rst | ack) == syn"

Chains = dict[str, tuple[str, list[str]]]
"""Name to the chain's hook, empty for one that is only jumped to, and its rules."""


def chains(settings: NftSettings) -> Chains:
    """Return every chain, those before others that jump to them."""
    found: Chains = {"routed": ("", [f"fib daddr . mark oif missing {NO_PATH}"])}
    for version in (4, 6):
        found[f"bucket{version}"] = ("", _bucket(version, settings.seed))
    found["pick"] = ("", _pick())
    found["begun"] = ("", _begun())
    found["stateless"] = ("", _stateless())
    found["go"] = ("", _go())
    for version in (4, 6):
        # one that began before the POP answered goes on to its backend
        found[f"bound{version}"] = ("", [f"{_pong(version)} ct mark & {REGION} == 0 accept", "goto go"])
        found[f"filter{version}"] = ("", filters.lines(settings.filters, version))
        found[f"in{version}"] = ("", _in(version, is_filtered=bool(found[f"filter{version}"][1])))
        found[f"nat{version}"] = ("", _nat(version))
        found[f"out{version}"] = ("", _out(version))
    found["mss"] = ("", _mss(settings))
    found["first"] = ("", _first(settings))
    found |= _hooks(settings)
    return found


def _hooks(settings: NftSettings) -> Chains:
    outer = ", ".join(str(port) for port in sorted(settings.outer_udp_ports))
    return {
        "untrack": ("type filter hook prerouting priority raw;", _untrack(outer)),
        "own_out": ("type filter hook output priority raw;", _own_out(settings, outer)),
        "pre": ("type filter hook prerouting priority mangle;", [f"{_to_own(v)} goto in{v}" for v in (4, 6)]),
        "to_backend": ("type nat hook prerouting priority dstnat;", [f"{_to_own(v)} goto nat{v}" for v in (4, 6)]),
        "hide_client": (
            "type nat hook postrouting priority srcnat;",
            [f"snat {WORD[v]} to meta mark map @hide{v}" for v in (4, 6)],
        ),
        "leave": (
            # behind the translations: the source is the EIP again
            "type filter hook postrouting priority 150;",
            [
                # here, and not where packets are forwarded: a hook costs each of them as much as several rules
                "tcp flags & (syn | rst) == syn jump mss",
                # vxlan routes its outer packet by the inner one's mark
                f"meta mark & {REGION} != 0 meta mark set 0",
                *(f"{_from_own(v)} goto out{v}" for v in (4, 6)),
            ],
        ),
    }


def _to_own(version: int) -> str:
    return f"{WORD[version]} daddr @own{version}"


def _from_own(version: int) -> str:
    return f"{WORD[version]} saddr @own{version}"


def _pong(version: int) -> str:
    # other packets are told by one comparison, without a look into a set
    return f"{ECHO[version]} {WORD[version]} daddr @pong{version}"


def _untrack(outer: str) -> list[str]:
    lines = [f"udp dport {{ {outer} }} fib daddr type local notrack accept"] if outer else []
    # a table full of an attack's connections is not to take BFD down
    lines.append(f"udp dport {BFD_PORTS} udp sport >= {BFD_SOURCE_PORT} fib daddr type local notrack accept")
    for version in (4, 6):
        # what the POP answers is translated to an address of its own, which takes a connection
        lines.append(f"{_pong(version)} accept")
        lines += [f"{WORD[version]} {side} @free{version} notrack" for side in ("daddr", "saddr")]
        lines += _loose(version)
    return lines


def _loose(version: int) -> list[str]:
    """Return the rules by which what begins at an attacked EIP takes no entry of the connection table.

    The first packet of a real client that is tracked is its second one: the kernel picks the connection up there, and
    the path is chosen by the same hash. What an attacker only begins leaves nothing behind.
    """
    to, back = f"{WORD[version]} daddr @loose{version} notrack", f"{WORD[version]} saddr @loose{version} notrack"
    return [
        f"{BEGINS} {to}",
        f"meta l4proto udp {to}",
        f"meta l4proto udp {back}",
        f"{ECHO[version]} {to}",
        f"{ECHO[version].replace('request', 'reply')} {back}",
    ]


def _own_out(settings: NftSettings, outer: str) -> list[str]:
    """Return the rules for what this machine sends itself: our checks, BGP and BFD go first.

    The tunnels' own packets, of which there is one for each that is forwarded, are done with at once.
    """
    lines = [f"udp dport {{ {outer} }} notrack accept"] if outer else []
    lines.append(f"udp dport {BFD_PORTS} notrack")
    if not settings.own_first:
        return lines
    sources = {v: ", ".join(str(one) for one in settings.own_sources if one.version == v) for v in (4, 6)}
    return [
        *lines,
        *(f"{WORD[v]} saddr {{ {listed} }} goto first" for v, listed in sources.items() if listed),
        f"tcp dport {BGP_PORT} goto first",
        f"tcp sport {BGP_PORT} goto first",
        f"udp dport {BFD_PORTS} goto first",
        # without the neighbor's address none of these leaves; the kernel gives its questions no class
        f"{ND} goto first",
    ]


def _first(settings: NftSettings) -> list[str]:
    marks = [] if settings.dscp is None else [f"{WORD[v]} dscp set {settings.dscp:#04x}" for v in (4, 6)]
    return [f"meta priority set 0:{PRIORITY:x}", *marks]


def _in(version: int, *, is_filtered: bool) -> list[str]:
    to = f"{WORD[version]} daddr"
    return [
        f"counter name {PopCounter(f'arrived{version}').value}",
        *([f"jump filter{version}"] if is_filtered else []),
        f"{to} @idle{version} drop",
        f"{to} @dark{version} drop",
        f"{to} @limin{version} counter name {PopCounter.LIMITED.value} drop",
        f"{to} @in{version} goto bound{version}",
        # an address of this machine, inside of a prefix of ours
        "fib daddr type local accept",
        f"counter name {NamedCounter(f'unbound{version}').value} drop",
    ]


def _go() -> list[str]:
    return [
        "ct state invalid,untracked goto stateless",
        f"ct mark & {REGION} != 0 meta mark set ct mark goto routed",
        "meta mark set 0",
        "jump pick",
        f"{NO_REGION} {NO_PATH}",
        "jump begun",
        "ct mark set meta mark",
        "goto routed",
    ]


def _stateless() -> list[str]:
    return [
        "meta mark set 0",
        "jump pick",
        f"{NO_REGION} {NO_PATH}",
        f"meta mark @translated counter name {NamedCounter.UNTRACKED.value} drop",
        # no connection is known: a flood of SYNs to an EIP that is not tracked is one of new connections all the same
        f"{BEGINS} jump begun",
        "goto routed",
    ]


def _begun() -> list[str]:
    """Return the rules that count what begins, of the POP and of the EIP; other packets never come here."""
    return [f"counter name {PopCounter.OPENED.value}", *(f"{WORD[v]} daddr @new{v}" for v in (4, 6))]


def _pick() -> list[str]:
    return [
        "meta mark set ip daddr map @eip4",
        "meta mark set ip6 daddr map @eip6",
        "meta mark set meta mark map @pool",
        f"meta mark & {REGION} != 0 return",
        *(f"meta nfproto {NFPROTO[version]} jump bucket{version}" for version in (4, 6)),
        "meta mark set meta mark . meta priority map @slot",
        "meta priority set 0",
    ]


def _bucket(version: int, seed: int) -> list[str]:
    """Return the rules that leave a packet's bucket in `meta priority`, where a map can take it from.

    An ICMP error is about a packet that the EIP sent: turned round it gives the bucket of the flow's own packets.
    """
    word = WORD[version]
    by_source = f"meta mark & {BY_SOURCE:#010x} != 0"

    def bucket(of: str) -> str:
        return f"meta priority set jhash {of} mod {BUCKETS} seed {seed:#010x} return"

    addresses = f"{word} saddr . {word} daddr"
    inner = f"{INNER_TO[version]} . {INNER_FROM[version]}"
    error = ERROR[version]
    return [
        f"{error} {by_source} {bucket(INNER_TO[version])}",
        f"{by_source} {bucket(f'{word} saddr')}",
        f"meta l4proto {WITH_PORTS} {bucket(f'{addresses} . th sport . th dport . meta l4proto')}",
        f"{error} {INNER_HAS_PORTS[version]} {bucket(f'{inner} . {INNER_PORTS[version]}')}",
        f"{error} {bucket(inner)}",
        bucket(addresses),
    ]


def _nat(version: int) -> list[str]:
    word = WORD[version]
    return [
        f"{_pong(version)} redirect",
        f"dnat {word} to meta mark . meta l4proto . th dport map @port{version}",
        f"dnat {word} to meta mark map @nat{version}",
    ]


def _out(version: int) -> list[str]:
    source = f"{WORD[version]} saddr"
    return [
        f"{source} @limout{version} drop",
        f"{source} @out{version}",
        f"meta priority set {source} map @class{version}",
    ]


def _mss(settings: NftSettings) -> list[str]:
    marked = [f"{what} mark & {REGION} != 0" for what in ("meta", "ct")]
    return [
        f"{which} meta nfproto {NFPROTO[version]} tcp option maxseg size > {size} tcp option maxseg size set {size}"
        for version, size in ((4, settings.mss4), (6, settings.mss6))
        for which in (*marked, _from_own(version))
    ]


def definitions(settings: NftSettings, counts: Mapping[NamedCounter, Count] = MappingProxyType({})) -> list[str]:
    """Return what stands in the table besides rules: sets, counters (new ones with `counts`) and empty chains."""
    return [
        *(definition(name) for name in LAYOUTS),
        *(f"counter {name.value} {{ {_count(counts.get(name))} }}" for name in NamedCounter),
        *(f"counter {name.value} {{ }}" for name in PopCounter),
        *(
            f"chain {name} {{ {hook}{' policy accept;' if hook else ''} }}"
            for name, (hook, _) in chains(settings).items()
        ),
    ]


def _count(count: Count | None) -> str:
    return "" if count is None else f"packets {count.packets} bytes {count.bytes}"


def digest(settings: NftSettings) -> str:
    """Return what tells this table's definitions from another version's; the rules themselves may differ."""
    return hashlib.sha256("\n".join(definitions(settings)).encode()).hexdigest()[:12]


def comment(settings: NftSettings) -> str:
    """Return the table's comment."""
    return f"anycastd {digest(settings)}"


def install(settings: NftSettings, foreign_chains: Iterable[str] = ()) -> str:
    """Return one transaction that makes the rules so and touches no element, counter or set that stands.

    `foreign_chains` are those in our table that are not ours: they go.
    """
    table = f"inet {settings.table}"
    named = filters.counters(settings.filters)
    lines = [f"table {table} {{", f'comment "{comment(settings)}"', *definitions(settings), *named, "}"]
    lines += [f"flush chain {table} {name}" for name in (*foreign_chains, *chains(settings))]
    lines += [f"delete chain {table} {name}" for name in foreign_chains]
    return "\n".join([*lines, *_rules(settings)]) + "\n"


def replace(
    settings: NftSettings,
    contents: Iterable[str],
    counts: Mapping[NamedCounter, Count],
    own: Mapping[NftSet, Sequence[str]],
) -> str:
    """Return one transaction that puts a new table in the old one's place; `install` is to follow.

    `contents` are statements that fill its sets, `counts` where its counters go on. `own` are the prefixes of OWN4 and
    OWN6: until `install` the rules name each of them. The kernel shows the new rules at once, but what is in a new set
    of prefixes only at the end of the transaction, a millisecond later: packets that came meanwhile were lost.
    """
    table = f"inet {settings.table}"
    lines = [f"table {table} {{ }}", f"delete table {table}", f"table {table} {{", f'comment "{comment(settings)}"']
    named = filters.counters(settings.filters)
    return "\n".join([*lines, *definitions(settings, counts), *named, "}", *contents, *_rules(settings, own)]) + "\n"


def remove(settings: NftSettings) -> str:
    """Return one transaction that removes the table, there or not."""
    return f"table inet {settings.table} {{ }}\ndelete table inet {settings.table}\n"


def _rules(settings: NftSettings, own: Mapping[NftSet, Sequence[str]] = MappingProxyType({})) -> Iterator[str]:
    yield f"table inet {settings.table} {{"
    for name, (_, lines) in chains(settings).items():
        yield f"chain {name} {{"
        for line in lines:
            yield from _with_prefixes(line, own)
        yield "}"
    yield "}"


def _with_prefixes(line: str, own: Mapping[NftSet, Sequence[str]]) -> list[str]:
    """Return a rule once for each prefix in place of the set that holds them, itself if it looks into none of `own`."""
    for name, prefixes in own.items():
        if f"@{name.value} " in line:
            return [line.replace(f"@{name.value} ", f"{prefix} ") for prefix in prefixes]
    return [line]
