"""A dump of the kernel that was torn is never taken for whole: what it left out would be taken for gone."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import AsyncIterator
from typing import Any

import pytest

from anycastd.actuators.dataplane.netlink import WHOLE_TRIES, Kernel
from anycastd.actuators.dataplane.requests import Requests
from anycastd.actuators.nft import wire
from anycastd.actuators.nft.channel import DUMP_TRIES, Channel
from anycastd.errors import ActuatorTransient
from anycastd.model.topology import KernelConfig

INTERRUPTED = wire.NLM_F_DUMP_INTR
MULTI = 2
LINK = 16


class Asked:
    """The library's socket: each dump of links is the next of those that were given, a list of messages' flags."""

    def __init__(self, *dumps: list[int]) -> None:
        self.dumps = list(dumps)

    @contextlib.asynccontextmanager
    async def socket(self) -> AsyncIterator[Asked]:
        yield self

    async def get_links(self) -> AsyncIterator[dict[str, Any]]:
        flags = self.dumps.pop(0)

        async def told() -> AsyncIterator[dict[str, Any]]:
            for number, one in enumerate(flags):
                yield {"header": {"flags": one}, "index": number}

        return told()


def kernel(asked: Asked) -> Kernel:
    made = Kernel(KernelConfig(), on_change=lambda: None, on_links=lambda names: None)
    made._dumps = asked  # type: ignore[assignment]
    return made


async def test_devices_are_read_again_when_some_came_or_went_meanwhile() -> None:
    asked = Asked([MULTI, MULTI | INTERRUPTED], [MULTI, MULTI, MULTI])
    assert [one["index"] for one in await kernel(asked)._dump("get_links")] == [0, 1, 2]


async def test_devices_that_never_stand_still_are_not_known() -> None:
    with pytest.raises(ActuatorTransient, match="torn by changes each time"):
        await kernel(Asked(*[[INTERRUPTED]] * WHOLE_TRIES))._dump("get_links")


def message(kind: int, flags: int = MULTI, sequence: int = 0, body: bytes = b"\0\0\0\0") -> bytes:
    return struct.pack("=IHHII", 16 + len(body), kind, flags, sequence, 0) + body


class Played:
    """A netlink socket that answers each dump with the next of its datagrams."""

    def __init__(self, *dumps: list[tuple[int, int, bytes]]) -> None:
        self._dumps, self._waiting, self.sent = list(dumps), list[bytes](), 0

    def send(self, data: bytes) -> int:
        (sequence,) = struct.unpack_from("=I", data, 8)
        self._waiting = [message(kind, flags, sequence, body) for kind, flags, body in self._dumps[self.sent]]
        self.sent += 1
        return len(data)

    def recv(self, _bytes: int, flags: int = 0) -> bytes:
        if flags:
            raise BlockingIOError
        return self._waiting.pop(0)

    def close(self) -> None:
        """Let it go."""


PART, DONE = (LINK, MULTI, b"abcd"), (wire.NLMSG_DONE, MULTI, b"\0\0\0\0")
TORN = (LINK, MULTI | INTERRUPTED, b"abcd")
BROKEN_OFF = (wire.NLMSG_DONE, MULTI, struct.pack("=i", -12))


def ask(sequence: int) -> bytes:
    return message(LINK, 0, sequence)


def channel(played: Played) -> Channel:
    made = object.__new__(Channel)
    made._socket, made._sequence = played, 1  # type: ignore[assignment]
    return made


@pytest.mark.parametrize("first", [[TORN, DONE], [PART, BROKEN_OFF], [PART, (wire.NLMSG_DONE, INTERRUPTED, bytes(4))]])
def test_a_set_of_the_packet_filter_is_read_again(first: list[tuple[int, int, bytes]]) -> None:
    """Also when the kernel broke the dump off, which its end tells."""
    played = Played(first, [PART, PART, DONE])
    assert len(channel(played).dump(ask)) == 3
    assert played.sent == 2
    with pytest.raises(ActuatorTransient, match="torn by changes each time"):
        channel(Played(*[first] * DUMP_TRIES)).dump(ask)


def test_tunnel_devices_and_queues_are_read_again_and_half_of_them_is_none() -> None:
    def requests(played: Played) -> Requests:
        made = Requests(0)
        made._socket = played  # type: ignore[assignment]
        return made

    played = Played([TORN, DONE], [PART, PART, DONE])
    assert requests(played).dump(ask) == [b"abcd", b"abcd"]
    with pytest.raises(ActuatorTransient, match="torn by changes each time"):
        requests(Played(*[[TORN, DONE]] * DUMP_TRIES)).dump(ask)
