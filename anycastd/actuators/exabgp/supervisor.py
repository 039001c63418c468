"""Keeps one ExaBGP running: adopts it, starts it, starts it again, and ends it when told to."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from anycastd.actuators.disk import Disk
from anycastd.actuators.exabgp import conf, process
from anycastd.actuators.exabgp.events import Adopted, Degraded, Exited, Launched, SpeakerEvent
from anycastd.actuators.exabgp.files import Files, State
from anycastd.actuators.exabgp.process import Found, RunAs, Running, is_ours
from anycastd.actuators.lasting import cancelled
from anycastd.errors import ActuatorRejected, ActuatorTransient
from anycastd.model.address import Address, NeighborName
from anycastd.model.topology import BgpConfig, Launch, Neighbor, Pop

FIRST_DELAY_S, LAST_DELAY_S = 0.2, 10.0
STEADY_AFTER_S = 60.0
TERM_WITHIN_S = 5.0


class Supervisor:
    """The life of ExaBGP. `changed` is called when one begins or ends."""

    def __init__(
        self, bgp: BgpConfig, pop: Pop, report: Callable[[SpeakerEvent], None], changed: Callable[[], None]
    ) -> None:
        self.bgp, self.pop = bgp, pop
        self.files = Files(bgp.directory, bgp.socket)
        self.who = process.ourselves()
        self.state = State()
        self.running: Running | None = None
        self.adopted = False
        self._report, self._changed = report, changed
        self._neighbors: dict[NeighborName, Neighbor] = {}
        self._validated = self._complaint = ""
        self._disk, self._passwords = Disk("passwords"), dict[str, bytes]()
        """Those of the files that were read last, by file."""
        self._asked_to_end = False
        self._met = asyncio.Event()
        self.placing = asyncio.Lock()
        """Held from when a candidate is written until it is in place: a start and a reload write the same one."""
        self._task: asyncio.Task[None] | None = None
        self._again: asyncio.TimerHandle | None = None

    # adoption and launch

    def begin(self, neighbors: Mapping[NeighborName, Neighbor]) -> None:
        """Find out whether an ExaBGP of ours runs, and adopt it; the caller holds the lock."""
        self._neighbors = dict(neighbors)
        self.who = self._as_whom()
        self.files.give_to(self.who.owner)
        found = process.find(self.files.conf)
        if not found:
            return
        noted = self.files.read_state()
        known = [one for one in found if (one.pid, one.start) == (noted.pid, noted.start)]
        one = known[0] if known else found[0]
        self.state = noted if known else State(one.pid, one.start)
        self.adopted = True
        self._watch(Running(one, ended=self._ended))
        self._report(Adopted(one.pid))

    def supervise(self) -> None:
        """Keep one running from now on."""
        self._task = asyncio.create_task(self._supervise(), name="exabgp")
        self._task.add_done_callback(self._failed)

    def _failed(self, task: asyncio.Task[None]) -> None:
        """Begin again after what nobody foresaw: whatever it was, an ExaBGP that ends must be followed by another."""
        if task.cancelled() or (error := task.exception()) is None:
            return
        # not repr(), which may hold what was being written
        self._degraded("launch", f"{type(error).__name__}: {error}")
        task.get_loop().call_exception_handler({"message": "the supervision of ExaBGP failed", "exception": error})
        self._again = task.get_loop().call_later(LAST_DELAY_S, self.supervise)

    async def unsupervise(self) -> None:
        """Start no other when this one ends."""
        if self._again is not None:
            self._again.cancel()
        if self._task is not None:
            await cancelled(self._task)
            self._task = None

    async def leave(self) -> None:
        """Supervise no more; what runs lives on."""
        await self.unsupervise()
        self._disk.close()
        if self.running is not None:
            self.running.release()

    async def _supervise(self) -> None:
        loop, delay_s = asyncio.get_running_loop(), FIRST_DELAY_S
        while True:
            if self.running is None:
                try:
                    await self._launch()
                    self._degraded("launch", "")
                except (ActuatorRejected, ActuatorTransient, OSError) as error:
                    self._degraded("launch", str(error))
            began_s = loop.time()
            if self.running is not None:
                await self.running.gone.wait()
                self.running = None
                self._changed()
            if self._asked_to_end or loop.time() - began_s > STEADY_AFTER_S:
                delay_s = FIRST_DELAY_S
            if not self._asked_to_end:
                await asyncio.sleep(delay_s)
                delay_s = min(delay_s * 2, LAST_DELAY_S)
            self._asked_to_end = False

    async def _launch(self) -> None:
        async with self.placing:
            rendered = await self.render(self._neighbors)
            await self.check(rendered)
            if not self.is_service:
                self._begin_process(rendered)
                return
            self.put_in_place(rendered)
        # the service may have started one, and it was met, while the file was checked
        while self.running is None:
            self._met.clear()
            await self._met.wait()

    def _begin_process(self, rendered: bytes) -> None:
        addresses = self._addresses()
        listen, why_not = process.bindable(addresses, self.bgp.port)
        self._degraded("listen", why_not and f"neighbors cannot connect to us: {why_not}")
        self.files.adopt_candidate()
        settings = process.environment(self.bgp, self.who.name, listen)
        found = process.launch(process.program(self.bgp.exabgp), self.files, self.who, settings)
        self.adopted = False
        self.note(State(found.pid, found.start, self.digest(rendered)))
        self._watch(Running(found, ended=self._ended))
        self._report(Launched(found.pid))

    @property
    def is_service(self) -> bool:
        """Return whether something else starts ExaBGP."""
        return self.bgp.launch is Launch.SERVICE

    def _as_whom(self) -> RunAs:
        return process.service_of(self.bgp.user) if self.is_service else process.run_as(self.bgp.user)

    def _addresses(self) -> list[Address]:
        return [neighbor.local_address for neighbor in self._neighbors.values()] if self.bgp.listen else []

    def put_in_place(self, rendered: bytes) -> None:
        """Make the candidate the configuration in use, and tell the service how to start with it."""
        self.files.adopt_candidate()
        if self.is_service:
            plan = {
                "exabgp": process.program(self.bgp.exabgp),
                "settings": process.environment(self.bgp, self.who.name, ()),
                "listen": sorted({str(address) for address in self._addresses()}),
                "port": self.bgp.port,
                "digest": self.digest(rendered),
            }
            self.files.write_plan(plan, self.who.owner)

    def meet(self, pid: int, digest: str) -> None:
        """Adopt the ExaBGP of a bridge that said hello, if the service started it and it serves our configuration."""
        start = process.start_of(pid)
        if start is not None and self.running is not None and self.running.pid == pid and not self.state.config:
            # it was started while there was no daemon that could have noted with what
            self.note(State(pid, start, digest))
        if not self.is_service or self.running is not None or start is None or not is_ours(pid, self.files.conf):
            return
        self.adopted = True
        self.note(State(pid, start, digest))
        self._watch(Running(Found(pid, start), ended=self._ended))
        self._met.set()
        self._report(Adopted(pid))

    def _watch(self, running: Running) -> None:
        self.running = running
        self._changed()

    def _ended(self, running: Running, status: int | None) -> None:
        detail = "" if self._asked_to_end else self.files.log_tail()
        self._report(Exited(running.pid, status, detail))

    # configuration

    async def render(self, neighbors: Mapping[NeighborName, Neighbor]) -> bytes:
        """Return the configuration file for these neighbors; raise ActuatorRejected for an unreadable password.

        While the disk does not answer, what was read before is taken: an ExaBGP that ends is started all the same.
        """
        files = {name: one.password_file for name, one in neighbors.items() if one.password_file is not None}
        try:
            read = await self._disk.run(partial(_passwords, files))
        except TimeoutError as error:
            if lacking := [name for name, file in files.items() if file not in self._passwords]:
                message = f"the password of neighbor {lacking[0]} cannot be read: {files[lacking[0]]}: {error}"
                raise ActuatorRejected(message) from error
            read = self._passwords
        self._passwords = read
        passwords = {name: read[file] for name, file in files.items()}
        return conf.render(self.pop, neighbors.values(), passwords, process.bridge_command(self.files))

    def digest(self, rendered: bytes) -> str:
        """Return what identifies the configuration and settings as wanted."""
        addresses = sorted({str(neighbor.local_address) for neighbor in self._neighbors.values()})
        settings = process.environment(self.bgp, self.bgp.user, [])
        return conf.digest(rendered, settings | {"listen": " ".join(addresses) if self.bgp.listen else ""})

    async def check(self, rendered: bytes) -> None:
        """Write the candidate and have ExaBGP read it; raise ActuatorRejected if it finds fault.

        A user who cannot run ExaBGP (its files below a closed home) is not the file's fault: then it runs as we do.
        """
        self.who = self._as_whom()
        self.files.give_to(self.who.owner)
        self.files.write_candidate(rendered, self.who.owner)
        digest = self.digest(rendered)
        exabgp = process.program(self.bgp.exabgp)
        if digest != self._validated:
            self._complaint = ""
            complaint = await process.validate(self.files.candidate, exabgp, self.who)
            if complaint and self.who.words and not self.is_service:
                alone = process.ourselves()
                if not await process.validate(self.files.candidate, exabgp, alone):
                    self._complaint, complaint = complaint, ""
            if complaint:
                raise ActuatorRejected(complaint)
            self._validated = digest
        if self._complaint:
            self.who = process.ourselves(f"user {self.bgp.user} cannot run {exabgp}, so it runs as root")
            self.files.write_candidate(rendered, self.who.owner)
        self._degraded("user", self.who.reason)

    def configure(self, neighbors: Mapping[NeighborName, Neighbor]) -> None:
        """Take neighbors for the next launch."""
        self._neighbors = dict(neighbors)

    def note(self, state: State) -> None:
        """Keep what the next daemon must know."""
        self.state = state
        try:
            self.files.write_state(state, self.who.owner)
        except OSError as error:
            self._degraded("state", str(error))

    # the end

    def signal(self, number: signal.Signals) -> bool:
        """Signal the running ExaBGP; return False if we may not."""
        return self.running is None or self.running.signal(number)

    async def end(self, *, order: Callable[[str], bool]) -> None:
        """End ExaBGP: SIGTERM, SIGKILL after 5 s, through the bridge if we may not signal it ourselves.

        A service of its own starts it again.
        """
        running = self.running
        if running is None:
            return
        self._asked_to_end = True
        for number, words in ((signal.SIGTERM, "!term"), (signal.SIGKILL, "!kill")):
            if not running.signal(number) and not order(words):
                self._degraded("kill", f"ExaBGP (pid {running.pid}) is another user's and its bridge is away")
            if await running.wait(TERM_WITHIN_S):
                return

    def expect_end(self) -> None:
        """Take note that ExaBGP's end is our own doing: the next one is started without delay."""
        self._asked_to_end = True

    def end_bridge(self, pid: int, *, only_stopped: bool) -> bool:
        """Kill a bridge of ours that is stopped, or that its ExaBGP left behind; return whether it was killed."""
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes()
            state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
        except (OSError, IndexError):
            return False
        if os.fsencode(self.files.bridge) not in words.split(b"\0") or (only_stopped and state != "T"):
            return False
        try:
            os.kill(pid, signal.SIGKILL)
        except OSError:
            return False
        return True

    def _degraded(self, subject: str, detail: str) -> None:
        self._report(Degraded(subject, detail))


def _passwords(files: Mapping[NeighborName, str]) -> dict[str, bytes]:
    """Return what is in these files; raise ActuatorRejected for one that cannot be read."""
    found: dict[str, bytes] = {}
    for name, file in files.items():
        try:
            found[file] = Path(file).read_bytes().strip()
        except OSError as error:
            message = f"the password of neighbor {name} cannot be read: {file}: {error.strerror}"
            raise ActuatorRejected(message) from error
    return found
