"""Sends back what it is sent, by TCP and UDP. Run as a program: ADDRESS PORT."""

from __future__ import annotations

import selectors
import socket
import sys


def main(address: str, port: int) -> None:
    """Serve for ever."""
    chosen = selectors.DefaultSelector()
    listener = socket.create_server((address, port))
    packets = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    packets.bind((address, port))
    for one in (listener, packets):
        chosen.register(one, selectors.EVENT_READ)
    while True:
        for key, _ in chosen.select():
            if key.fileobj is listener:
                peer = listener.accept()[0]
                peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                chosen.register(peer, selectors.EVENT_READ)
            elif key.fileobj is packets:
                data, sender = packets.recvfrom(2048)
                packets.sendto(data, sender)
            else:
                _echo(chosen, key.fileobj)


def _echo(chosen: selectors.BaseSelector, peer: object) -> None:
    assert isinstance(peer, socket.socket)
    try:
        data = peer.recv(65536)
        if data:
            peer.sendall(data)
            return
    except OSError:
        pass
    chosen.unregister(peer)
    peer.close()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
