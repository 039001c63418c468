"""The kernel picks packets for us: of whom we said, of both families, as many as we said, and no others."""

from __future__ import annotations

import contextlib
import os
import socket
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from ipaddress import ip_network

import pytest

from anycastd.actuators.dataplane.packet_sample import READ_AT_ONCE, PacketSample
from anycastd.actuators.nft.channel import enter
from anycastd.attack.packet import sampled
from tests.bench.world import run
from tests.wait import wait_until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(60)]
COUNT = 300


@pytest.fixture
def thread() -> Iterator[ThreadPoolExecutor]:
    """A thread in a namespace of its own, whose loopback is up."""
    name = f"ps{os.getpid()}"
    run("ip", "netns", "add", name)
    try:
        run("ip", "-n", name, "link", "set", "lo", "up")
        with ThreadPoolExecutor(1, initializer=enter, initargs=(name,)) as pool:
            yield pool
    finally:
        run("ip", "netns", "del", name)


def send(to: str, count: int = COUNT) -> None:
    """Send to a port that somebody has, so that nothing answers."""
    family = socket.AF_INET6 if ":" in to else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as here, socket.socket(family, socket.SOCK_DGRAM) as sock:
        here.bind((to, 0))
        for _ in range(count):
            sock.sendto(b"x" * 100, here.getsockname()[:2])


def heard(sample: PacketSample, to: str) -> list[bytes]:
    """Send one, and return what was picked."""
    send(to, 1)
    return sample.take()


def test_of_whom_and_how_many(thread: ThreadPoolExecutor) -> None:
    def inside() -> None:
        sample = PacketSample(window_s=45.0)
        send("127.0.0.7")
        sample.look_at([ip_network("127.0.0.7/32"), ip_network("::1/128")], 1.0)
        for to in ("127.0.0.7", "::1"):
            wait_until("it hears", 15, partial(heard, sample, to))
        sample.take()
        for to in ("127.0.0.7", "127.0.0.8", "::1"):
            send(to, 100)
        found = [sampled(data) for data in sample.take()]
        assert Counter(str(one and one.destination) for one in found) == {"127.0.0.7": 100, "::1": 100}
        assert {one and (one.protocol, one.bytes) for one in found} == {("udp", 128), ("udp", 148)}
        sample.look_at([ip_network("127.0.0.0/8"), ip_network("::1/128")], 0.5)
        send("127.0.0.9")
        # with 300 dice 30 or fewer, or 270 or more, come up once in 10^47
        assert 30 < len(sample.take()) < 270
        sample.look_at([ip_network("127.0.0.0/8"), ip_network("::1/128")], 1.0)
        send("127.0.0.9", 20_000)
        assert 0 < len(sample.take()) <= READ_AT_ONCE
        sample.look_at([], 0.0)
        send("127.0.0.9")
        assert sample.take() == []
        sample.close()

    thread.submit(inside).result(50)


def test_it_hears_in_windows_only(thread: ThreadPoolExecutor) -> None:
    def inside() -> None:
        sample = PacketSample(window_s=0.01)
        sample.look_at([ip_network("127.0.0.7/32")], 1.0)
        wait_until("it hears", 15, partial(heard, sample, "127.0.0.7"))
        # the last take has opened one more; when that has ended nothing is heard
        assert sample._window is not None
        sample._window.result(15)
        with contextlib.suppress(BlockingIOError):
            while True:
                sample._sockets[4].recv(64)
        send("127.0.0.7")
        assert sample.take() == []
        sample.close()

    thread.submit(inside).result(50)
