"""The daemon's end of the BFD process: which sessions there are goes out, what became of them comes in.

Level-triggered: each connection is told all sessions, and tells of all. That the process is gone, stands still or says
nothing never means that a session is down.
"""

from __future__ import annotations

import contextlib
import json
import select
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Protocol

from anycastd import __version__
from anycastd.model.bfd import BfdView
from anycastd.model.topology import BfdConfig, Launch
from anycastd.probes.attempt import Reactor
from anycastd.probes.bfd.launch import Found, connect, start
from anycastd.probes.bfd.packet import State

Key = tuple[str, str, bool]
READ_BYTES = 8192
"""Some twenty sessions: taken in at once, thousands that change together would hold the loop up."""
LEVEL = select.EPOLLIN | select.EPOLLRDHUP
"""What is left over is told of again; what could not be sent goes on with the next beat."""
RESUMED_WITHIN_S = 2.0
"""A session that was Up when its process was last heard of is gone on with by the next one; later its peer has given
us up."""
RETRY_S = 1.0
WELL_AFTER_S = 10.0
"""How long the alarm stands after a process was replaced: so that who looks each minute, or a scraper, sees it."""
Trouble = Callable[[str | None], None]


@dataclass(frozen=True, slots=True)
class Told:
    """What the process said of one session; times are monotonic seconds. `trouble` is an errno: there is no session."""

    state: State = State.DOWN
    diag: int = 0
    since_s: float = 0.0
    was_up: bool = False
    downs: int = 0
    transmit_us: int = 0
    detection_us: int = 0
    remote_state: State = State.DOWN
    remote_diag: int = 0
    left: bool = False
    demanded: bool = False
    resume: tuple[int, ...] = ()
    trouble: int = 0
    what: str = ""


_TOLD = tuple(field.name for field in fields(Told))


class User(Protocol):
    """Who wants a session, and hears of it."""

    @property
    def session(self) -> Mapping[str, object]:
        """Return how the session is to be, in the words of the process; `resume` is added."""
        ...

    def changed(self, now_s: float) -> None:
        """Learn that something else is told of it."""
        ...


class BfdLink:
    """Starts or finds the process with the first session that is wanted, and keeps it going."""

    def __init__(self, reactor: Reactor, config: BfdConfig, trouble: Trouble) -> None:
        self._reactor, self._config, self._on_trouble = reactor, config, trouble
        self._users: dict[Key, User] = {}
        self._found: Found | None = None
        self._unread = self._unsent = b""
        self._told: dict[Key, Told] = {}
        self._before: tuple[float, dict[Key, Told]] = (float("-inf"), {})
        self._hello: dict[str, Any] = {}
        self._beat: dict[str, Any] = {}
        self._heard_s = self._retry_s = float("-inf")
        self._lost_s: float | None = None
        self._dirty, self._restarts, self._why = False, 0, ""

    @property
    def view(self) -> BfdView | None:
        """Return what is known of the process, None if none is needed."""
        if not self._users:
            return None
        states = Counter(self._state_of(key) for key in self._users)
        known = ("late_s", "late_worst_s", "sent", "heard", "unsent", "discarded")
        return BfdView(
            connected=self._found is not None,
            pid=self._found.pid if self._found else None,
            adopted=self._found is not None and self._found.adopted,
            realtime=bool(self._hello.get("realtime")),
            locked=bool(self._hello.get("locked")),
            restarts=self._restarts,
            trouble=self._why,
            sessions=dict(states),
            downs=sum(told.downs for told in self._told.values()),
            **{name: self._beat[name] for name in known if name in self._beat},
        )

    def _state_of(self, key: Key) -> str:
        told = self._told.get(key)
        return "unknown" if told is None or told.trouble or self._found is None else told.state.word

    def want(self, key: Key, user: User) -> None:
        """Have a session; it is there after `settle`."""
        self._users[key], self._dirty = user, True

    def leave(self, key: Key, user: User) -> None:
        """Have it no longer, after `settle`."""
        if self._users.get(key) is user:
            del self._users[key]
            self._told.pop(key, None)
            self._dirty = True

    def told(self, key: Key) -> Told | None:
        """Return what was last told of a session by a process that is there."""
        return self._told.get(key)

    def settle(self) -> None:
        """Make the process speak what is wanted now; without a session there is none."""
        if not self._dirty:
            return
        if not self._users:
            self.close(end=True)
        else:
            self.look(self._reactor.now())

    def trouble(self, now_s: float) -> str:
        """Return why nothing can be said of any session, empty if all is well."""
        if self._found is None:
            return self._why or "the BFD process is being started"
        silent_s = now_s - self._heard_s
        if silent_s > self._config.silent_after_s:
            return f"the BFD process has said nothing for {silent_s:.1f} s"
        return ""

    def look(self, now_s: float) -> None:
        """Start, find or replace the process, as is needed; called with each look of a check."""
        found = self._found
        if found is not None and now_s - self._heard_s > self._config.replace_after_s:
            # stopped, or in an endless loop: what it held is held on to by the next
            self._lost(now_s, f"the BFD process said nothing for {now_s - self._heard_s:.1f} s and was killed")
        if self._found is None and now_s >= self._retry_s:
            self._retry_s = now_s + RETRY_S
            self._open(now_s)
        if self._dirty and self._found is not None:
            self._order_sessions(now_s)
        self._report(now_s)

    def on_event(self, mask: int, now_s: float) -> None:
        """Take news in, as much as holds nobody up."""
        self._send()
        if (found := self._found) is None:
            return
        try:
            data = found.channel.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        changed: dict[Key, None] = {}
        *lines, self._unread = (self._unread + data).split(b"\n")
        for line in lines:
            self._hear(json.loads(line), changed, now_s)
        for key in changed:
            if (user := self._users.get(key)) is not None:
                user.changed(now_s)
        if not data or self._found is None:
            self._lost(now_s, "the BFD process has ended")
            # the sooner another goes on with its sessions, the less their peers see of it
            self.look(now_s)

    def broke(self, now_s: float) -> None:
        """Begin anew: what was said was not understood."""
        self._lost(now_s, "the BFD process said what is not understood")

    def close(self, *, end: bool) -> None:
        """Let go of the process; with `end` it takes its sessions down as an operator does, and ends."""
        found, self._found = self._found, None
        self._dirty = False
        self._told.clear()
        if found is None:
            return
        self._reactor.forget(found.channel.fileno())
        if end:
            order: dict[str, object] = {"end": True}
            if self._config.launch is Launch.SERVICE:
                order = {"sessions": [], "alone_s": None}
            # a full socket is one that is not read: nothing more can be asked of it
            with contextlib.suppress(OSError):
                found.channel.send(self._unsent + json.dumps(order).encode() + b"\n")
        found.close(wait=end)
        self._why = ""
        self._on_trouble(None)

    def _open(self, now_s: float) -> None:
        found = connect(self._config.socket)
        if found is None and self._config.launch is Launch.SERVICE:
            self._why = f"no BFD process listens on {self._config.socket} (anycastd-bfd.service)"
            return
        try:
            found = found or start(self._config.socket)
            self._reactor.watch(found.channel.fileno(), self, LEVEL)
        except OSError as error:
            self._why = f"the BFD process cannot be started: {error.strerror}"
            return
        self._found, self._heard_s, self._dirty = found, now_s, True
        self._unread = self._unsent = b""
        self._hello, self._beat = {}, {}

    def _order_sessions(self, now_s: float) -> None:
        self._dirty = False
        heard_s, before = self._before
        up = before if now_s - heard_s < RESUMED_WITHIN_S else {}
        sessions = []
        for key, user in self._users.items():
            told = up.get(key)
            resume = told.resume if told is not None and told.state is State.UP else None
            sessions.append({**user.session, "resume": resume})
        alone_s = None if self._config.launch is Launch.SERVICE else self._config.alone_s
        self._unsent += json.dumps({"sessions": sessions, "alone_s": alone_s}).encode() + b"\n"
        self._send()

    def _send(self) -> None:
        # its end is seen where it is read
        with contextlib.suppress(OSError):
            while self._unsent and self._found is not None:
                self._unsent = self._unsent[self._found.channel.send(self._unsent) :]

    def _hear(self, news: dict[str, Any], changed: dict[Key, None], now_s: float) -> None:
        self._heard_s = now_s
        if "state" in news:
            here, peer, multihop = news["state"].pop("key")
            key = (here, peer, multihop)
            if key in self._users:
                self._told[key] = _told(news["state"])
                changed[key] = None
        elif "beat" in news:
            self._beat = news["beat"]
            ours = self._config.launch is Launch.DAEMON
            if ours and self._hello.get("version") != __version__:
                # all its sessions were told: another one goes on with them. A service is the operator's to restart
                self._lost(now_s, f"the BFD process was of version {self._hello.get('version')} and was replaced")
        elif "hello" in news:
            self._hello = news["hello"]

    def _lost(self, now_s: float, why: str) -> None:
        found, self._found = self._found, None
        if found is None:
            return
        self._reactor.forget(found.channel.fileno())
        # whatever it is at: no two may speak for us
        found.kill()
        found.close(wait=False)
        if self._told:
            self._before = (self._heard_s, dict(self._told))
        self._told.clear()
        self._why, self._lost_s = why, now_s
        self._restarts += 1

    def _report(self, now_s: float) -> None:
        """Raise the alarm, and clear it when another process has been well for a while."""
        wrong = self.trouble(now_s)
        if wrong:
            self._on_trouble(f"{wrong}; sessions are unknown, not down")
        elif self._lost_s is not None and now_s - self._lost_s < WELL_AFTER_S:
            self._on_trouble(f"{self._why}; another one goes on, {self._restarts} ended so far")
        else:
            self._lost_s, self._why = None, ""
            self._on_trouble(None)


def _told(said: dict[str, Any]) -> Told:
    if "trouble" in said:
        return Told(trouble=said["trouble"], what=said["what"])
    # a service may be of another release, and say more
    known = {name: said[name] for name in _TOLD if name in said}
    known["state"], known["remote_state"] = State(said["state"]), State(said["remote_state"])
    return Told(**{**known, "resume": tuple(said["resume"])})
