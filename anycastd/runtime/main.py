"""From a configuration file to a running daemon, and to the exit status that says how it ended."""

from __future__ import annotations

import asyncio
import faulthandler
import os
import signal
import sys
from pathlib import Path

from anycastd.config.load import load
from anycastd.errors import AnycastdError, ConfigError
from anycastd.model.topology import Config
from anycastd.runtime.app import App
from anycastd.runtime.process import heap, privileges
from anycastd.runtime.process.closing import end_hung, own_threads
from anycastd.runtime.process.garbage import Garbage
from anycastd.runtime.process.lock import KernelLock, Lock, TakenError
from anycastd.runtime.process.notify import Notify
from anycastd.runtime.process.patience import read_through, told

EX_OK, EX_SOFTWARE, EX_OSERR, EX_TEMPFAIL, EX_NOPERM, EX_CONFIG = 0, 70, 71, 75, 77, 78


def main(path: str) -> int:
    """Run the daemon; return 0 when told to end, else why it did not run.

    75 another one runs, 77 a right is missing, 78 a bad file, 70 or 71 trouble.
    """
    # the watchdog's SIGABRT then says where we hung
    faulthandler.enable()
    # a reload that is asked for too early would end us; the file is read now in any case
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    # a copy: the daemon takes it out of its environment
    notify = Notify.of(dict(os.environ), os.getpid())
    try:
        with told(f"the configuration {path}, or a file that it names", notify):
            config = load(path)
    except ConfigError as error:
        return _refused(error)
    for warning in config.warnings:
        sys.stderr.write(f"warning: {warning}\n")
    if not _may(config):
        return EX_NOPERM
    lock, kernel = Lock(Path(config.api.socket).parent / "anycastd.lock"), KernelLock()
    try:
        lock.take()
        kernel.take()
    except TakenError as error:
        sys.stderr.write(f"anycastd: {error}\n")
        return EX_TEMPFAIL
    except OSError as error:
        sys.stderr.write(f"anycastd: cannot lock: {error}\n")
        return EX_OSERR
    heap.keep_one()
    with told(f"the state directory {config.state_dir}", notify):
        read_through(Path(config.state_dir))
    notify.close()
    try:
        asyncio.run(_run(path, config))
    except ConfigError as error:
        return _refused(error)
    except AnycastdError as error:
        sys.stderr.write(f"anycastd: {error}\n")
        return EX_OSERR
    finally:
        kernel.release()
        lock.release()
    return EX_OK


def _may(config: Config) -> bool:
    capabilities = privileges.effective()
    lacking = privileges.missing(config, capabilities, pings=privileges.may_ping(privileges.our_groups()))
    for one in lacking:
        sys.stderr.write(f"anycastd: {one}\n")
    limits = privileges.speaker_limits(config, capabilities, root=os.geteuid() == 0)
    if limits:
        sys.stderr.write(f"warning: {limits}\n")
    return not lacking


def _refused(error: ConfigError) -> int:
    count = len(error.problems)
    sys.stderr.write(f"{error}\n{count} error{'s' if count > 1 else ''}\n")
    return EX_CONFIG


async def _run(path: str, config: Config) -> None:
    Garbage.begin()
    pool = own_threads()
    await App(path, config).run()
    end_hung(pool, EX_OK)
