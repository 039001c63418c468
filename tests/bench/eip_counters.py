"""10,000 EIPs that all carry packets, their counters read each second, in the whole daemon: how long its loop is held.

Two measures. Every call of the loop is timed: the longest is what one of them holds it, without what it waited for a
processor that other programs had; those of the bench alone take one of the two. And an outside program asks the
API all the time; the same with readings five minutes apart is the baseline, and what a request takes longer than it
usually does when nothing is read is what several turns of the loop and all else on the machine held it up.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from anycastd.model.nft import NftSet
from tests.bench.eip_world import FIRST, MANY, Api, Loaded, eip_document, loaded
from tests.bench.figures import Figure, percentile
from tests.bench.footprint import use_of
from tests.bench.world import POP_ADDRESS, World, world
from tests.wait import wait_until

WATCHED_S = 25.0
ASK_EACH_S = 0.003
SPRAY_S = 2.0
SPRAY = Path(__file__).with_name("spray.py")
EACH_READING, SELDOM = "1s", "5m"
HOLD_BUDGET_MS = 5.0
QUESTION = "/healthz"
LAG_EACH_S = 0.3
LOOP_WATCH = Path(__file__).parents[1] / "lab" / "loop_watch.py"


@dataclass(frozen=True, slots=True)
class Seen:
    """How long requests took, the daemon's share of a core, and samples of the lag that it measures itself."""

    asked_s: list[float]
    cpu_share: float
    lag_ms: list[float]


def _watch(now: Loaded, seconds: float) -> Seen:
    asked_s, lags, api = [], [], Api(now.made)
    before, begun_s = use_of([now.pid]), time.monotonic()
    lag_due_s = begun_s
    while (sent_s := time.monotonic()) < begun_s + seconds:
        api.ask("GET", QUESTION)
        asked_s.append(time.monotonic() - sent_s)
        if sent_s > lag_due_s:
            lag_due_s += LAG_EACH_S
            lags.append(float(api.ask("GET", "/v1/status")["loop"]["lag_ms"]))
        time.sleep(ASK_EACH_S)
    wall_s, after = time.monotonic() - begun_s, use_of([now.pid])
    api.close()
    return Seen(asked_s, (after.cpu_s - before.cpu_s) / wall_s, lags)


def _busy(made: World, seconds: float) -> None:
    """Let every EIP carry a packet each 2 s: what the meter does for one that is silent is little."""
    made.run("ip", "-n", made.far, "route", "add", "198.18.0.0/18", "via", POP_ADDRESS)
    words = (str(FIRST), str(MANY), str(SPRAY_S), str(seconds))
    made.spawn(made.far, [sys.executable, str(SPRAY), *words], "spray.log")


def _run(interval: str, seconds: float) -> Seen:
    with world(2) as made, loaded(made, MANY, eip_document(traffic_interval=interval)) as now:
        made.run("ip", "netns", "exec", made.pop, "sysctl", "-qw", "net.ipv4.conf.all.rp_filter=0")
        _busy(made, seconds + 20.0)
        wait_until("packets are counted", 20, lambda: _counts(made))
        return _watch(now, seconds)


def _counts(made: World) -> bool:
    """Return whether the last EIPs have packets in their counters."""
    argv = ("nft", "get", "element", "inet", "anycastd", NftSet.IN4.value, f"{{ {FIRST + (MANY - 1)} }}")
    return "packets 0 " not in made.read("ip", "netns", "exec", made.pop, *argv)


def _calls(interval: str, seconds: float) -> tuple[int, float, list[float]]:
    """Return how many calls the loop made in so many seconds, the longest by the clock, and those that held it, ms."""
    document = eip_document(traffic_interval=interval)
    with world(2) as made, loaded(made, MANY, document, calls_timed_by=LOOP_WATCH) as now:
        made.run("ip", "netns", "exec", made.pop, "sysctl", "-qw", "net.ipv4.conf.all.rp_filter=0")
        _busy(made, seconds + 20.0)
        wait_until("packets are counted", 20, lambda: _counts(made))
        os.kill(now.pid, signal.SIGRTMIN)
        time.sleep(seconds)
        os.kill(now.pid, signal.SIGRTMIN + 1)
        found = made.directory / "calls.json"
        wait_until("the calls are told", 20, found.exists)
        told = json.loads(found.read_text(encoding="utf-8"))
    return int(told["calls"]), told["wall_s"] * 1000, [float(took_s) * 1000 for took_s, _ in told["longest"]]


def _longest_call(seconds: float) -> Figure:
    calls, wall_ms, longest_ms = _calls(EACH_READING, seconds)
    return Figure(
        f"counters of {MANY} busy EIPs read each second: the longest calls of the daemon's loop",
        f"{longest_ms[0]:.1f}, {longest_ms[1]:.1f}, {longest_ms[2]:.1f} ms (of {calls} calls in {seconds:.0f} s); "
        f"{wall_ms:.1f} ms with the wait for a processor",
        budget=f"<= {HOLD_BUDGET_MS:.0f} ms",
        missed=f"The longest took {longest_ms[0]:.1f} ms." if longest_ms[0] > HOLD_BUDGET_MS else "",
    )


def run(seconds: float = WATCHED_S) -> list[Figure]:
    """Measure with a reading each second and almost without."""
    longest = _longest_call(seconds)
    quiet, read = _run(SELDOM, seconds / 2), _run(EACH_READING, seconds)
    usual_s = percentile(quiet.asked_s, 0.5)
    held, control = ([max(one - usual_s, 0.0) * 1000 for one in seen.asked_s] for seen in (read, quiet))
    share = read.cpu_share - quiet.cpu_share
    p999 = percentile(held, 0.999)
    load = f"load {os.getloadavg()[0]:.1f}"
    return [
        longest,
        Figure(
            f"the same: requests held, by all that holds them ({load})",
            f"p99 {percentile(held, 0.99):.1f} ms, p99.9 {p999:.1f} ms, longest {max(held):.1f} ms (n = {len(held)})",
            f"p99 {percentile(control, 0.99):.1f} ms, p99.9 {percentile(control, 0.999):.1f} ms, longest "
            f"{max(control):.1f} ms without readings",
        ),
        Figure(
            "the same: the loop's lag by its own meter",
            f"p90 {percentile(read.lag_ms, 0.9):.1f} ms, longest {max(read.lag_ms):.1f} ms (n = {len(read.lag_ms)})",
            f"p90 {percentile(quiet.lag_ms, 0.9):.1f} ms, longest {max(quiet.lag_ms):.1f} ms without readings",
        ),
        Figure(
            "the same: CPU of the daemon",
            f"{read.cpu_share:.2f} core, {quiet.cpu_share:.2f} without readings: {share / 5:.2f} core at the usual 5 s",
        ),
    ]


if __name__ == "__main__":
    for figure in run():
        print(figure.name, "|", figure.measured, "|", figure.baseline, "|", figure.missed)
