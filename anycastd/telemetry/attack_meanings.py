"""Why traffic is not NORMAL: part of docs/reasons.md, see reasons.py."""

from __future__ import annotations

from collections.abc import Mapping

from anycastd.model.attack import AttackReason
from anycastd.telemetry.meaning import Meaning

ATTACKS: Mapping[AttackReason, Meaning] = {
    AttackReason.PACKETS_ABOVE_USUAL: Meaning(
        "More packets a second come in than `attack.detect` calls usual (`elevated_times`, `attack_times`).",
        "`anycastd attack status`: what they look like, and where they come from.",
    ),
    AttackReason.BITS_ABOVE_USUAL: Meaning(
        "More bits a second come in than is usual.", "`anycastd attack status`; is an uplink full?"
    ),
    AttackReason.CONNECTIONS_ABOVE_USUAL: Meaning(
        "More new connections a second are opened at this POP, or to the EIP, than is usual.",
        "A flood of SYN or of random sources: `anycastd attack status` says of which protocol.",
    ),
    AttackReason.PACKETS_ABOVE_LEVEL: Meaning("More packets a second than `level_packets`, whatever is usual."),
    AttackReason.BITS_ABOVE_LEVEL: Meaning("More bits a second than `level_bits`, whatever is usual."),
    AttackReason.CONNECTIONS_ABOVE_LEVEL: Meaning(
        "More new connections a second than `level_connections`, whatever is usual."
    ),
    AttackReason.DROPPED_BY_LIMIT: Meaning(
        "More than half of many packets to the EIP are above its limit: its senders do not heed loss.",
        "A limit that is too small for a busy EIP looks alike: `anycastd eip show EIP`.",
    ),
    AttackReason.DROPPED_BY_DEVICE: Meaning(
        "Uplinks drop what they receive, and traffic is unusual.", "Raise their rings (`ethtool -g`), or spread."
    ),
    AttackReason.DROPPED_BY_SOFTIRQ: Meaning(
        "Processors have no time to take packets from their queues, and traffic is unusual.",
        "More queues and processors for the uplinks; `net.core.netdev_max_backlog`.",
    ),
    AttackReason.CONNTRACK_FULL: Meaning(
        "The kernel's table of tracked connections is nearly full, or had no room.", "See the alarm `conntrack_full`."
    ),
    AttackReason.CHECKS_SLOW: Meaning("Our own checks take far longer than usual, and traffic is unusual."),
    AttackReason.ORDERED: Meaning("An operator says so; traffic has no say until it is taken back."),
}
