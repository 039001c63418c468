"""What systemd is told: one datagram to the socket that NOTIFY_SOCKET names (sd_notify(3)); elsewhere nothing."""

from __future__ import annotations

import socket
import time
from collections.abc import MutableMapping


class Notify:
    """The socket of the service manager, if there is one; what cannot be sent is lost, and nothing waits for it."""

    def __init__(self, address: str = "", watchdog_s: float | None = None) -> None:
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self.watchdog_s = watchdog_s
        self._socket: socket.socket | None = None
        if address:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self._socket.setblocking(False)

    @classmethod
    def of(cls, environ: MutableMapping[str, str], pid: int) -> Notify:
        """Return what the environment says, and take it out: no child of ours is to speak for us."""
        address, microseconds = environ.pop("NOTIFY_SOCKET", ""), environ.pop("WATCHDOG_USEC", "")
        ours = environ.pop("WATCHDOG_PID", str(pid)) == str(pid)
        watched = ours and microseconds.isdigit() and int(microseconds) > 0
        return cls(address if address[:1] in ("@", "/") else "", int(microseconds) / 1e6 if watched else None)

    @property
    def heard(self) -> bool:
        """Return whether anybody listens."""
        return self._socket is not None

    def send(self, **fields: str | int) -> bool:
        """Send fields such as READY=1; return whether they were taken."""
        if self._socket is None:
            return False
        text = "\n".join(f"{key}={str(value).replace(chr(10), ' ')}" for key, value in fields.items())
        try:
            self._socket.sendto(text.encode("utf-8"), self._address)
        except OSError:
            return False
        return True

    def reloading(self) -> None:
        """Tell that a reload began; systemd wants to know when, by the clock of CLOCK_MONOTONIC."""
        self.send(RELOADING=1, MONOTONIC_USEC=time.monotonic_ns() // 1000)

    def close(self) -> None:
        """Say nothing more."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
