"""A disk that is really full, and one that is really read-only, while EIPs are bound: a tmpfs of this process alone.

The test runs itself in a mount namespace of its own, which goes with the process however that ends.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from anycastd.api.ports import Done, Request
from anycastd.model.address import Address
from anycastd.model.eip import Eip
from anycastd.resources import codec
from anycastd.resources.commands import Allocate, Associate, EipCommand, Modify
from anycastd.resources.refusal import Refused
from tests.unit.runtime.eip_world import ONE, TWO, World, bound_to, said

pytestmark = pytest.mark.lab

SIZE_KIB = 512
BINDING = bound_to("eu-central/web-1")


@pytest.mark.parametrize("case", ["full", "full_at_start", "read_only_at_start", "full_after_a_kill"])
def test_a_disk_that_takes_no_more_while_binding(case: str, tmp_path: Path) -> None:
    inside = (
        f"mount -t tmpfs -o size={SIZE_KIB}k none {tmp_path} && exec {sys.executable} -m {__name__} {case} {tmp_path}"
    )
    command = ["unshare", "--mount", "--propagation", "private", "/bin/sh", "-c", inside]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "as before, and then bound"), done.stdout + done.stderr


async def stored(world: World) -> dict[Address, Eip]:
    items = (await world.store.snapshot(codec.EIPS)).items
    return {eip.address: eip for eip in (codec.decode_eip(item.value or "") for item in items.values())}


async def refused_once(world: World, *commands: EipCommand) -> str:
    """Ask in turn until something is refused; return why."""
    for command in commands:
        outcome = await world.desk.change(Request(command=command))
        if isinstance(outcome, Refused):
            return said(outcome)[0]
    message = "nothing was refused"
    raise AssertionError(message)


async def full(world: World, directory: Path) -> None:
    ballast = directory / "ballast"
    fill(ballast)
    many = [Modify(eip=str(ONE), description="x" * (number % 200 + 1)) for number in range(400)]
    told = await refused_once(world, *many, Associate(str(ONE), BINDING))
    assert "503 StoreUnavailable nothing was changed" in told, told
    assert "the disk is full" in told, told
    assert "the disk is full" in world.complaints[str(world.path)]
    ballast.unlink()
    await world.desk.tick()


async def full_at_start(world: World, directory: Path) -> None:
    before = await stored(world)
    await world.end()
    ballast = directory / "ballast"
    fill(ballast)
    await world.begin()
    assert world.plane.kernel == before
    assert world.desk.complete
    await refused_once(world, Associate(str(ONE), BINDING))
    assert world.complaints[str(world.path)]
    ballast.unlink()
    await world.desk.tick()


async def read_only_at_start(world: World, directory: Path) -> None:
    before = await stored(world)
    await world.end()
    remount(directory, "ro")
    await world.begin()
    assert world.plane.kernel == before
    told = await refused_once(world, Associate(str(ONE), BINDING))
    assert "503 StoreUnavailable" in told, told
    remount(directory, "rw")
    await world.desk.tick()


async def full_after_a_kill(world: World, directory: Path) -> None:
    """Nothing was moved from the log into the file: the log must be read too."""
    before = await stored(world)
    kept = World(directory / "killed.db")
    for ending in ("", "-wal"):
        shutil.copyfile(f"{world.path}{ending}", f"{kept.path}{ending}")
    fill(directory / "ballast")
    await kept.begin()
    assert kept.plane.kernel == before
    (directory / "ballast").unlink()
    await kept.desk.tick()
    assert kept.complaints == {}
    await kept.end()


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        try:
            while file.write(b"x" * 4096):
                pass
        except OSError:
            return


def remount(directory: Path, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", str(directory)], check=True)


CASES = {case.__name__: case for case in (full, full_at_start, read_only_at_start, full_after_a_kill)}


async def main(case: str, directory: Path) -> None:
    world = World(directory / "anycastd.db")
    await world.begin()
    await world.done(Allocate(address=ONE))
    await world.done(Allocate(address=TWO))
    await CASES[case](world, directory)
    assert world.plane.kernel == world.plane.wanted == await stored(world)
    assert world.complaints == {}, world.complaints
    assert isinstance(await world.desk.change(Request(command=Associate(str(TWO), BINDING))), Done)
    assert world.complaints == {}, world.complaints
    await world.restart()
    assert world.plane.kernel == await stored(world)
    assert world.plane.kernel[TWO].binding == BINDING
    await world.end()
    print("as before, and then bound")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
