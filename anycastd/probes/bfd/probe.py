"""BFD check: what is told of the session with the far end, at once when it changes, and again each second."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from socket import AF_INET, AF_INET6, inet_ntop

from anycastd.model.address import Address, CheckId
from anycastd.model.checks import BfdOptions, ProbeSpec
from anycastd.model.probe import Why
from anycastd.probes import faults
from anycastd.probes.attempt import Attempt, Owner
from anycastd.probes.bfd.link import BfdLink, Told
from anycastd.probes.bfd.packet import State, diag_words

Verdict = tuple[Why, str]


class BfdAttempt(Attempt):
    """One look. It waits, until its time is up, for a session that is not there yet."""

    __slots__ = ("plan",)

    def __init__(self, owner: Owner, order: int, started_s: float, plan: BfdPlan) -> None:
        super().__init__(owner, order, started_s)
        self.plan = plan

    def start(self, now_s: float) -> None:
        """Look, and end if there is something to say."""
        self.plan.link.look(now_s)
        self.plan.waiting[self] = None
        self.again(now_s)

    def again(self, now_s: float) -> None:
        """Look once more."""
        if (found := self.plan.look(now_s)) is not None:
            # how long it waited is no round trip: BFD measures none
            self.started_s = now_s
            self.end(*found, now_s)

    def on_timeout(self, now_s: float) -> None:
        """End with what there is: the session has had its time to come up."""
        self.started_s = now_s
        self.end(*self.plan.late(), now_s)

    def close(self) -> None:
        """Wait no longer."""
        self.plan.waiting.pop(self, None)


class BfdPlan:
    """A BFD check of one far end. `at_once` has the engine look now."""

    def __init__(self, spec: ProbeSpec, options: BfdOptions, link: BfdLink, at_once: Callable[[CheckId], None]) -> None:
        self.link, self._at_once, self._id = link, at_once, spec.id
        assert spec.source is not None
        here, self._peer = _text(spec.source), _text(spec.target)
        self._key = (here, self._peer, options.multihop)
        self.session = _session(here, self._peer, options)
        self.waiting: dict[BfdAttempt, None] = {}
        self._gave_up = False
        link.want(self._key, self)

    def attempt(self, owner: Owner, order: int, now_s: float) -> Attempt:
        """Return a look that was not started yet."""
        return BfdAttempt(owner, order, now_s, self)

    def close(self) -> None:
        """Have no session any more."""
        self.link.leave(self._key, self)

    def changed(self, now_s: float) -> None:
        """Tell what is told now."""
        if self.waiting:
            for attempt in tuple(self.waiting):
                attempt.again(now_s)
        else:
            self._at_once(self._id)

    def look(self, now_s: float) -> Verdict | None:
        """Return what is to be said of the session, None if it may still come up."""
        if trouble := self.link.trouble(now_s):
            return Why.BFD_UNKNOWN, trouble
        told = self.link.told(self._key)
        if told is None:
            return None
        if told.state is State.UP:
            self._gave_up = False
        return self._verdict(told)

    def late(self) -> Verdict:
        """Return what is to be said of a session that has not come up in time."""
        self._gave_up = True
        told = self.link.told(self._key)
        found = None if told is None else self._verdict(told)
        return found or (Why.BFD_UNKNOWN, "the BFD process has not told of the session")

    def _verdict(self, told: Told) -> Verdict | None:
        if told.trouble:
            why = faults.of_opening(told.trouble)
            said = f"{told.what}: {faults.words(told.trouble)}"
            return Why.BFD_UNKNOWN if why is Why.INTERNAL else why, said
        if told.state is State.UP:
            return Why.ANSWERED, f"Up, {_pace(told)}"
        if told.demanded:
            return Why.BFD_UNKNOWN, f"{self._peer} asks for demand mode, which is not supported: turn it off there"
        if told.left:
            # RFC 5882 section 4.2: it says nothing of the path
            return Why.BFD_UNKNOWN, f"{self._peer} has taken the session down on purpose (AdminDown)"
        if told.was_up:
            return Why.BFD_DOWN, f"{told.state.word}: {diag_words(told.diag)}; {self._theirs(told)}"
        if not self._gave_up:
            return None
        return Why.BFD_DOWN, f"{told.state.word}, never up so far; {self._theirs(told)}"

    def _theirs(self, told: Told) -> str:
        if not told.resume[1]:
            return f"nothing is heard of {self._peer}"
        said = f", {diag_words(told.remote_diag)}" if told.remote_diag else ""
        return f"{self._peer} says {told.remote_state.word}{said}"


def _pace(told: Told) -> str:
    return f"sent each {told.transmit_us / 1000:g} ms, down after {told.detection_us / 1000:g} ms of silence"


def _text(address: Address) -> str:
    """Return an address as the kernel's library writes it, which is how the process knows it."""
    return inet_ntop(AF_INET if address.version == 4 else AF_INET6, address.packed)


def _session(here: str, peer: str, options: BfdOptions) -> Mapping[str, object]:
    auth = options.auth
    interval_us = round(options.interval_s * 1e6)
    return {
        "here": here,
        "peer": peer,
        "multihop": options.multihop,
        "min_ttl": options.min_ttl,
        "tx_us": interval_us,
        "rx_us": interval_us,
        "multiplier": options.multiplier,
        "auth": auth and {"type": auth.type.value, "key_id": auth.key_id, "key_file": auth.key_file},
    }
