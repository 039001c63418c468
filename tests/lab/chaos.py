"""Faults to choose from at random, each with its undoing, and what it breaks as long as it stands."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

from anycastd.lab.errors import LabError
from tests.lab.chaos_truth import LINES, MORE, Broken, Line
from tests.lab.fleet import BACKENDS, Fleet
from tests.lab.topology_facts import (
    PREFIX_A4,
    REGIONS,
    SITES,
    UNDERLAY_DEVICE,
    cut_tunnel,
    heal_tunnels,
    make_backend,
    start_backend,
)
from tests.wait import wait_until

ONE_MORE = "one prefix more"
CONFIG = "/etc/anycastd/anycastd.yaml"
COMMAND = "/opt/anycastd/.venv/bin/anycastd"
SWITCH_PORT = {"fra": "eth1", "sin": "eth2", "iad": "eth3"}
BACKEND_PORT = {"eu-b1": "eth3", "eu-b2": "eth4", "us-b1": "eth3", "us-b2": "eth4"}
PROCESSES = {"daemon": "anycastd run -c", "exabgp": "exabgp server", "bridge": "bridge.py"}


def nothing() -> None:
    """Undo what undoes itself."""


WHOLE = Broken()


def is_past(at_s: float) -> bool:
    """Return whether a time has come."""
    return time.monotonic() >= at_s


@dataclass(frozen=True)
class Fault:
    """Something bad. Of one subject only one fault may stand at a time."""

    subject: str
    name: str
    do: Callable[[], object]
    undo: Callable[[], object] = nothing
    broken: Broken = WHOLE
    lasts: bool = False
    """Whether what must be while it stands can be said: `broken`."""


@dataclass
class Chaos:
    """Faults that stand, and what was done so far."""

    world: Fleet
    chance: random.Random
    begun_s: float = field(default_factory=time.monotonic)
    standing: list[tuple[float, Fault]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    left: set[str] = field(default_factory=set)
    """The POPs whose daemon was told to leave since the world was last whole."""
    grown: set[str] = field(default_factory=set)
    lost: set[str] = field(default_factory=set)
    """The POPs where a prefix left the file unseen: a new daemon keeps what it finds of it for the default 300 s."""

    def __post_init__(self) -> None:
        self.faults = [
            *lines(self.world), *backends(self.world), *processes(self.world), *routers(self.world),
            *kernels(self.world), *reloads(self.world),
        ]  # fmt: skip

    def note(self, text: str) -> None:
        """Keep what was done."""
        self.notes.append(f"{time.monotonic() - self.begun_s:6.1f} {text}")

    def rage(self, seconds: float) -> None:
        """Hurt the world at random, one or two faults at any time; they go on standing."""
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s:
            many = self.chance.choice((1, 2, 2))
            while len(self.standing) < many:
                self.start(self.chance.choice(self.faults), self.chance.uniform(0.3, 6.0))
            due_s = min(until_s for until_s, _ in self.standing)
            wait_until("the next fault", 10, partial(is_past, min(due_s, end_s)))
            self.end(lambda until_s, fault: until_s <= time.monotonic())

    def start(self, fault: Fault, for_s: float) -> None:
        """Do it, unless its subject has another one."""
        if any(fault.subject == other.subject for _, other in self.standing):
            return
        self.note(f"{fault.name}, for {for_s:.1f} s")
        self.standing.append((time.monotonic() + for_s, fault))
        self.left |= {pop for pop in SITES if fault.name == f"SIGTERM daemon of {pop}"}
        self.grown |= {pop for pop in SITES if fault.name == f"reload of {pop}: {ONE_MORE}"}
        self.lost |= {pop for pop in self.grown if fault.subject == f"daemon of {pop}"}
        fault.do()

    def end(self, which: Callable[[float, Fault], bool] = lambda until_s, fault: True) -> None:
        """Undo those that stand, newest first."""
        for one in [one for one in reversed(self.standing) if which(*one)]:
            self.note(f"end of {one[1].name}")
            one[1].undo()
            self.standing.remove(one)

    def leave_standing(self, faults: list[Fault]) -> Broken:
        """End everything else, let these stand, and return what is broken."""
        self.end()
        for fault in faults:
            self.start(fault, 0.0)
        broken = [fault.broken for _, fault in self.standing]
        return Broken(
            frozenset[Line]().union(*(one.lines for one in broken)),
            frozenset[str]().union(*(one.backends for one in broken)),
            frozenset(self.left),
        )

    def some(self) -> list[Fault]:
        """Choose faults to stand: any few, a POP cut off from every region, or a region without a backend."""
        lasting = [fault for fault in self.faults if fault.lasts]
        kind = self.chance.randrange(4)
        if kind < 2:
            return self.chance.sample(lasting, self.chance.randint(1, 4))
        if kind == 2:
            pop = self.chance.choice(list(SITES))
            return [one for one in lasting if one.name in (f"cut {pop}/a", f"no carrier {pop}/b")]
        region = self.chance.choice(list(REGIONS))
        return [one for one in lasting if one.name.startswith(region) and one.name.endswith("error500")]


def lines(world: Fleet) -> Iterator[Fault]:
    """Tunnels and their underlays, then the links to the transits (which are whole when the tables are judged)."""
    lab = world.lab
    for pop in SITES:
        for underlay, device in UNDERLAY_DEVICE.items():
            subject = f"{pop}/{underlay}"
            of = {region: Broken(frozenset({(pop, region, underlay)})) for region in REGIONS}
            both = Broken(frozenset(line for line in LINES if (line[0], line[2]) == (pop, underlay)))
            heal = partial(heal_tunnels, lab, pop, underlay)
            for region, broken in of.items():
                cut = partial(cut_tunnel, lab, pop, region, underlay)
                yield Fault(subject, f"cut {subject} to {region}", cut, heal, broken, lasts=True)
                link = partial(lab.exec, pop, "ip", "link", "set", f"{region}-{underlay}")
                name = f"device {region}-{underlay} of {pop} down"
                yield Fault(subject, name, partial(link, "down"), partial(link, "up"), broken, lasts=True)
            yield Fault(subject, f"cut {subject}", partial(lab.cut, pop, device), heal, both, lasts=True)
            port = (f"bb-{underlay}", SWITCH_PORT[pop])
            down, up = partial(lab.link_down, *port), partial(lab.link_up, *port)
            yield Fault(subject, f"no carrier {subject}", down, up, both, lasts=True)
        subject = f"uplink of {pop}"
        down, up = partial(lab.link_down, f"t-{pop}", "eth1"), partial(lab.link_up, f"t-{pop}", "eth1")
        yield Fault(subject, f"{subject} down", down, up)
        yield Fault(subject, f"{subject} cut", partial(lab.cut, pop, "eth1"), partial(lab.heal, pop, "eth1"))


def backends(world: Fleet) -> Iterator[Fault]:
    """Backends that refuse, hang, fail, are slow, are dead or out of reach."""
    lab = world.lab
    for node in BACKENDS:
        broken, well = Broken(backends=frozenset({node})), partial(make_backend, lab, node, "normal")
        for mode in ("refuse", "silent", "error500", "slow:2000"):
            yield Fault(node, f"{node} {mode}", partial(make_backend, lab, node, mode), well, broken, lasts=True)
        kill = partial(signalled, world, node, "^python3 -S /lab/backend.py serve", signal.SIGKILL)
        yield Fault(node, f"{node} killed", kill, partial(start_backend, lab, node), broken, lasts=True)
        port = (f"{node[:2]}-gw", BACKEND_PORT[node])
        yield Fault(node, f"{node} cut off", partial(lab.cut, *port), partial(lab.heal, *port), broken, lasts=True)


def signalled(world: Fleet, node: str, pattern: str, number: signal.Signals) -> None:
    """Send a signal to the processes of a node with this command line; there may be none at the moment."""
    for pid in world.lab.exec(node, "pgrep", "-f", pattern).stdout.split():
        try:
            world.lab.kill(node, int(pid), number)
        except (LabError, ProcessLookupError):
            continue


def processes(world: Fleet) -> Iterator[Fault]:
    """Our own processes killed, stopped for a while, told to go, to hand over, to reload."""
    for pop in SITES:
        for process, pattern in PROCESSES.items():
            subject, send = f"{process} of {pop}", partial(signalled, world, pop, pattern)
            yield Fault(subject, f"SIGKILL {subject}", partial(send, signal.SIGKILL))
            go_on = partial(send, signal.SIGCONT)
            yield Fault(subject, f"SIGSTOP {subject}", partial(send, signal.SIGSTOP), go_on)
        for number in (signal.SIGTERM, signal.SIGUSR2, signal.SIGHUP):
            send = partial(signalled, world, pop, PROCESSES["daemon"], number)
            yield Fault(f"daemon of {pop}", f"{number.name} daemon of {pop}", send)


def routers(world: Fleet) -> Iterator[Fault]:
    """Transit routers that restart, drop their sessions, or ask for everything again."""
    for pop, site in SITES.items():
        subject = site.transit
        if site.router == "bird":
            for words in ("restart all", "reload in all"):
                yield Fault(subject, f"{subject}: {words}", partial(world.lab.exec, subject, "birdc", *words.split()))
            continue
        for words in ("clear bgp *", "clear bgp * soft in"):
            yield Fault(subject, f"{subject}: {words}", partial(world.lab.exec, subject, "vtysh", "-c", words))
        start = ("/usr/lib/frr/bgpd", "-d", "-A", "127.0.0.1", "-f", "/etc/frr/frr.conf")
        kill = partial(signalled, world, subject, "^/usr/lib/frr/bgpd ", signal.SIGKILL)

        def again(subject: str = subject, start: tuple[str, ...] = start) -> None:
            wait_until("bgpd runs", 10, lambda: world.lab.exec(subject, *start).returncode == 0)

        yield Fault(subject, f"{subject}: bgpd of {pop}'s transit killed", kill, again)


HARM = (
    ("nft", "flush", "ruleset"),
    ("nft", "delete", "table", "inet", "anycastd"),
    ("nft", "flush", "map", "inet", "anycastd", "eip4"),
    ("nft", "flush", "map", "inet", "anycastd", "pool"),
    ("ip", "rule", "del", "pref", "1001"),
    ("ip", "-6", "rule", "del", "pref", "1002"),
    ("ip", "route", "flush", "table", "1001"),
    ("ip", "-6", "route", "flush", "table", "1002"),
    ("ip", "route", "del", "blackhole", PREFIX_A4),
)


def kernels(world: Fleet) -> Iterator[Fault]:
    """What is ours in the kernel taken away by somebody."""
    for pop in SITES:
        for argv in HARM:
            yield Fault(f"kernel of {pop}", f"{pop}: {' '.join(argv)}", partial(world.lab.exec, pop, *argv))


RELOAD_S = 10


def cover(world: Fleet, pop: str, old: str, new: str) -> None:
    """Give a POP another configuration, and have it read."""
    text = world.lab.exec(pop, "cat", CONFIG, check=True).stdout
    assert old in text
    script = f"cat > /run/chaos.yaml && mount --bind /run/chaos.yaml {CONFIG}"
    world.lab.exec(pop, "sh", "-c", script, text=text.replace(old, new), check=True)
    read_again(world, pop)


def uncover(world: Fleet, pop: str) -> None:
    """Give a POP its configuration back."""
    world.lab.exec(pop, "umount", CONFIG, check=True)
    read_again(world, pop)


def read_again(world: Fleet, pop: str) -> None:
    """Order a reload. Who has no daemon now reads the file when it starts; one that is stopped answers nobody."""
    world.lab.exec(pop, "timeout", str(RELOAD_S), COMMAND, "reload")


def reloads(world: Fleet) -> Iterator[Fault]:
    """Other configurations: another timer, one prefix more, one that is refused."""
    edits = {
        "another timer": ("settle: 500ms", "settle: 700ms"),
        ONE_MORE: ("203.0.113.0/24: {", f"{MORE}: {{}}\n  203.0.113.0/24: {{"),
        "a wrong key": ("announce_when:", "anounce_when:"),
    }
    for pop in SITES:
        for name, edit in edits.items():
            do, undo = partial(cover, world, pop, *edit), partial(uncover, world, pop)
            yield Fault(f"file of {pop}", f"reload of {pop}: {name}", do, undo)
