"""The metrics of EIPs: 15 lines for each, written as text at once and in pieces.

With prometheus_client's objects 10,000 EIPs take ten times as long (measured: 6 us a line for 0.5); so the text is made
here, some hundred lines at a time, between which the caller gives the loop back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

from anycastd.model.address import Address
from anycastd.model.conntrack import ConntrackStats, PathConnections
from anycastd.model.eip import EipView
from anycastd.model.nft import BUCKETS
from anycastd.model.traffic import Direction, DropCause, EipTraffic, Sample, Totals, Unforwarded
from anycastd.telemetry import catalogue as c

PIECE_EIPS = 200

Lines = Iterator[str]
_IN, _OUT = (f'",direction="{way.value}"' for way in Direction)
_LIMIT, _UNBOUND, _NO_PATH = (f',cause="{cause.value}"' for cause in DropCause)


@dataclass(frozen=True, slots=True)
class TrafficFacts:
    """What a scrape tells: the last reading, the EIPs as they stand, and of connections what was read.

    `shaped_dropped`: packets that the queues of shaped EIPs dropped. `connections`: of the EIPs that have some.
    """

    sample: Sample | None = None
    views: Mapping[Address, EipView] = field(default_factory=dict)
    conntrack: ConntrackStats | None = None
    shaped_dropped: Mapping[Address, int] = field(default_factory=dict)
    connections: Mapping[Address, int] = field(default_factory=dict)
    by_path: Sequence[PathConnections] = ()
    unforwarded: Mapping[int, Unforwarded] = field(default_factory=dict)
    """By IP version."""


def pieces_of(facts: TrafficFacts) -> Iterator[bytes]:
    """Yield the text of every metric of traffic, in pieces that take less than a millisecond each."""
    eips: list[tuple[str, EipTraffic]] = []
    found = iter(facts.sample.eips.items() if facts.sample else ())
    while bite := [(str(address), traffic) for address, traffic in islice(found, PIECE_EIPS)]:
        eips += bite
        yield b""
    for spec, lines in _families(facts, eips):
        yield f"# HELP {spec.name} {spec.text}\n# TYPE {spec.name} {spec.kind.value}\n".encode()
        while piece := list(islice(lines, PIECE_EIPS)):
            yield "".join(piece).encode()


def _families(facts: TrafficFacts, eips: list[tuple[str, EipTraffic]]) -> Iterator[tuple[c.Spec, Lines]]:
    for spec, line in _OF_EIP:
        yield spec, (line(f'{spec.name}{{eip="{address}', traffic) for address, traffic in eips)
    spec = c.EIP_SHAPED_DROPPED
    yield spec, _labelled(spec, "eip", ((str(address), count) for address, count in facts.shaped_dropped.items()))
    # asked for view by view, twice: all of 10,000 at once would hold the loop
    yield (
        c.EIP_STATUS,
        (f'{c.EIP_STATUS.name}{{eip="{at}",status="{view.status.value}"}} 1\n' for at, view in facts.views.items()),
    )
    yield c.EIP_PLACEMENT, (_placement(address, view) for address, view in facts.views.items())
    connections = ((str(address), count) for address, count in facts.connections.items())
    yield c.EIP_CONNECTIONS, _labelled(c.EIP_CONNECTIONS, "eip", connections)
    yield c.PATH_CONNECTIONS, (_pinned(path) for path in facts.by_path)
    yield from _of_pop(facts.sample)
    yield c.UNFORWARDED_PACKETS, _unforwarded(facts.unforwarded)
    yield from _of_conntrack(facts.conntrack)


def _bytes(head: str, traffic: EipTraffic) -> str:
    return f"{head}{_IN}}} {traffic.counts[_IN_BYTES]}\n{head}{_OUT}}} {traffic.counts[_OUT_BYTES]}\n"


def _packets(head: str, traffic: EipTraffic) -> str:
    return f"{head}{_IN}}} {traffic.counts[_IN_PACKETS]}\n{head}{_OUT}}} {traffic.counts[_OUT_PACKETS]}\n"


def _dropped(more: int) -> Callable[[str, EipTraffic], str]:
    """Return what writes an EIP's drops: packets, or with `more` 1 bytes."""
    limit_in, limit_out = _LIMIT_IN_PACKETS + more, _LIMIT_OUT_PACKETS + more
    unbound, no_path = _UNBOUND_PACKETS + more, _NO_PATH_PACKETS + more

    def write(head: str, traffic: EipTraffic) -> str:
        counts, standing = traffic.counts, traffic.standing
        text = f"{head}{_IN}{_UNBOUND}}} {counts[unbound]}\n{head}{_IN}{_NO_PATH}}} {counts[no_path]}\n"
        if standing.in_limit_bps is not None or counts[limit_in]:
            text += f"{head}{_IN}{_LIMIT}}} {counts[limit_in]}\n"
        if standing.out_limit_bps is not None or counts[limit_out]:
            text += f"{head}{_OUT}{_LIMIT}}} {counts[limit_out]}\n"
        return text

    return write


def _limits(head: str, traffic: EipTraffic) -> str:
    standing = traffic.standing
    text = "" if standing.in_limit_bps is None else f"{head}{_IN}}} {standing.in_limit_bps}\n"
    return text if standing.out_limit_bps is None else f"{text}{head}{_OUT}}} {standing.out_limit_bps}\n"


_IN_PACKETS, _IN_BYTES, _OUT_PACKETS, _OUT_BYTES = map(
    Totals._fields.index, ("in_packets", "in_bytes", "out_packets", "out_bytes")
)
_LIMIT_IN_PACKETS, _LIMIT_OUT_PACKETS, _UNBOUND_PACKETS, _NO_PATH_PACKETS = map(
    Totals._fields.index, ("limit_in_packets", "limit_out_packets", "unbound_packets", "no_path_packets")
)
_OF_EIP: tuple[tuple[c.Spec, Callable[[str, EipTraffic], str]], ...] = (
    (c.EIP_BYTES, _bytes),
    (c.EIP_PACKETS, _packets),
    (c.EIP_DROPPED_BYTES, _dropped(1)),
    (c.EIP_DROPPED_PACKETS, _dropped(0)),
    (c.EIP_LIMIT, _limits),
)


def _placement(address: Address, view: EipView) -> str:
    shares: dict[tuple[str, str], int] = {}
    for share in view.placement.shares if view.placement else ():
        to = (share.path.region, share.path.backend.rpartition("/")[2])
        shares[to] = shares.get(to, 0) + share.buckets
    return "".join(
        f'{c.EIP_PLACEMENT.name}{{eip="{address}",region="{_escaped(region)}",backend="{_escaped(backend)}"}} '
        f"{buckets / BUCKETS:g}\n"
        for (region, backend), buckets in shares.items()
    )


def _pinned(path: PathConnections) -> str:
    labels = f'region="{_escaped(path.region)}",backend="{_escaped(path.backend)}",mode="{path.mode}"'
    return f"{c.PATH_CONNECTIONS.name}{{{labels}}} {path.count}\n"


def _of_pop(sample: Sample | None) -> Iterator[tuple[c.Spec, Lines]]:
    counts = {way: sample.pop.passed(way) for way in Direction} if sample else {}
    yield c.POP_BYTES, _labelled(c.POP_BYTES, "direction", ((way.value, n.bytes) for way, n in counts.items()))
    yield c.POP_PACKETS, _labelled(c.POP_PACKETS, "direction", ((way.value, n.packets) for way, n in counts.items()))
    named = sample.named if sample else {}
    spec = c.POP_DROPPED_BYTES
    yield spec, _labelled(spec, "cause", ((name.value, n.bytes) for name, n in named.items()))
    spec = c.POP_DROPPED_PACKETS
    yield spec, _labelled(spec, "cause", ((name.value, n.packets) for name, n in named.items()))


def _of_conntrack(found: ConntrackStats | None) -> Iterator[tuple[c.Spec, Lines]]:
    values = (
        (c.CONNTRACK_ENTRIES, found and found.count),
        (c.CONNTRACK_LIMIT, found and found.max),
        (c.CONNTRACK_INSERT_FAILED, found and found.insert_failed),
        (c.CONNTRACK_DROP, found and found.dropped),
        (c.CONNTRACK_EARLY_DROP, found and found.early_dropped),
    )
    for spec, value in values:
        yield spec, iter(() if value is None else (f"{spec.name} {value}\n",))


def _unforwarded(found: Mapping[int, Unforwarded]) -> Lines:
    name = c.UNFORWARDED_PACKETS.name
    for version, counted in found.items():
        for cause, count in counted._asdict().items():
            yield f'{name}{{family="ipv{version}",cause="{cause}"}} {count}\n'


def _labelled(spec: c.Spec, label: str, samples: Iterable[tuple[str, int]]) -> Lines:
    return (f'{spec.name}{{{label}="{value}"}} {count}\n' for value, count in samples)


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
