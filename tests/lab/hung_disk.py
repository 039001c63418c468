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
import ctypes, errno, os, sys
try:
    server = os.open("/dev/fuse", os.O_RDWR)
except OSError as error:
    if error.errno not in (errno.ENOENT, errno.ENXIO, errno.ENODEV, errno.EPERM, errno.EACCES):
        raise
    print(f"lacking: /dev/fuse ({error.strerror}): the kernel module fuse, and the right to its device", flush=True)
    sys.exit(0)
libc = ctypes.CDLL(None, use_errno=True)
options = f"fd={server},rootmode=40755,user_id=0,group_id=0,allow_other".encode()
if libc.mount(b"hung", sys.argv[1].encode(), b"fuse", 0, options):
    number = ctypes.get_errno()
    if number not in (errno.EPERM, errno.ENODEV):
        sys.exit(f"mount: {os.strerror(number)}")
    print(f"lacking: a fuse mount ({os.strerror(number)}): CAP_SYS_ADMIN, and the kernel module fuse", flush=True)
    sys.exit(0)
print("hangs", flush=True)
sys.stdin.read()
# first the old directory is there again, then what waits is told that the disk is gone; umount(8) would wait for it too
if libc.umount2(sys.argv[1].encode(), 2):
    sys.exit(f"umount: {os.strerror(ctypes.get_errno())}")
"""


@contextmanager
def hung_disk(lab: Lab, node: str, directory: str) -> Iterator[None]:
    """Let a directory of a node hang; at the end the old one is there, and what waits is told that the disk is gone.

    Skips the test where this machine has no FUSE or gives no right to it, saying so; whatever else fails, fails.
    """
    command = (sys.executable, "-c", PROGRAM, directory)
    with lab.popen(node, *command, stdin=subprocess.PIPE) as server:
        assert server.stdin is not None and server.stdout is not None
        said = server.stdout.readline().strip()
        if said.startswith("lacking: "):
            pytest.skip(f"no file system can be made to hang here; {said}")
        if said != "hangs":
            server.stdin.close()
            pytest.fail(f"the file system that is to hang cannot be made: {said}\n{server.stdout.read()}")
        try:
            yield
        finally:
            server.stdin.close()
            assert server.wait(10) == 0, server.stdout.read()
