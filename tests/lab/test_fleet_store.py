"""Daemons that share an etcd: what one is told, the other's kernel has."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from tests.lab.etcd_stage import Pop, Stage, etcd_stage
from tests.wait import wait_until

pytestmark = pytest.mark.lab
STORE = (
    "store: {{kind: etcd, endpoints: [{endpoints}], heartbeat: 300ms, stale_after: 2s, presence: 3s, attempt: 500ms,"
    " commit_within: 2s, single_flight: 0s}}"
)


def store_of(stage: Stage) -> str:
    """Return the section of the configuration."""
    return STORE.format(endpoints=", ".join(f'"{url}"' for url in stage.endpoints))


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with etcd_stage(("fra", "sin", "iad"), members=1) as made:
        made.start_members()
        made.start_pops("fra", "sin", "iad", store=store_of(made))
        yield made


def bind(pop: Pop, address: str) -> None:
    """Make an EIP and bind it by a POP's own verbs."""
    pop.cli("eip", "allocate", address)
    pop.cli("eip", "associate", address, "eu/web")


def test_what_is_bound_by_one_pop_the_other_has_in_its_kernel(stage: Stage) -> None:
    fra, sin = stage.pops["fra"], stage.pops["sin"]
    bind(fra, "203.0.113.20")
    begun_s = time.monotonic()
    wait_until("the other POP's kernel has it", 20, lambda: "203.0.113.20" in sin.bound())
    print(f"bound at the other POP {time.monotonic() - begun_s:.3f} s after the verb had ended")
    assert "203.0.113.20" in fra.bound()


def fleet(pop: Pop) -> Any:
    """Return the fleet as a POP tells of it."""
    return pop.try_ask("/v1/fleet")


def present(pop: Pop) -> dict[str, str]:
    """Return the state of each POP that is present."""
    return {one["pop"]: one["state"] for one in fleet(pop)["pops"] if one["present"]}


def all_are(pop: Pop, state: str) -> bool:
    """Return whether a POP sees all three, in this state."""
    seen = present(pop)
    return set(seen) == {"fra", "sin", "iad"} and all(state in one for one in seen.values())


def phase_of(pop: Pop) -> str:
    """Return how far a POP's only drain is."""
    (drain,) = pop.try_ask("/v1/drains")["drains"]
    return str(drain["phase"])


def test_every_pop_tells_of_the_whole_fleet(stage: Stage) -> None:
    for pop in stage.pops.values():
        wait_until("all are there", 20, partial(all_are, pop, ""))
    said = stage.pops["iad"].cli("fleet", "status")
    assert "fra" in said and "cluster" in said


def drained_at_once(pops: list[Pop]) -> dict[str, tuple[int, str]]:
    """Have all of them drained at the same moment, when each of their stores answers in time; return what was said."""
    for _ in range(6):
        answers: dict[str, tuple[int, str]] = {}
        start = threading.Barrier(len(pops))

        def drain(pop: Pop, to: dict[str, tuple[int, str]], start: threading.Barrier) -> None:
            start.wait()
            to[pop.name] = pop.try_cli("drain", "pop", "--reason", "test")

        threads = [threading.Thread(target=drain, args=(pop, answers, start)) for pop in pops]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if not any("cannot be asked" in said for _, said in answers.values()):
            return answers
        # on a busy machine: such a one stays at DEPREF, which is another test's
        for pop in pops:
            pop.try_cli("undrain", "pop")
        wait_until("nobody is drained", 60, lambda: not [one for one in fleet(pops[0])["pops"] if one["drained"]])
    raise AssertionError(answers)


def test_of_three_pops_that_are_drained_at_the_same_moment_one_is(stage: Stage) -> None:
    pops = [stage.pops[name] for name in ("fra", "sin", "iad")]
    for pop in pops:
        wait_until("all serve", 20, partial(all_are, pop, "serving"))
    answers = drained_at_once(pops)
    assert sorted(code for code, _ in answers.values()) == [0, 65, 65], answers
    (gone,) = [name for name, (code, _) in answers.items() if code == 0]
    for name, (code, said) in answers.items():
        if name != gone:
            assert code == 65, said
            assert "fleet_budget" in said and f"{gone} is drained" in said
    # it goes its way to the end, and is counted until it announces again
    wait_until("it has left", 60, lambda: phase_of(stage.pops[gone]) in ("WITHDRAW", "LINGER"))
    other = next(pop for pop in pops if pop.name != gone)
    assert [one["pop"] for one in fleet(other)["pops"] if one["drained"]] == [gone]
    code, said = other.try_cli("drain", "pop", "--reason", "test", "--dry-run")
    assert code == 65, said
    stage.pops[gone].cli("undrain", "pop")
    wait_until("nobody is drained", 60, lambda: not [one for one in fleet(other)["pops"] if one["drained"]])
    assert "would change" in other.cli("drain", "pop", "--reason", "test", "--dry-run")


def test_without_the_store_a_pop_serves_what_it_applied_and_says_that_nothing_can_be_changed(stage: Stage) -> None:
    fra, sin = stage.pops["fra"], stage.pops["sin"]
    bind(sin, "203.0.113.30")
    wait_until("both have it", 20, lambda: "203.0.113.30" in fra.bound() & sin.bound())
    (member,) = stage.members
    member.kill()
    fra.stop(signal.SIGUSR2)
    fra.start()
    wait_until("it is up with what it kept", 30, lambda: fra.bound() == sin.bound() and "203.0.113.30" in fra.bound())
    code, said = fra.try_cli("eip", "disassociate", "203.0.113.30")
    assert code == 69 and "nothing was changed" in said, said
    # a drain rests at DEPREF: nobody can be asked whether the others are there
    said = sin.cli("drain", "pop", "--reason", "test")
    assert "stays at DEPREF until it can" in said
    assert phase_of(sin) == "DEPREF"
    sin.cli("undrain", "pop")
    assert "203.0.113.30" in fra.bound() & sin.bound()
    stage.start_members()
    wait_until("it can be changed again", 60, lambda: fra.try_cli("eip", "disassociate", "203.0.113.30")[0] == 0)
    wait_until("the other follows", 20, lambda: "203.0.113.30" not in sin.bound())


def test_a_pop_goes_back_to_a_store_of_its_own_and_comes_again(stage: Stage) -> None:
    iad, fra = stage.pops["iad"], stage.pops["fra"]
    bind(fra, "203.0.113.40")
    wait_until("it has it", 20, lambda: "203.0.113.40" in iad.bound())
    before = iad.bound()
    iad.configure("")
    assert "restart the daemon" in iad.cli("fleet", "switch", "-c", str(iad.config))
    iad.stop(signal.SIGUSR2)
    iad.start()
    wait_until("everything is there", 20, lambda: iad.bound() == before)
    bind(iad, "203.0.113.41")
    assert "203.0.113.41" in iad.bound()
    code, said = iad.try_cli("fleet", "status")
    assert code == 65 and "no fleet" in said, said
    # and again into the fleet, while the daemon runs: what it is told meanwhile is refused, not lost
    iad.configure(store_of(stage))
    assert "carried" in iad.cli("fleet", "switch", "-c", str(iad.config))
    code, said = iad.try_cli("eip", "disassociate", "203.0.113.41")
    assert code == 69 and "fleet switch" in said, said
    wait_until("the fleet has its EIP", 20, lambda: "203.0.113.41" in fra.bound())
    iad.stop(signal.SIGUSR2)
    iad.start()
    wait_until("everything is there", 20, lambda: iad.bound() == before | {"203.0.113.41"})
