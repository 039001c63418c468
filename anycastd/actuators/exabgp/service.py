"""ExaBGP as a service of its own (anycastd-bgp.service): started as the daemon's files say, stopped with nothing left.

usage: python -m anycastd.actuators.exabgp.service start|stop DIRECTORY

`start` waits until a daemon has said how, and becomes ExaBGP. `stop` has the bridge withdraw everything, since ExaBGP
ends without a NOTIFICATION and neighbors would keep its routes as stale; what ends ExaBGP comes after it.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from ipaddress import ip_address
from pathlib import Path
from typing import Any, NoReturn

from anycastd.actuators.exabgp.files import Files
from anycastd.actuators.exabgp.process import SYSTEM_PATH, Found, bindable, find, server_command

DIGEST = "anycastd_digest"
LOOK_EACH_S = 0.2
LET_OUT_S = 1.0
"""From the order until the last UPDATE is out: 1,000 withdrawals take 0.23 s (measured)."""
EX_USAGE = 64


def plan_of(files: Files) -> dict[str, Any]:
    """Return how to start, and wait for it as long as it takes."""
    told = False
    while True:
        try:
            plan = files.read_plan()
            if files.read_conf():
                return plan
        except (OSError, ValueError) as error:
            if not told:
                sys.stderr.write(f"anycastd-bgp: waiting for anycastd to say how to start: {error}\n")
                told = True
        time.sleep(LOOK_EACH_S)


def start(directory: Path) -> NoReturn:
    """Become ExaBGP."""
    files = Files(str(directory), "")
    plan = plan_of(files)
    listen, why_not = bindable([ip_address(text) for text in plan["listen"]], int(plan["port"]))
    if why_not:
        sys.stderr.write(f"anycastd-bgp: neighbors cannot connect to us: {why_not}\n")
    settings = {str(key): str(value) for key, value in plan["settings"].items()}
    environ = {
        "PATH": SYSTEM_PATH,
        "LANG": "C.UTF-8",
        **settings,
        "exabgp_tcp_bind": " ".join(str(address) for address in listen),
        DIGEST: str(plan["digest"]),
    }
    words = server_command(str(plan["exabgp"]), files)
    os.execve(words[0], words, environ)


def bridges(one: Found) -> list[int]:
    """Return the helpers of an ExaBGP."""
    try:
        children = Path(f"/proc/{one.pid}/task/{one.pid}/children").read_text(encoding="ascii").split()
        return [int(pid) for pid in children if b"bridge.py" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    except OSError:
        return []


def stop(directory: Path) -> None:
    """Have everything withdrawn and wait until it is out."""
    told = [pid for one in find(Files(str(directory), "").conf) for pid in bridges(one)]
    for pid in told:
        try:
            os.kill(pid, signal.SIGUSR1)
        except OSError as error:
            sys.stderr.write(f"anycastd-bgp: bridge {pid}: {error.strerror}\n")
    if told:
        time.sleep(LET_OUT_S)


def main(arguments: list[str]) -> int:
    """Run one of the two; return the exit status."""
    verbs = {"start": start, "stop": stop}
    if len(arguments) != 2 or arguments[0] not in verbs:
        sys.stderr.write(f"{__doc__}\n")
        return EX_USAGE
    verbs[arguments[0]](Path(arguments[1]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
