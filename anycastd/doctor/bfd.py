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
UNIT_OF = {"bfdd": "frr", "bird": "bird"}


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
            mend = f"systemctl disable --now {UNIT_OF.get(found.process, found.process or 'PROGRAM')}"
            if found.process == "bfdd":
                mend = "sed -i s/^bfdd=yes/bfdd=no/ /etc/frr/daemons && systemctl restart frr"
            yield error(f"{who} speaks BFD on {found.address}: UDP port {needed} is taken", mend)


BFD = (
    Check("bfd-port", "Ports of BFD",
          "UDP port 3784 (multihop: 4784) can belong to one program. While FRR's bfdd or BIRD has it, every `bfd` "
          "check is UNKNOWN. Looked at only where there is such a check.",
          "End the other program's BFD on this machine, or use another kind of check.", _port),
)  # fmt: skip
