"""What tells that the rules in the kernel are those that we installed, read from its own bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from anycastd.actuators.nft import wire

TABLE_NAME, TABLE_FLAGS, TABLE_USERDATA = 1, 2, 6
CHAIN_TABLE, CHAIN_NAME, CHAIN_HOOK, CHAIN_POLICY, CHAIN_TYPE, CHAIN_FLAGS = 1, 3, 4, 5, 7, 10
RULE_TABLE, RULE_CHAIN, RULE_EXPRESSIONS = 1, 2, 4
COMMENT = 0
"""The kind of a table's user data that is its comment (libnftnl/udata.h)."""


@dataclass(frozen=True, slots=True)
class TableFacts:
    """Our table: its comment (None: there is no table), its chains, and a digest of its flags, chains and rules."""

    comment: str | None = None
    chains: frozenset[str] = frozenset()
    digest: bytes = b""


def table_request(table: str, sequence: int) -> bytes:
    """Return a request for the table."""
    return wire.request(wire.GETTABLE, 0, sequence, wire.text(TABLE_NAME, table))


def chains_request(sequence: int) -> bytes:
    """Return a request for the chains of every inet table."""
    return wire.request(wire.GETCHAIN, wire.NLM_F_DUMP, sequence)


def rules_request(table: str, sequence: int) -> bytes:
    """Return a request for a table's rules."""
    return wire.request(wire.GETRULE, wire.NLM_F_DUMP, sequence, wire.text(RULE_TABLE, table))


def facts(table: str, body: dict[int, bytes], chains: Iterable[bytes], rules: Iterable[bytes]) -> TableFacts:
    """Return the facts of a table's attributes and of the datagrams with chains and rules."""
    digest = hashlib.sha256(body.get(TABLE_FLAGS, b""))
    named: dict[str, bytes] = {}
    for have in _bodies(chains):
        if _string(have.get(CHAIN_TABLE)) == table:
            parts = (have.get(what, b"") for what in (CHAIN_HOOK, CHAIN_POLICY, CHAIN_TYPE, CHAIN_FLAGS))
            named[_string(have.get(CHAIN_NAME))] = b"|".join(parts)
    for name in sorted(named):
        digest.update(name.encode() + b"=" + named[name])
    for have in _bodies(rules):
        if RULE_EXPRESSIONS in have and _string(have.get(RULE_TABLE)) == table:
            digest.update(have[RULE_CHAIN] + have[RULE_EXPRESSIONS])
    return TableFacts(_comment(body.get(TABLE_USERDATA, b"")), frozenset(named), digest.digest())


def _bodies(datagrams: Iterable[bytes]) -> Iterable[dict[int, bytes]]:
    for data in datagrams:
        for reply in wire.replies(data):
            if reply.type >> 8 == wire.SUBSYSTEM:
                yield wire.values(data, reply.body, reply.end)


def _string(raw: bytes | None) -> str:
    return (raw or b"").rstrip(b"\0").decode(errors="replace")


def _comment(data: bytes) -> str:
    """Return the comment among a table's user data: kind, width and value, a byte each and the value."""
    at = 0
    while at + 2 <= len(data):
        kind, width = data[at], data[at + 1]
        if kind == COMMENT:
            return _string(data[at + 2 : at + 2 + width])
        at += 2 + width
    return ""
