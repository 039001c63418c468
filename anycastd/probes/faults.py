"""Whose fault an errno is. The same number means different things before and after a packet has left.

Measured on Linux 6.18, IPv4 and IPv6, TCP connect() and ICMP sendto() alike, each returned at once:
`blackhole` route EINVAL, `prohibit` EACCES, `unreachable` EHOSTUNREACH, `throw` or no route ENETUNREACH. All of these
are our own table. After the packet has left, EHOSTUNREACH and ENETUNREACH come from an ICMP error or from neighbor
resolution. A local netfilter drop gives EPERM to ICMP and silence to TCP; a local reject looks like a remote one.
"""

from __future__ import annotations

import errno
import os

from anycastd.model.probe import Why

_RESOURCES = {
    errno.EMFILE: Why.NO_DESCRIPTORS,
    errno.ENFILE: Why.NO_DESCRIPTORS,
    errno.ENODEV: Why.NO_DEVICE,
    errno.ENXIO: Why.NO_DEVICE,
    errno.EADDRNOTAVAIL: Why.NO_ADDRESS,
    errno.EPERM: Why.NO_PERMISSION,
    errno.EAFNOSUPPORT: Why.NO_ROUTE,
}
_OPENING = _RESOURCES | {errno.EACCES: Why.NO_PERMISSION}
_LEAVING = _RESOURCES | {
    errno.EINVAL: Why.NO_ROUTE,
    errno.EACCES: Why.NO_ROUTE,
    errno.EHOSTUNREACH: Why.NO_ROUTE,
    errno.ENETUNREACH: Why.NO_ROUTE,
    errno.ENETDOWN: Why.NO_ROUTE,
    errno.ECONNREFUSED: Why.REFUSED,
    errno.ECONNRESET: Why.RESET,
}
_ANSWER = _RESOURCES | {
    errno.ECONNREFUSED: Why.REFUSED,
    errno.ECONNRESET: Why.RESET,
    errno.ECONNABORTED: Why.RESET,
    errno.EPIPE: Why.RESET,
    errno.EHOSTUNREACH: Why.UNREACHABLE,
    errno.ENETUNREACH: Why.UNREACHABLE,
    errno.EHOSTDOWN: Why.UNREACHABLE,
    errno.ENOPROTOOPT: Why.UNREACHABLE,
    errno.EACCES: Why.UNREACHABLE,
    errno.EPROTO: Why.UNREACHABLE,
    errno.ETIMEDOUT: Why.TIMEOUT,
    errno.ENETDOWN: Why.NO_ROUTE,
}


def of_opening(number: int | None) -> Why:
    """Return whose fault it is that a socket could not be made, set or bound."""
    return _OPENING.get(number or 0, Why.INTERNAL)


def of_leaving(number: int | None) -> Why:
    """Return whose fault it is that connect() or sendto() failed at once: nothing has left this machine."""
    return _LEAVING.get(number or 0, Why.INTERNAL)


def of_answer(number: int | None) -> Why:
    """Return whose fault an error is that came after the first packet had left."""
    return _ANSWER.get(number or 0, Why.INTERNAL)


def words(number: int | None) -> str:
    """Return the system's words for an errno."""
    return os.strerror(number) if number else ""
