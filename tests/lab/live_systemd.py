"""The units under systemd itself, the first process of namespaces of its own, beside the router of a `UnitStage`."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.lab.unit_stage import CONFIG, PASSWORD, PREFIXES, ROOT, UnitStage, unit_stage
from tests.wait import wait_until

SCRIPT = Path(__file__).with_name("live_systemd.sh")
CGROUPS = (Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup"))
TARGET = """[Unit]
Description=The stage
Requires=systemd-journald.socket systemd-journald.service
After=systemd-journald.socket systemd-journald.service
"""
DROP_INS = {
    # the daemon need not stand still for half a minute until that is seen
    "system/anycastd.service.d/stage.conf": "[Service]\nWatchdogSec=3\n",
    "journald.conf.d/stage.conf": "[Journal]\nStorage=volatile\nReadKMsg=no\nAudit=no\n",
}
"""What differs from the units as shipped, and a journal that leaves the kernel's messages alone."""


def cgroup_root() -> Path | None:
    """Return where this machine has the one hierarchy of control groups, None if it has only the old ones."""
    return next((path for path in CGROUPS if (path / "cgroup.controllers").exists()), None)


@dataclass
class Machine:
    """A systemd that runs, and the stage around it."""

    stage: UnitStage
    pid: int = 0

    def run(self, *argv: str, check: bool = True) -> str:
        """Run a program inside and return what it prints."""
        inside = ("nsenter", "--target", str(self.pid), "--all", "--root", "--wd=/")
        done = subprocess.run([*inside, *argv], capture_output=True, text=True, timeout=90, check=False)
        assert done.returncode == 0 or not check, f"{argv}: {done.stdout}{done.stderr}\n{self.journal()}"
        return done.stdout

    def shown(self, unit: str, *names: str) -> dict[str, str]:
        """Return properties of a unit."""
        lines = self.run("systemctl", "show", unit, *(f"--property={name}" for name in names)).splitlines()
        return {key: value for key, _, value in (line.partition("=") for line in lines)}

    def journal(self) -> str:
        """Return what the units said, and systemd of them."""
        return self.run("journalctl", "--no-pager", "--boot", "--output=short-monotonic", check=False)

    def main_pid(self, unit: str) -> int:
        """Return a unit's main process, as it is called inside."""
        return int(self.shown(unit, "MainPID")["MainPID"])


def put(directory: Path, path: str, text: str) -> None:
    """Write a file that is to be found below /etc inside."""
    file = directory / "etc" / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="ascii")


def configure(*prefixes: str) -> str:
    """Return the configuration for the users and places of the units."""
    listed = ", ".join(f'"{prefix}": {{}}' for prefix in prefixes)
    text = CONFIG.format(run="/run/anycastd", directory="/var/lib", prefixes=listed)
    for here, there in (
        ("user: nobody", "user: exabgp"),
        ("group: daemon", "group: anycastd"),
        ("/var/lib/state", "/var/lib/anycastd"),
        # nobody speaks it at the far end: it is the process that is looked at
        ("checks: {ping", "bfd: {launch: service}\nchecks: {alive: {bfd: {}}, ping"),
    ):
        assert here in text
        text = text.replace(here, there)
    return text


@contextmanager
def live_systemd() -> Iterator[Machine]:
    """Boot it; end all of it."""
    with unit_stage() as stage, tempfile.TemporaryDirectory(prefix="anycastd-live-") as place:
        directory = Path(place)
        directory.chmod(0o755)
        put(directory, "anycastd/anycastd.yaml", configure(*PREFIXES.values()))
        put(directory, "anycastd/secret", f"{PASSWORD}\n")
        put(directory, "systemd/system/live.target", TARGET)
        for path, text in DROP_INS.items():
            put(directory, f"systemd/{path}", text)
        root = cgroup_root()
        assert root is not None
        group = root / f"anycastd-{os.getpid()}"
        group.mkdir()
        apart = ("--mount", "--pid", "--uts", "--ipc", "--cgroup", "--fork", "--kill-child=KILL")
        enter = ("setpriv", "--pdeathsig", "KILL", "nsenter", f"--net=/run/netns/{stage.pop}", "unshare", *apart)
        argv = [*enter, str(SCRIPT), str(directory), str(ROOT)]
        with (directory / "boot").open("wb") as log:
            outer = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                preexec_fn=lambda: (group / "cgroup.procs").write_text("0", encoding="ascii") and None,
            )  # fmt: skip
        try:
            machine = Machine(stage)

            def booted() -> bool:
                assert outer.poll() is None, (directory / "boot").read_text(errors="replace")
                children = Path(f"/proc/{outer.pid}/task/{outer.pid}/children").read_text(encoding="ascii").split()
                machine.pid = int(children[0]) if children else 0
                return bool(children) and Path(f"/proc/{machine.pid}/comm").read_text().strip() == "systemd"

            wait_until("systemd is the first process", 30, booted)
            wait_until(
                "it has booted",
                30,
                lambda: machine.run("systemctl", "is-active", "live.target", check=False) == "active\n",
            )
            yield machine
        except BaseException:
            print((directory / "boot").read_text(errors="replace"))
            raise
        finally:
            outer.kill()
            outer.wait()
            clear(group)


def clear(group: Path) -> None:
    """End what is left in a control group, and remove it."""

    def gone() -> bool:
        for procs in group.rglob("cgroup.procs"):
            for pid in procs.read_text(encoding="ascii").split():
                with suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
        for one in sorted(group.rglob("*/"), key=lambda path: -len(path.parts)):
            with suppress(OSError):
                one.rmdir()
        with suppress(OSError):
            group.rmdir()
        return not group.exists()

    wait_until("nothing is left of it", 20, gone)
