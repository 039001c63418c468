"""An HTTP server that is well or ill as told; run as a program: `server.py ADDRESS`, orders are JSON lines.

`{"mode": M}` with M of normal, refuse (nobody listens), error500, silent (taken, never answered), half (every second
request fails). Each order is told with CLOCK_MONOTONIC once it is in force.
"""

from __future__ import annotations

import itertools
import json
import os
import select
import socket
import sys
import time

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n"
BAD = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbad\n"


class Server:
    """One listener and the connections that it has not answered."""

    def __init__(self, address: str) -> None:
        self.address, self.mode, self.orders = address, "normal", b""
        self.counter = itertools.count()
        self.peers: list[socket.socket] = []
        self.listener: socket.socket | None = self.listen()

    def listen(self) -> socket.socket:
        """Begin to listen."""
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((self.address, 80))
        listener.listen(128)
        return listener

    def obey(self) -> bool:
        """Take orders; return False when nobody gives any more."""
        data = os.read(0, 1 << 16)
        *lines, self.orders = (self.orders + data).split(b"\n")
        for line in lines:
            self.mode = json.loads(line)["mode"]
            if self.mode == "refuse" and self.listener is not None:
                self.listener.close()
                self.listener = None
            elif self.mode != "refuse" and self.listener is None:
                self.listener = self.listen()
            self.say(self.mode)
        return bool(data)

    def say(self, kind: str) -> None:
        """Tell a line, stamped now."""
        print(json.dumps({"t": time.monotonic(), "kind": kind}), flush=True)

    def answer(self, peer: socket.socket) -> None:
        """Answer one request as the mode has it."""
        self.peers.remove(peer)
        try:
            if peer.recv(4096) and self.mode == "silent":
                self.peers.append(peer)
                return
            bad = self.mode == "error500" or (self.mode == "half" and next(self.counter) % 2 == 1)
            peer.send(BAD if bad else OK)
        except OSError as error:
            print(error, file=sys.stderr)
        peer.close()

    def run(self) -> None:
        """Serve until standard input closes."""
        self.say("listening")
        while True:
            waiting = [] if self.mode == "silent" else list(self.peers)
            listening = [] if self.listener is None else [self.listener]
            descriptors = {sock.fileno(): sock for sock in (*listening, *waiting)}
            ready, _, _ = select.select([0, *descriptors], [], [])
            for sock in [descriptors[one] for one in ready if one]:
                if sock in listening:
                    self.peers.append(sock.accept()[0])
                else:
                    self.answer(sock)
            if 0 in ready and not self.obey():
                return


if __name__ == "__main__":
    Server(sys.argv[1]).run()
