"""Blackholes and flow rules in the words of nft(8): a rule each, with a counter that has its name. Pure.

They come before an EIP is looked up, so that what is dropped costs next to nothing. Packets have been put together
from their fragments here: the kernel does that before it tracks connections.
"""

from __future__ import annotations

from collections.abc import Iterable

from anycastd.model.flow import Ranges
from anycastd.model.nft import LocalFilter

COUNTER = "filter_"
BURST_S = 0.1
MIN_BURST_BYTES = 16_384
"""Of a limit: less would drop of a single large segment (GRO)."""
WORD = {4: "ip", 6: "ip6"}


def counter_of(id_: str) -> str:
    """Return the name of the counter of a blackhole or flow rule."""
    return COUNTER + id_.replace("-", "_")


def lines(filters: Iterable[LocalFilter], version: int) -> list[str]:
    """Return the rules of one family, in their order."""
    return [_line(one, version) for one in filters if one.match.destination.version == version]


def _line(one: LocalFilter, version: int) -> str:
    match, word = one.match, WORD[version]
    words = [f"{word} daddr {match.destination}"]
    if one.until_unix_s is not None:
        words.append(f"meta time < {one.until_unix_s}")
    if match.source is not None:
        words.append(f"{word} saddr {match.source}")
    if match.protocols:
        words.append(f"meta l4proto {_set((number, number) for number in match.protocols)}")
    if match.destination_ports:
        words.append(f"th dport {_set(match.destination_ports)}")
    if match.source_ports:
        words.append(f"th sport {_set(match.source_ports)}")
    if match.lengths:
        words.append(f"meta length {_set(match.lengths)}")
    if bits := match.tcp_set | match.tcp_unset:
        # all of these on, none of those; the protocol was asked for
        words.append(f"tcp flags & {bits:#x} == {match.tcp_set:#x}")
    if one.rate_bytes_s:
        burst = max(int(one.rate_bytes_s * BURST_S), MIN_BURST_BYTES)
        words.append(f"limit rate over {one.rate_bytes_s} bytes/second burst {burst} bytes")
    return " ".join([*words, f"counter name {counter_of(one.id)}", "drop"])


def _set(ranges: Iterable[tuple[int, int]] | Ranges) -> str:
    return "{ " + ", ".join(str(low) if low == high else f"{low}-{high}" for low, high in merged(ranges)) + " }"


def merged(ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return ranges without those that overlap or touch: nft refuses a set in which they do."""
    found: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if found and low <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(high, found[-1][1]))
        else:
            found.append((low, high))
    return found


def counters(filters: Iterable[LocalFilter]) -> list[str]:
    """Return the definitions of the counters."""
    return [f"counter {counter_of(one.id)} {{ }}" for one in filters]
