"""What blackholes and flow rules drop is still an attack on its EIP, though the EIP's own counters never see it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from anycastd.model.address import Address
from anycastd.model.nft import Count
from anycastd.model.traffic import Sample, Totals

_PACKETS, _BYTES = map(Totals._fields.index, ("no_path_packets", "no_path_bytes"))


def with_filtered(sample: Sample, filtered: Mapping[Address, Count]) -> Sample:
    """Return a reading with what was dropped before its EIPs were looked up, as if they had dropped it.

    `filtered` never goes down, not even when what dropped it has ended.
    """
    if not filtered:
        return sample
    eips = dict(sample.eips)
    for address, count in filtered.items():
        if (traffic := eips.get(address)) is not None:
            counts = list(traffic.counts)
            counts[_PACKETS] += count.packets
            counts[_BYTES] += count.bytes
            eips[address] = traffic._replace(counts=tuple(counts))
    return replace(sample, eips=eips)
