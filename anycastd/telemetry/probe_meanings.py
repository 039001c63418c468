"""What each end of a probe means and what to do about it: part of docs/reasons.md, see reasons.py."""

from __future__ import annotations

from collections.abc import Mapping

from anycastd.model.probe import Why
from anycastd.telemetry.meaning import Meaning

PROBES: Mapping[Why, Meaning] = {
    Why.ANSWERED: Meaning("The target answered as wanted."),
    Why.TIMEOUT: Meaning(
        "Nothing came back within `timeout`.", "Packet loss, a firewall that drops, or a target that hangs."
    ),
    Why.REFUSED: Meaning("The target's machine answers, but nobody listens on the port.", "Is the service running?"),
    Why.RESET: Meaning(
        "The connection was cut by the other side before the answer was whole.", "Look at the target's own log."
    ),
    Why.UNREACHABLE: Meaning(
        "A router or the far machine said that the target cannot be reached (ICMP).",
        "Look at routing behind the tunnel.",
    ),
    Why.BAD_STATUS: Meaning("The HTTP status is not one of those wanted.", "Ask the same with curl from the POP."),
    Why.BAD_ANSWER: Meaning(
        "What came back is not what was asked for: not the protocol, or the text wanted is not in it.",
        "Ask the same by hand.",
    ),
    Why.BAD_RCODE: Meaning(
        "The name server answered with another code than the one wanted.", "dig @TARGET NAME TYPE, from the POP"
    ),
    Why.BAD_EXIT: Meaning(
        "The program of an `exec` check ended with another exit status than 0.",
        "The detail shows what it said first; run it by hand with the variables of docs/checks.md.",
    ),
    Why.TLS_FAILED: Meaning(
        "No TLS session: certificate, name or protocol version do not fit, or the server refused our certificate.",
        "openssl s_client -connect TARGET",
    ),
    Why.CERTIFICATE_EXPIRES: Meaning(
        "The certificate is valid, but not for as long as `expires_in` asks for, and `expiring` is `fail`.",
        "Renew it; the detail says when it ends.",
    ),
    Why.LINK_DOWN: Meaning("The tunnel's device is down, has no carrier or is gone.", "ip link show DEVICE"),
    Why.ADDRESS_GONE: Meaning("The tunnel's device does not carry our address any more.", "ip address show DEVICE"),
    Why.MAINTENANCE: Meaning(
        "A `file` check says that the target is not to be used: its file is there, or is missing, as configured.",
        "Nothing, while the work goes on; then remove (or restore) the file that the detail names.",
    ),
    Why.BFD_DOWN: Meaning(
        "The BFD session with the tunnel's far end is not up: nothing was heard of it for the detection time, it said "
        "so itself, or the session never came up within `timeout`. The detail has the state and the diagnostic.",
        "Follow the tunnel's underlay. One that was never up: is BFD set up at the far end, with the same addresses, "
        "hops and authentication? docs/bfd.md.",
    ),
    Why.NO_PERMISSION: Meaning(
        "The kernel does not let us send the probe, or look at the file.",
        "net.ipv4.ping_group_range must hold the daemon's group, or it needs CAP_NET_RAW; a local firewall also "
        "answers so. Of a `file` check: the directory cannot be read by the daemon.",
    ),
    Why.NO_DEVICE: Meaning("The device to send over does not exist.", "Is the name in the configuration right?"),
    Why.NO_ADDRESS: Meaning(
        "Our address to send from is on no device.", "ip address: is the tunnel's `local` address configured?"
    ),
    Why.NO_DESCRIPTORS: Meaning("The process has no file descriptors left.", "Raise LimitNOFILE."),
    Why.NO_ROUTE: Meaning("This machine has no route to the target.", "ip route get TARGET from LOCAL"),
    Why.NOT_RESOLVED: Meaning(
        "The name that the check aims at has no known address: no resolver answered, or none has one of its family.",
        "See the alarm `name_not_resolved`; dig NAME, from the POP.",
    ),
    Why.FILE_UNUSABLE: Meaning(
        "A file that the check needs cannot be looked at or used.", "The detail names the file and what is wrong."
    ),
    Why.CANNOT_START: Meaning(
        "The program of an `exec` check cannot be started, or was not in time.",
        "Is it there, and may the daemon's user run it?",
    ),
    Why.PROGRAM_KILLED: Meaning(
        "The program of an `exec` check was ended by a signal that did not come from us: a crash, or the kernel short "
        "of memory. It has given no verdict.",
        "dmesg; run it by hand.",
    ),
    Why.BFD_UNKNOWN: Meaning(
        "Nothing can be said of a BFD session: its process is gone, silent or cannot open its port, the peer has taken "
        "the session down on purpose (AdminDown), or asks for demand mode.",
        "The detail says which; `anycastd doctor` names who holds the port. docs/bfd.md.",
    ),
    Why.LOOP_LATE: Meaning(
        "The daemon itself was late, so that the answer may have waited unread.", "See the alarm `loop_late`."
    ),
    Why.WORKER_LOST: Meaning(
        "The worker process that carries the check out has ended or says nothing.", "See the alarm `probe_worker`."
    ),
    Why.INTERNAL: Meaning("An error of our own that has no better name.", "Report it with the log line."),
}
