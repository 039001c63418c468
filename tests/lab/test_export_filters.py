"""The filters of docs/safety.md, as they stand there, in a real FRR and a real BIRD: what they let in and what not."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from anycastd.model.bgp import Announce
from tests.lab.bgp_stage import Driven, Stage, announce, eventually, neighbor, stage, withdraw

pytestmark = pytest.mark.lab

PAGE = (Path(__file__).parents[2] / "docs" / "safety.md").read_text(encoding="utf-8")
A, B = "203.0.113.0/24", "198.51.100.0/24"
FRR, BIRD, BARE = 2, 3, 4
OTHERS = [f"198.18.{number}.0/24" for number in range(20)]


def example(language: str, number: int) -> str:
    """Return an example of the page with the addresses and AS numbers of the stage."""
    (found,) = re.findall(rf"```{language}\n(.*?)```", PAGE, flags=re.S)
    text = str(found)
    here = {"64496": "65001", "64500": "65000", "192.0.2.2": "10.9.0.1", "192.0.2.1 ": f"10.9.0.{number} "}
    for written, instead in here.items():
        text = text.replace(written, instead)
    return text


class Bird:
    """A real BIRD with the example's configuration."""

    def __init__(self, ex: Stage) -> None:
        self._ex, self._control = ex, str(ex.directory / "bird.ctl")
        # its addresses here are of the loopback, which no link joins, and another router listens beside it
        text = example("bird", BIRD).replace("as 65000;", "as 65000; multihop; passive; strict bind;")
        conf = ex.directory / "bird.conf"
        conf.write_text(f"router id 10.9.0.{BIRD};\nprotocol device {{}}\n{text}", encoding="ascii")
        argv = ["ip", "netns", "exec", ex.name, "bird", "-f", "-c", str(conf), "-s", self._control]
        self.process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def routes(self) -> set[str]:
        """Return what it has from the POP."""
        said = self._ex.run("birdc", "-s", self._control, "show", "route", "protocol", "pop_fra", check=False)
        return {line.split()[0] for line in said.splitlines() if re.match(r"\d+\.", line)}

    def is_up(self) -> bool:
        """Return whether the session is up."""
        return "Established" in self._ex.run("birdc", "-s", self._control, "show", "protocols", "pop_fra", check=False)

    def end(self) -> None:
        """Kill it."""
        self.process.kill()
        self.process.wait()


@pytest.fixture
def ex() -> Iterator[Stage]:
    with stage() as made:
        yield made


def foreign(number: int, prefix: str) -> Announce:
    return announce(number, prefix, as_path=(65000, 64999))


async def test_only_the_listed_prefixes_of_our_as_with_our_next_hop_come_in(ex: Stage) -> None:
    frr, bird = ex.frr(FRR, after=example("frr", FRR)), Bird(ex)
    ex.sinks.append(bird)  # type: ignore[arg-type]
    driven = ex.driven(neighbor(FRR), neighbor(BIRD))
    try:
        await driven.start()
        await driven.up(f"n{FRR}", f"n{BIRD}")
        for number in (FRR, BIRD):
            wrong = [announce(number, prefix) for prefix in ("203.0.113.0/25", "203.0.112.0/23", "0.0.0.0/0", *OTHERS)]
            driven.speaker.apply([announce(number, A, as_path=(65000,) * 4), foreign(number, B), *wrong])
        await driven.settled()
        await eventually("the listed one is in", 20, lambda: set(frr.routes()) == {A} == bird.routes())
        # the same connection carries them in order: what came before A was judged before B
        for number in (FRR, BIRD):
            driven.speaker.apply([announce(number, B, next_hop="10.9.0.9")])
            driven.speaker.apply([announce(number, A)])
        await driven.settled()
        await eventually("normal again", 20, lambda: frr.routes()[A].get("path") == "65000")
        assert set(frr.routes()) == {A} == bird.routes()
        for number in (FRR, BIRD):
            driven.speaker.apply([announce(number, B)])
        await driven.settled()
        await eventually("both are in", 20, lambda: set(frr.routes()) == {A, B} == bird.routes())
        assert {driven.state(f"n{number}") for number in (FRR, BIRD)} == {"established"}
    finally:
        await ex.close()


async def test_a_limit_alone_ends_the_session_with_everything_that_is_in_it(ex: Stage) -> None:
    limit = (
        "router bgp 65001\n address-family ipv4 unicast\n  neighbor 10.9.0.1 maximum-prefix 4\n exit-address-family\n"
    )
    frr = ex.frr(BARE, after=limit)
    driven: Driven = ex.driven(neighbor(BARE))
    try:
        await driven.start()
        await driven.up(f"n{BARE}")
        driven.speaker.apply([announce(BARE, A)])
        await eventually("the first is in", 20, lambda: set(frr.routes()) == {A})
        driven.speaker.apply([announce(BARE, prefix) for prefix in OTHERS])
        await eventually("nothing is in any more", 20, lambda: frr.routes() == {} or None)
        driven.speaker.apply([withdraw(BARE, prefix) for prefix in OTHERS])
        await eventually("the session is down", 20, lambda: driven.state(f"n{BARE}") != "established")
    finally:
        await ex.close()
