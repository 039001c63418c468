"""Ask a daemon of the lab by its socket, seen from here.

A program in the node, or in a namespace, would take most of a second to start on a busy machine, and take the processor
from what is asked: what is asked again and again is asked this way.
"""

from __future__ import annotations

import socket
from http.client import HTTPException, HTTPResponse

from anycastd.lab.running import Lab

TIMEOUT_S = 10.0


def asked(lab: Lab, node: str, target: str) -> tuple[int, bytes]:
    """Return the status and the text that the daemon of a node answers; (0, nothing) while it does not."""
    talk = socket.socket(socket.AF_UNIX)
    talk.settimeout(TIMEOUT_S)
    try:
        talk.connect(f"/proc/{lab.pid(node)}/root/run/anycastd/api.sock")
        talk.sendall(f"GET {target} HTTP/1.1\r\nHost: pop\r\nConnection: close\r\n\r\n".encode())
        answer = HTTPResponse(talk)
        answer.begin()
        return answer.status, answer.read()
    except (OSError, HTTPException):
        return 0, b""
    finally:
        talk.close()
