"""The lab and slow tests in four processes at once: those of the running world, two halves of those with namespaces of
their own, and those without any.

python -m tests.lab.side_by_side [FILE...]

The world's tests are seen as they run; what the others said is printed whole when all have ended. They mostly wait, so
that two processors do for four. Who waits for time goes first where several want a processor.

A test that fails here fails on a machine busy with the others. Up to two of them are run once more with the machine
to themselves, and named: whoever passes only then is too impatient somewhere, and is to be mended. More, or a
second failure, is a failure.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from types import FrameType
from typing import IO

COMMON = ("-q", "-p", "no:randomly", "--timeout", "180", "--durations", "20", "--durations-min", "4")
TESTS_FAILED = 1
"""What pytest exits with if it ran to its end and some test failed."""
AGAIN_AT_MOST = 2
WANTED = "(lab or slow) and not soak"
PR_SET_PDEATHSIG = 1
AUTOGROUP = Path("/proc/self/autogroup")
NICE = (0, 5, 5, 19)
"""What needs a processor most waits for nothing else: it takes what the others leave."""


def pytest_words(which: str, kept_in: Path, *files: str) -> list[str]:
    """Return the command line of one of the four; of all files unless some are named."""
    cache = ("-o", f"cache_dir={kept_in / which.replace(' ', '-')}")
    return [sys.executable, "-m", "pytest", "-m", f"{WANTED} and {which}", *COMMON, *cache, *(files or ("tests",))]


def failed(kept_in: Path) -> list[str]:
    """Return the node ids of what failed in any of the four."""
    found = [json.loads(one.read_text()) for one in sorted(kept_in.glob("*/v/cache/lastfailed"))]
    return [node for one in found for node in one]


def again(code: int, kept_in: Path) -> int:
    """Run the few that failed once more, alone; return the code that counts."""
    nodes = failed(kept_in)
    if code != TESTS_FAILED or not 0 < len(nodes) <= AGAIN_AT_MOST:
        return code
    print(f"== {len(nodes)} failed beside the others; once more, alone: {' '.join(nodes)}", flush=True)
    second = run([sys.executable, "-m", "pytest", *COMMON, "-p", "no:cacheprovider", *nodes])
    if not second:
        print("== passed only when alone, to be mended: " + " ".join(nodes), flush=True)
    return second


def start(words: Sequence[str], out: IO[bytes] | None, nice: int = 0) -> subprocess.Popen[bytes]:
    """Start one, in a session of its own: only we pass a signal on, once, so that it can clean up.

    It is told too when we are killed.
    """
    libc = ctypes.CDLL(None)

    def prepare() -> None:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGINT)
        os.nice(nice)
        # where the kernel groups by session, each has an equal share whatever the niceness in it
        with suppress(OSError):
            AUTOGROUP.write_text(str(nice), encoding="ascii")

    return subprocess.Popen(
        words, stdout=out, stderr=subprocess.STDOUT if out else None, start_new_session=True, preexec_fn=prepare
    )


def run(shown: Sequence[str], *kept: Sequence[str]) -> int:
    """Run all to their end; return 0 only if all did, the worst exit code, 128 + the signal if we were told to go."""
    told: list[int] = []
    with ExitStack() as files:
        outs = [files.enter_context(TemporaryFile()) for _ in kept]
        every: list[subprocess.Popen[bytes]] = []
        reached: list[int] = []

        def pass_on(number: int, _frame: FrameType | None) -> None:
            if not told:
                told.append(number)
                tell()

        def tell() -> None:
            for one in every[len(reached) :]:
                reached.append(one.pid)
                one.send_signal(signal.SIGINT)

        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, pass_on)
        begun_s = time.monotonic()
        for words, out, nice in zip((shown, *kept), (None, *outs), NICE[: len(kept) + 1], strict=True):
            every.append(start(words, out, nice))
            # told to go while it was started, when it was not among those to be told
            if told:
                tell()
        codes = [one.wait() for one in every]
        for out in outs:
            out.seek(0)
            print("== what ran beside it", flush=True)
            sys.stdout.buffer.write(out.read())
        said = ", ".join(str(code) for code in codes)
        print(f"== all: {time.monotonic() - begun_s:.0f} s, exit codes {said}", flush=True)
    return 128 + told[0] if told else max(abs(code) for code in codes)


PARTS = ("world", "lab and not world and even", "lab and not world and not even", "not lab")

if __name__ == "__main__":
    with TemporaryDirectory(prefix="anycastd-lab-") as where:
        sys.exit(again(run(*(pytest_words(part, Path(where), *sys.argv[1:]) for part in PARTS)), Path(where)))
