"""The UDP side of the BFD process: receivers shared by all, a sender for each session, what was counted."""

from __future__ import annotations

import errno
import random
import socket
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from anycastd.probes.bfd.packet import AuthType, PacketError
from anycastd.probes.bfd.session import Remote, Session
from anycastd.probes.bfd.sockets import hear, receiver, sender
from anycastd.probes.bfd.table import GTSM_TTL, Flow, Key, Table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from anycastd.probes.bfd.auth import Seal

AT_ONCE = 512
"""Packets that are taken or flows that are served before the others get their turn."""
FLOOR_US = 100_000
"""No shorter interval without real-time scheduling: our own lateness under load, 54 to 87 ms, would be taken for a cut
by the peer (measured)."""
GOODBYES, GOODBYE_GAP_S = 3, 0.03


class Trouble(Exception):
    """Why a session cannot be had; `number` is an errno."""

    def __init__(self, number: int, what: str) -> None:
        super().__init__(what)
        self.number, self.what = number, what


class Wanted:
    """One session as the daemon wants it. Raise KeyError, TypeError or ValueError for what is none."""

    __slots__ = ("auth", "key", "min_ttl", "multiplier", "resume", "rx_us", "tx_us")

    def __init__(self, said: dict[str, Any]) -> None:
        self.key: Key = (str(said["here"]), str(said["peer"]), bool(said["multihop"]))
        self.min_ttl = int(said["min_ttl"]) if said["multihop"] else GTSM_TTL
        self.tx_us, self.rx_us, self.multiplier = int(said["tx_us"]), int(said["rx_us"]), int(said["multiplier"])
        self.auth: dict[str, Any] | None = said["auth"]
        self.resume: list[int] | None = said["resume"]


class Speech:
    """Every session with its sockets. `changed` is told of keys whose state, or trouble, is another."""

    def __init__(
        self, changed: Callable[[Key], None], watch: Callable[[socket.socket], None], *, realtime: bool
    ) -> None:
        self.changed, self._watch = changed, watch
        self.floor_us = 0 if realtime else FLOOR_US
        self.table = Table(lambda flow: changed(flow.key))
        self.wanted: dict[Key, Wanted] = {}
        self.troubles: dict[Key, Trouble] = {}
        self._receivers: dict[tuple[int, bool], socket.socket] = {}
        self._senders: dict[Key, socket.socket] = {}
        self._leaving: list[tuple[float, socket.socket, bytes]] = []
        self.sent = self.heard = self.unsent = 0
        self.discarded: dict[str, int] = {}
        self.late_s = self.late_worst_s = 0.0

    def configure(self, wanted: dict[Key, Wanted], now_s: float) -> None:
        """Speak exactly these sessions; one that only got other timers goes on, and asks its peer to follow."""
        for key, known in tuple(self.wanted.items()):
            new = wanted.get(key)
            if new is None or (new.auth, new.min_ttl) != (known.auth, known.min_ttl):
                self._drop(key, now_s)
        for key, one in wanted.items():
            known_one, self.wanted[key] = self.wanted.get(key), one
            flow = self.table.flows.get(key)
            if flow is None:
                self._open(key, now_s)
            elif known_one is not None and _timers(known_one) != _timers(one):
                tx_us, rx_us = self._floored(one)
                flow.session.configure(tx_us, rx_us, one.multiplier)
                self.table.schedule(flow)
                self.changed(key)

    def retry(self, now_s: float) -> None:
        """Try again what could not be opened."""
        for key in tuple(self.troubles):
            self._open(key, now_s)

    def take(self, now_s: float) -> None:
        """Take in what has come."""
        for (_, multihop), one in self._receivers.items():
            for _ in range(AT_ONCE):
                heard = hear(one)
                if heard is None:
                    break
                # a step of the clock of the day between the kernel's stamp and our look moves nothing beyond these
                age_s = min(max(heard.age_s, 0.0), 1.0)
                try:
                    flow, answers = self.table.receive(
                        heard.data, heard.here, heard.peer, multihop, heard.ttl, now_s - age_s, now_s
                    )
                except PacketError as error:
                    self.discarded[error.why.value] = self.discarded.get(error.why.value, 0) + 1
                    continue
                self.heard += 1
                for answer in answers:
                    self._send(self._senders[flow.key], answer)

    def speak(self, now_s: float) -> None:
        """Say what is due. What came before `now_s` must have been taken in."""
        for flow, said, late_s in self.table.due(now_s, AT_ONCE):
            for one in said:
                self._send(self._senders[flow.key], one)
            if said and late_s > self.late_s:
                self.late_s = late_s
                self.late_worst_s = max(self.late_worst_s, late_s)
        while self._leaving and self._leaving[0][0] <= now_s:
            _, parting, last = self._leaving.pop(0)
            self._send(parting, last)

    def next_s(self) -> float:
        """Return when something is to be said."""
        return min(self.table.next_s(), self._leaving[0][0] if self._leaving else float("inf"))

    def leave(self, now_s: float) -> None:
        """Take every session down as an operator does, and wait until it was said often enough."""
        self.configure({}, now_s)
        while self._leaving:
            time.sleep(max(self._leaving[0][0] - time.monotonic(), 0.0))
            self.speak(time.monotonic())

    def _floored(self, one: Wanted) -> tuple[int, int]:
        return max(one.tx_us, self.floor_us), max(one.rx_us, self.floor_us)

    def _drop(self, key: Key, now_s: float) -> None:
        del self.wanted[key]
        self.troubles.pop(key, None)
        if key not in self.table.flows:
            return
        flow, one = self.table.remove(key), self._senders.pop(key)
        for count in range(GOODBYES):
            last = flow.bytes_of(flow.session.disable(now_s))
            self._leaving.append((now_s + count * GOODBYE_GAP_S, one, last))
        self._leaving.sort(key=lambda entry: entry[0])

    def _open(self, key: Key, now_s: float) -> None:
        one = self.wanted[key]
        try:
            seal = _seal_of(one.auth)
            self._receiver(6 if ":" in key[1] else 4, key[2])
            try:
                self._senders[key] = sender(*key)
            except OSError as error:
                raise Trouble(error.errno or errno.EINVAL, f"no socket from {key[0]} to {key[1]}") from error
        except Trouble as trouble:
            known = self.troubles.get(key)
            self.troubles[key] = trouble
            if known is None or (known.number, known.what) != (trouble.number, trouble.what):
                self.changed(key)
            return
        self.troubles.pop(key, None)
        self.table.add(Flow(key, self._session(one, now_s, resumed=seal is None), one.min_ttl, seal))
        self.changed(key)

    def _session(self, one: Wanted, now_s: float, *, resumed: bool) -> Session:
        discriminator, remote = 0, Remote()
        if one.resume is not None and resumed:
            discriminator, remote.discriminator, remote.min_rx_us, remote.desired_tx_us, remote.multiplier = one.resume
        number = discriminator
        while not self.table.is_free(number):
            number = random.randint(1, 0xFFFFFFFF)
        tx_us, rx_us = self._floored(one)
        made = Session(
            number,
            desired_tx_us=tx_us,
            min_rx_us=rx_us,
            multiplier=one.multiplier,
            now_s=now_s,
            jitter=random.random,
        )
        if discriminator and number == discriminator:
            made.resume(remote, now_s)
        return made

    def _receiver(self, version: int, multihop: bool) -> None:
        if (version, multihop) in self._receivers:
            return
        try:
            made = receiver(version, multihop)
        except OSError as error:
            port = 4784 if multihop else 3784
            raise Trouble(error.errno or errno.EINVAL, f"UDP port {port} (IPv{version})") from error
        self._receivers[version, multihop] = made
        self._watch(made)

    def _send(self, one: socket.socket, data: bytes) -> None:
        try:
            one.send(data)
        except OSError:
            # the peer's refusal of the last one, no route, a full queue: the session tells by its state
            self.unsent += 1
        else:
            self.sent += 1


def _timers(one: Wanted) -> tuple[int, int, int]:
    return one.tx_us, one.rx_us, one.multiplier


def _seal_of(auth: dict[str, Any] | None) -> Seal | None:
    if auth is None:
        return None
    # OpenSSL is 4 MB of memory: only who needs it pays for it
    sealed: Any = import_module("anycastd.probes.bfd.auth")
    try:
        key = Path(auth["key_file"]).read_bytes().removesuffix(b"\n")
        seal: Seal = sealed.Seal(AuthType[auth["type"].upper()], auth["key_id"], key, random.randint(0, 0xFFFFFFFF))
    except OSError as error:
        raise Trouble(error.errno or errno.EINVAL, f"{auth['key_file']}") from error
    except ValueError as error:
        raise Trouble(errno.EINVAL, f"{auth['key_file']}: {error}") from error
    return seal
