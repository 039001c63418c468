"""`make demo`: three POPs with real routers; see traffic, break something, see it heal."""

from __future__ import annotations

import itertools
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from anycastd.lab import runner
from anycastd.lab.errors import LabError
from anycastd.lab.running import Lab

TOPOLOGY = Path(__file__).parents[2] / "containerlab" / "global.clab.yml"
POPS = ("fra", "sin", "iad")
SERVICE, ANOTHER = "203.0.113.10", "203.0.113.20"
PREFIX, STAYING = "203.0.113.0/24", "198.51.100.0/24"
UNDERLAYS = ("eth2", "eth3")
EU_TABLE = "1001"
READY_WITHIN_S = 60.0

BOLD, DIM, RED, GREEN, PLAIN = (
    ("\x1b[1m", "\x1b[2m", "\x1b[31m", "\x1b[32m", "\x1b[0m") if sys.stdout.isatty() else ("",) * 5
)


def say(text: str = "") -> None:
    """Print a line at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def title(number: int, text: str) -> None:
    """Print the heading of a step."""
    say(f"\n{BOLD}{number}. {text}{PLAIN}")


def show_progress(node: str, what: str) -> None:
    """Name each node as it comes up."""
    if what == "is up":
        sys.stdout.write(f" {DIM}{node}{PLAIN}")
        sys.stdout.flush()


def indented(text: str, lines: int = 40) -> None:
    """Print what a program said."""
    for line in text.rstrip().splitlines()[:lines]:
        say(f"   {line}")


def wait_for(what: str, so: Callable[[], bool], within_s: float = READY_WITHIN_S) -> float:
    """Wait until something is so; return the seconds it took, or end the demonstration."""
    begun_s = time.monotonic()
    while not so():
        if time.monotonic() - begun_s > within_s:
            message = f"not within {within_s:.0f} s: {what}"
            raise LabError(message)
        time.sleep(0.1)
    return time.monotonic() - begun_s


def anycastd(lab: Lab, pop: str, *argv: str) -> str:
    """Run our command in a POP, as its operator would."""
    done = lab.exec(pop, sys.executable, "-m", "anycastd", *argv)
    return done.stdout + done.stderr


def paths(lab: Lab, prefix: str) -> list[str]:
    """Return what the router beside fra has from its POP, as `AS path`, or nothing."""
    said = lab.exec("t-fra", "vtysh", "-c", f"show bgp ipv4 unicast {prefix} json").stdout
    found = json.loads(said or "{}").get("paths", [])
    ours = [path for path in found if any(hop.get("ip") == "10.64.1.2" for hop in path.get("nexthops", []))]
    return [path["aspath"]["string"] for path in ours]


def show_router(lab: Lab) -> None:
    """Print what the router beside fra has of both prefixes."""
    for prefix in (PREFIX, STAYING):
        have = paths(lab, prefix)
        text = f"{GREEN}as-path {have[0]}{PLAIN}" if have else f"{RED}not announced by fra{PLAIN}"
        say(f"   t-fra (FRR) has {prefix:<18} {text}")


@contextmanager
def traffic(lab: Lab, seconds: float) -> Iterator[None]:
    """Let every client ask for the service all the while, then print what each saw."""
    argv = ("python3", "-S", "/lab/client.py", "--every-ms", "20", "--timeout-ms", "400", "--seconds", str(seconds))
    running = {pop: lab.popen(f"c-{pop}", *argv, SERVICE) for pop in POPS}
    yield
    for pop, process in running.items():
        rows = sorted((json.loads(line) for line in process.communicate()[0].splitlines()), key=lambda r: r["sent_s"])
        good = [row for row in rows if row["ok"]]
        times = [row["sent_s"] for row in good]
        gap_s = max((b - a for a, b in itertools.pairwise(times)), default=0.0)
        regions = " then ".join(dict.fromkeys(row["region"] for row in good))
        lost = len(rows) - len(good)
        colour = RED if lost else GREEN
        say(
            f"   c-{pop}: {len(rows)} requests, {colour}{lost} lost{PLAIN}, "
            f"longest gap {gap_s:.2f} s, served by {regions}"
        )


def answered_by(lab: Lab, address: str) -> str:
    """Let the client beside fra make 90 connections; return which backend answered how many."""
    argv = ("python3", "-S", "/lab/client.py", "--count", "90", "--every-ms", "5", address)
    rows = [json.loads(line) for line in lab.exec("c-fra", *argv).stdout.splitlines()]
    counts = Counter(f"{row['region']}/{row['backend']}" for row in rows if row["ok"])
    return ", ".join(f"{backend} {count}" for backend, count in sorted(counts.items()))


def is_serving(lab: Lab, pop: str) -> bool:
    """Return whether a POP announces both prefixes at normal preference."""
    try:
        status = json.loads(anycastd(lab, pop, "status", "--json") or "{}")
    except ValueError:
        return False
    views = status.get("prefixes", [])
    return bool(views) and all(v["state"] == "ANNOUNCED" and v["preference"] == "NORMAL" for v in views)


def tour(lab: Lab) -> None:
    """Show, break, heal."""
    title(2, "The daemons wait for their checks, then announce")
    for pop in POPS:
        took_s = wait_for(f"{pop} announces", lambda pop=pop: is_serving(lab, pop))  # type: ignore[misc]
        say(f"   {pop}: announced ({took_s:.1f} s more)")
    indented(anycastd(lab, "fra", "status"))
    show_router(lab)

    title(3, "Traffic: one address, three clients, each served over its nearest POP")
    with traffic(lab, 2):
        pass

    title(4, "Bind: another address, at run time, two parts to eu/b1 and one to eu/b2")
    for argv in (("allocate", ANOTHER), ("associate", ANOTHER, "eu/b1:200", "eu/b2:100", "us/b1@2")):
        say(f"   {DIM}fra# anycastd eip {' '.join(argv)}{PLAIN}")
        indented(anycastd(lab, "fra", "eip", *argv))
    say(f"   c-fra: 90 connections to {ANOTHER} were answered by {answered_by(lab, ANOTHER)}")

    title(5, "Break: the backend eu/b1 answers with errors")
    with traffic(lab, 4):
        time.sleep(1)
        lab.exec("eu-b1", "backendctl", "error500")
    say(f"   {DIM}its EIPs' packets go to its neighbor; no router heard of it:{PLAIN}")
    indented(anycastd(lab, "fra", "eip", "list"))
    lab.exec("eu-b1", "backendctl", "normal")

    title(6, "Break: the tunnel fra -> eu over underlay a is cut silently")
    with traffic(lab, 5):
        time.sleep(1)
        lab.cut("fra", "eth2", "10.100.0.11")
    indented(lab.exec("fra", "ip", "route", "show", "table", EU_TABLE).stdout, 2)
    say(f"   {DIM}eu's packets ride the other tunnel; no router heard of it:{PLAIN}")
    show_router(lab)
    lab.heal("fra", "eth2")

    title(7, "Break: fra loses its whole backbone")
    with traffic(lab, 8):
        time.sleep(1)
        for device in UNDERLAYS:
            lab.cut("fra", device)
    show_router(lab)
    say(f"   {DIM}{PREFIX} says last_resort: withdraw; {STAYING} stays, depreferenced. Why:{PLAIN}")
    indented(anycastd(lab, "fra", "explain", STAYING))

    title(8, "Heal")
    for device in UNDERLAYS:
        lab.heal("fra", device)
    took_s = wait_for("fra is back", lambda: is_serving(lab, "fra"))
    say(f"   fra announces both prefixes at normal preference again after {took_s:.1f} s (lab timers)")
    show_router(lab)


LOOK = """
Look around (as root, in another terminal):
   .venv/bin/anycastd lab list
   .venv/bin/anycastd lab exec global fra -- {command} status
   .venv/bin/anycastd lab exec global fra -- {command} explain 203.0.113.0/24
   .venv/bin/anycastd lab exec global fra -- {command} eip list          (allocate, associate, show: docs/eips.md)
   .venv/bin/anycastd lab exec global fra -- nft list table inet anycastd
   .venv/bin/anycastd lab exec global t-fra -- vtysh -c 'show bgp ipv4 unicast'
   .venv/bin/anycastd lab exec global t-sin -- birdc show route
   .venv/bin/anycastd lab exec global eu-b1 -- backendctl error500     (make a backend ill; normal = well)
   .venv/bin/anycastd lab logs global fra
The picture and the addresses: containerlab/README.md. What every fault does: docs/failures.md.
"""


def main() -> int:
    """Run the demonstration; take the lab down at its end."""
    title(1, "Three POPs, three transit providers (FRR, BIRD), two regions: namespaces on this machine")
    begun_s = time.monotonic()
    try:
        runner.down(TOPOLOGY)
        with runner.up(TOPOLOGY, progress=show_progress) as lab:
            say(f"\n   up after {time.monotonic() - begun_s:.1f} s")
            tour(lab)
            say(LOOK.format(command=f"{sys.executable} -m anycastd"))
            if sys.stdin.isatty():
                input("The lab stays up until you press Enter. ")
    except LabError as error:
        sys.stderr.write(f"demo: {error}\n")
        return 1
    say("The lab is down; nothing of it is left.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
