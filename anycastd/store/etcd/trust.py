"""What of a store's contents may be applied without an operator's word: nothing that looks lost or foreign. Pure.

A cluster that was restored from an older snapshot, another cluster at the same address, and a store that somebody
emptied all answer as if nothing were wrong. What stands here goes on until somebody says `anycastd fleet accept`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of the store: its cluster, the highest revision, our own heartbeat's, how many EIPs are bound."""

    cluster: str
    revision: int
    beat: int = 0
    bound: int = 0


def history_doubt(known: Known, cluster: str, revision: int, beat: int) -> str:
    """Return why the store's history is not the one we know; "" = it is. `beat` 0: our heartbeat is not there."""
    if known.cluster and cluster != known.cluster:
        return f"the cluster is {cluster}, what stands here is of {known.cluster}"
    if revision < known.revision:
        return f"the store is at revision {revision}, this POP has seen {known.revision}: it lost what came after"
    if beat < known.beat:
        return f"our own heartbeat of revision {known.beat} is not in the store any more: its history is another one"
    return ""


def contents_doubt(known: Known, bound: int) -> str:
    """Return why a snapshot with so many bound EIPs is not taken; "" = it may be."""
    if known.bound and not bound:
        return f"no EIP is bound in the store, {known.bound} are here"
    if bound * 2 < known.bound:
        return f"{bound} EIPs are bound in the store, {known.bound} here: more than half would be gone"
    return ""


def removal_doubt(bound: int, removed: int) -> str:
    """Return why a change is not taken that deletes bound EIPs (our own API unbinds them first); "" = it may be."""
    if removed and removed * 2 > bound:
        return f"{removed} of {bound} bound EIPs were deleted from the store at once, past the API"
    return ""
