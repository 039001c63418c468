"""What is usual, in a small file: a restart in the middle of an attack must not learn it anew.

No times are in it: while the daemon was away nothing was learnt and nothing forgotten. A file that cannot be read is as
good as none; then it is learnt anew, which takes `attack.detect.warm_up`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from anycastd.attack.usual import Usual
from anycastd.model.address import Address
from anycastd.runtime.kept.document import loaded, made_of

FORMAT = 1
MOST = 1e15
"""A petabit a second, or 30 million years."""


def encode(pop: Usual, eips: Mapping[Address, Usual]) -> str:
    """Return the file's text, a line for each EIP."""
    lines = [f"{json.dumps(str(address))}: {_numbers(one)}" for address, one in eips.items()]
    head = f'{{"format": {FORMAT}, "pop": {_numbers(pop)}, "eips": {{'
    return head + ",".join(f"\n{line}" for line in lines) + "\n}}\n"


def _numbers(one: Usual) -> str:
    return json.dumps([round(number, 3) for number in (one.packets, one.bits, one.connections, one.known_s)])


def decode(text: str, now_s: float) -> tuple[Usual, dict[Address, Usual]]:
    """Return what `encode` wrote, learnt until `now_s` (monotonic); ValueError for anything else."""

    def made(document: dict[str, Any]) -> tuple[Usual, dict[Address, Usual]]:
        eips = {ip_address(key): _usual(value, now_s) for key, value in document["eips"].items()}
        return _usual(document["pop"], now_s), eips

    return made_of(text, FORMAT, "a file of what is usual", ("pop", "eips"), made)


def _usual(value: list[float], now_s: float) -> Usual:
    packets, bits, connections, known_s = (float(number) for number in value)
    # NaN is never between; were the usual beyond all measure, no attack would ever be seen again
    if not all(0.0 <= number <= MOST for number in (packets, bits, connections, known_s)):
        message = "a number is negative or beyond all measure"
        raise ValueError(message)
    return Usual(packets, bits, connections, known_s, now_s)


def load(path: Path, now_s: float) -> tuple[Usual, dict[Address, Usual], str]:
    """Return what was saved and, if there is none to be had, why (empty for a first start)."""
    (pop, eips), why = loaded(path, lambda text: decode(text, now_s), lambda: (Usual(at_s=now_s), {}))
    return pop, eips, why
