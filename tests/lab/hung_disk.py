"""A disk that really hangs: over a directory of a node a FUSE file system whose server never answers.

Whoever names a file in it waits, and can be killed, as with a stopped NFS. What was open before goes on.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from anycastd.lab.running import Lab

PROGRAM = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
server = os.open("/dev/fuse", os.O_RDWR)
options = f"fd={server},rootmode=40755,user_id=0,group_id=0,allow_other".encode()
if libc.mount(b"hung", sys.argv[1].encode(), b"fuse", 0, options):
    sys.exit(os.strerror(ctypes.get_errno()))
print("hangs", flush=True)
sys.stdin.read()
"""


@contextmanager
def hung_disk(lab: Lab, node: str, directory: str) -> Iterator[None]:
    """Let a directory of a node hang; at the end what waits is told that the disk is gone, and the old one is there."""
    command = (sys.executable, "-c", PROGRAM, directory)
    with lab.popen(node, *command, stdin=subprocess.PIPE) as server:
        assert server.stdin is not None and server.stdout is not None
        said = server.stdout.readline()
        if said.strip() != "hangs":
            pytest.skip(f"no file system can be made to hang here: {said}")
        try:
            yield
        finally:
            server.stdin.close()
            server.wait(10)
            lab.exec(node, "umount", "-l", directory, check=True)
