"""Run the benchmarks, all or those named, and write docs/benchmarks.md. A missed budget is told, never an error.

Run as a program, as root: `python -m tests.bench.report [PART]...`, with the parts named in `PARTS`. The page is of one
run: what is not named is not on it.
"""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.bench import (
    attack,
    bfd,
    binding,
    decide,
    detect,
    eip_counters,
    eip_failover,
    eip_start,
    failover,
    footprint,
    forwarding,
    journal,
    kernel_events,
    lives,
    mass,
    probes,
    scale,
    traffic,
)
from tests.bench.figures import Figure
from tests.wait import NotInTimeError

PAGE = Path(__file__).parents[2] / "docs" / "benchmarks.md"
RATIO_BUDGET, LATE_BUDGET_MS = 0.6, 100.0

HEAD = """# Benchmarks

Written by `make bench` (root; about twenty minutes). The daemon, ExaBGP, routers and servers are real, in network
namespaces; a figure with a baseline is judged against that baseline in the same run, since the machine is not quiet.

* **Latency** begins when the server writes the answer that completes the check's fall count, and ends when the UPDATE
  is read by a raw BGP listener; both stamps are CLOCK_MONOTONIC. The baseline is the same ExaBGP alone: one process
  that writes the command to its pipe. With routes queued, the daemon announces 8,000 prefixes of another condition
  whose server heals at that moment, and only failures between that answer and the last of their UPDATEs count; the
  baseline then keeps 64 other routes unanswered at any time.
* **Many at once**: from the answer that tips the check of the last prefix to the last UPDATE. Depreferenced is with the
  default guards, once by one check and once by fifty checks that fail within a second; withdrawn is with the circuit
  breaker raised by configuration. The baseline is ExaBGP alone, fed by a shell script with a line a prefix.
* **Fault to UPDATE** is from the order that makes the fault; what must pass is fall - 1 intervals, the timeout where a
  fault is silent, and up to an interval until a probe meets it.
* **Kernel events** are counted from the order to an `ip` that is already running; link checks are looked at once in an
  hour. A route that another program deleted is away by the kernel's own events; what differs is gathered for 20 ms.
* **Thousands of checks**: the server, a single process, has the other core.
* **Cold start** begins before the daemon's exec, with no ExaBGP running.
* **The control loop's cost** is measured with stand-ins for ExaBGP and the kernel, in one process.
* **Probes** are compared with a bare epoll loop that makes the same system calls.
* **A bound EIP** is in the kernel when the API's answer says so, and was then found there by another program.
* **The loop held**: the longest of its calls, in a run of its own in which every call is timed, without what it waited
  for a processor: the bench's own senders keep one of the two busy. Requests held: what those to the API took longer
  than they usually do when no counters are read; a request takes several turns, and waits for a processor like all do.
* **Forwarding** goes through a POP of its own for each way, all in one kernel, by turns; a ratio is the median of the
  rounds' ratios. The sender is the bottleneck: its core carries every packet up to the backend.
* **Seeing attacks**: what a packet costs with the rules' counters for it, and with a look at packets as under attack,
  beside the same rules without those counters, by turns: the processor time of the sender, whose call carries a packet
  up to the backend. The daemon's processor time is that with seeing less that without, each over 25 seconds in which
  every EIP carries packets. The time is from a flood's first packet to what the API says.
* **BFD**: eight sessions with FRR and BIRD, single hop and multihop, IPv4 and IPv6, over vxlan; the underlay swallows
  everything from one moment on. A cut is shorter than the detection time by the age of the last packet.
* **Lost tunnels**: a client of the EIP sends each 10 ms. A TCP sender tries again after 0.2, 0.6 and 1.4 s or so, and
  its gap ends with the next try after the change of tunnel.
"""


def _probes() -> list[Figure]:
    said = probes.run(18.0)
    ratio, late_ms = said["http_ratio"], said["late_max_ms_1000_checks_1s"]
    return [
        Figure(
            "HTTP checks per CPU second, a new connection each",
            f"{said['http_engine_per_cpu_s']:.0f}",
            f"{said['http_bare_per_cpu_s']:.0f} (bare epoll loop)",
            f"{ratio:.2f}",
            f">= {RATIO_BUDGET} of the baseline",
            f"The ratio is {ratio:.2f}." if ratio < RATIO_BUDGET else "",
        ),
        Figure(
            "CPU of an HTTP check",
            ", ".join(f"{said[f'cost_us_{many}']:.0f} us with {many}" for many in (100, 1000, 10_000))
            + " (each 1 s, the 10000 each 5 s)",
            ratio=f"{said['cost_us_10000'] / said['cost_us_100']:.2f}",
        ),
        Figure(
            "1000 HTTP checks each second: the latest start of a check",
            f"{late_ms:.0f} ms after its time ({said['cpu_share_1000_checks_1s']:.2f} core, the engine alone)",
            budget=f"<= {LATE_BUDGET_MS:.0f} ms",
            missed=f"One was {late_ms:.0f} ms late." if late_ms > LATE_BUDGET_MS else "",
        ),
    ]


PARTS: dict[str, Callable[[], list[Figure]]] = {
    "failover": failover.run,
    "bfd": bfd.run,
    "mass": mass.run,
    "cold_start": lives.cold_start,
    "detect": detect.run,
    "kernel_events": kernel_events.run,
    "probes": _probes,
    "scale": scale.run,
    "decide": decide.run,
    "footprint": footprint.run,
    "journal": journal.run,
    "restart": lives.restart,
    "binding": binding.run,
    "start10k": eip_start.run,
    "counters": eip_counters.run,
    "traffic": traffic.run,
    "forwarding": forwarding.run,
    "eip_failover": eip_failover.run,
    "attack": attack.run,
}


def machine() -> str:
    """Return what the figures were measured on; nothing that names it."""
    model = next(
        (line.partition(":")[2].strip() for line in _cpuinfo() if line.startswith("model name")), platform.machine()
    )
    loads = " ".join(f"{load:.1f}" for load in os.getloadavg())
    kernel = f"Linux {platform.release()}, Python {platform.python_version()}"
    return f"{os.cpu_count()} cores ({model}), {kernel}; load average {loads}"


def _cpuinfo() -> list[str]:
    try:
        return Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []


def page(figures: list[Figure], failed: list[str], before: str, names: list[str]) -> str:
    """Return the page."""
    now = datetime.datetime.now(tz=datetime.UTC)
    command = "make bench" if len(names) == len(PARTS) else f"python -m tests.bench.report {' '.join(names)}"
    lines = [HEAD, f"{now:%Y-%m-%d}, `{command}`; {before} at the start, "]
    lines[-1] += f"{os.getloadavg()[1]:.1f} (5 min) at the end.\n"
    lines += ["| figure | measured | baseline | ratio | budget |", "|---|---|---|---|---|"]
    for one in figures:
        lines.append(f"| {one.name} | {one.measured} | {one.baseline} | {one.ratio} | {one.budget} |")
    lines += ["", "Latencies are p50 / p90 / p99; the ratio is that of the p99.", ""]
    missed = [f"* {one.name}: {one.missed}" for one in figures if one.missed] + [f"* {text}" for text in failed]
    lines += ["## Budgets missed", "", *(missed or ["None."]), ""]
    return "\n".join(lines)


def main(names: list[str]) -> int:
    """Run what is named, or all; return 64 for an unknown name."""
    if unknown := [name for name in names if name not in PARTS]:
        print(f"no such benchmark: {', '.join(unknown)}; there are {', '.join(PARTS)}")
        return 64
    names = names or list(PARTS)
    figures: list[Figure] = []
    failed: list[str] = []
    before, begun_s = machine(), time.monotonic()
    print(before)
    for name in names:
        print(f"== {name} ({time.monotonic() - begun_s:.0f} s)", flush=True)
        try:
            found = PARTS[name]()
        except (NotInTimeError, OSError, subprocess.SubprocessError) as error:
            failed.append(f"{name} could not be measured: {str(error).splitlines()[0][:300]}")
            print(f"  {failed[-1]}")
            continue
        figures += found
        for one in found:
            beside = f"; baseline {one.baseline}" if one.baseline else ""
            ratio = f"; ratio {one.ratio}" if one.ratio else ""
            print(f"  {one.name}: {one.measured}{beside}{ratio}; budget {one.budget or 'none'}")
            if one.missed:
                print(f"    MISSED: {one.missed}")
    PAGE.write_text(page(figures, failed, before, names), encoding="utf-8")
    print(f"== docs/benchmarks.md written ({time.monotonic() - begun_s:.0f} s)")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
