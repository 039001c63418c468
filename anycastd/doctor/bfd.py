"""Checks of what BFD needs of the machine: its ports."""

from __future__ import annotations

from collections.abc import Iterator

from anycastd.doctor.asking import Asking
from anycastd.doctor.facts import Facts, Listener
from anycastd.doctor.finding import Check, Trouble, error
from anycastd.doctor.kernel_facts import listeners as of_port
from anycastd.model.checks import BfdOptions, Via
from anycastd.model.topology import Config

PORT, MULTIHOP_PORT = 3784, 4784
VIA_OF = {"bfdd": Via.FRR, "bird": Via.BIRD}
"""Who speaks it, and can be asked for its sessions."""


def ports(config: Config) -> tuple[int, ...]:
    """Return the UDP ports that the configured sessions need."""
    options = [one.check.options for one in config.probes if isinstance(one.check.options, BfdOptions)]
    needed = {MULTIHOP_PORT if one.multihop else PORT for one in options if one.via is Via.OWN}
    return tuple(sorted(needed))


def listeners(ask: Asking, config: Config) -> tuple[Listener, ...]:
    """Return who has a port that our sessions need."""
    return tuple(found for port in ports(config) for found in of_port(ask, port, "udp"))


def _port(facts: Facts) -> Iterator[Trouble]:
    for found in facts.bfd_listeners:
        if not found.ours:
            who = found.process or "another program"
            needed = " and ".join(str(port) for port in ports(facts.config))
            mend = f"systemctl disable --now {found.process or 'PROGRAM'}"
            if via := VIA_OF.get(found.process):
                # the router may carry all there is: nothing that restarts it comes first
                mend = f"checks.NAME.bfd.via: {via}   # reads its sessions; or end its BFD"
            yield error(f"{who} speaks BFD on {found.address}: UDP port {needed} is taken", mend)


BFD = (
    Check("bfd-port", "Ports of BFD",
          "UDP port 3784 (multihop: 4784) can belong to one program. While FRR's bfdd or BIRD has it, every `bfd` "
          "check is UNKNOWN. Looked at only where there is such a check.",
          "Read its sessions (`via: frr` or `bird`, docs/bfd.md), end its BFD, or use another kind of check.", _port),
)  # fmt: skip
