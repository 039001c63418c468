"""Who may import whom: the layers, the pure core, and the libraries that stay behind one door."""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from itertools import pairwise

import pytest

from tests.architecture.source import Module, modules

# whoever comes first reads every module of ours: seconds, and on a busy machine many
pytestmark = pytest.mark.timeout(180)

LAYERS = (
    ("model", "errors", "hollow"),
    ("config",),
    ("health", "fleet", "attack"),
    ("policy",),
    ("reconcile", "resources", "traffic"),
    ("probes", "actuators", "store"),
    ("telemetry", "api"),
    ("runtime",),
    ("simulation", "lab", "doctor", "gateway"),
    ("cli",),
    ("__main__",),
)
"""Lowest first. A module imports from its own part and from lower lines only; two parts of a line are strangers."""

ROOMS = (
    ("process", "loop"),
    ("alarms", "journal"),
    ("control",),
    ("bgp", "kernel", "kept", "followed", "state", "probing"),
    ("traffic",),
    ("eips", "orders"),
    ("attack", "fleet"),
    ("reloading", "spread"),
    ("app",),
    ("main",),
)
"""Inside `runtime`, likewise."""

FREE = frozenset({"anycastd"})
"""`anycastd/__init__.py` holds only the version."""

PURE_FOLDERS = ("model/", "health/", "fleet/", "attack/", "policy/", "reconcile/", "resources/", "traffic/")
PURE_FILES = (
    "errors.py",
    "config/change.py",
    "api/views/",
    "actuators/exabgp/wording.py",
    "actuators/exabgp/dump.py",
    "actuators/exabgp/conf.py",
    "actuators/exabgp/link.py",
    "probes/dns/wire.py",
    "probes/dns/judge.py",
    "store/etcd/wire.py",
    "store/etcd/members.py",
    "store/etcd/trust.py",
    "probes/bfd/packet.py",
    "probes/bfd/auth.py",
    "probes/bfd/session.py",
    "probes/bfd/table.py",
)
CLOCKS_AND_LUCK = {"time", "random", "secrets"}
SYSTEM = {"asyncio", "os", "pathlib", "io", "shutil", "signal", "select", "selectors", "subprocess", "tempfile"}
THREADS = {"threading", "multiprocessing", "concurrent", "logging"}
NETWORK = {"socket", "ssl", "http", "urllib", "aiohttp", "pyroute2"}
FACES = {"prometheus_client", "yaml", "click", "rich"}
NOT_PURE = CLOCKS_AND_LUCK | SYSTEM | THREADS | NETWORK | FACES
ASKS_A_CLOCK = frozenset({"now", "utcnow", "today"})


def part_of(name: str) -> str:
    return name.split(".")[1] if "." in name else ""


def rank_of(part: str) -> int:
    return next(rank for rank, line in enumerate(LAYERS) if part in line)


def is_pure(module: Module) -> bool:
    return module.where.startswith((*PURE_FOLDERS, *PURE_FILES))


def test_every_part_has_a_place_in_the_layers() -> None:
    known = {part for line in LAYERS for part in line}
    assert {part_of(module.name) for module in modules()} - {""} <= known


def test_no_module_imports_a_higher_part_or_a_stranger() -> None:
    wrong = []
    for module in modules():
        mine = part_of(module.name)
        if not mine:
            continue
        for name in module.imports:
            theirs = part_of(name)
            if not name.startswith("anycastd.") or theirs in (mine, "__version__"):
                continue
            if rank_of(theirs) >= rank_of(mine):
                wrong.append(f"{module.where} imports {name}")
    assert wrong == []


def test_no_room_of_the_runtime_imports_a_higher_one_or_a_stranger() -> None:
    floors = {room: floor for floor, line in enumerate(ROOMS) for room in line}
    inside = [module for module in modules() if module.name.startswith("anycastd.runtime.")]
    ties = {
        (module.where, module.name.split(".")[2], name.split(".")[2])
        for module in inside
        for name in module.imports
        if name.startswith("anycastd.runtime.")
    }
    assert len(ties) > 50
    assert [tie for tie in sorted(ties) if tie[1] != tie[2] and floors[tie[2]] >= floors[tie[1]]] == []


def test_the_package_itself_imports_nothing() -> None:
    root = next(module for module in modules() if module.where == "__init__.py")
    assert root.imports <= {"__future__", "__future__.annotations"}


def test_the_pure_core_does_no_io_and_knows_no_clock() -> None:
    pure = [module for module in modules() if is_pure(module)]
    assert len(pure) > 20
    wrong = [f"{module.where} imports {name}" for module in pure for name in sorted(module.roots & NOT_PURE)]
    wrong += [
        f"{module.where}:{node.lineno} asks a clock"
        for module in pure
        if "datetime" in module.roots
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Attribute) and node.attr in ASKS_A_CLOCK
    ]
    assert wrong == []


def test_the_pure_core_draws_on_nothing_impure_of_our_own() -> None:
    by_name = {module.name: module for module in modules()}
    wrong = []
    for module in modules():
        if not module.where.startswith(PURE_FOLDERS):
            continue
        seen, ahead = set(), [module.name]
        while ahead:
            name = ahead.pop()
            if name in seen or name not in by_name:
                continue
            seen.add(name)
            ahead += by_name[name].imports
        wrong += [f"{module.where} reaches {name}" for name in sorted(seen) if by_name[name].roots & NOT_PURE]
    assert wrong == []


@pytest.mark.parametrize(
    ("library", "doors"),
    [
        ("pyroute2", ("actuators/dataplane/pyroute.py",)),
        ("pydantic", ("config/", "api/")),
        ("pydantic_core", ("config/", "api/")),
        ("yaml", ("config/", "lab/")),
        ("aiohttp", ("api/", "store/etcd/http.py")),
        ("prometheus_client", ("telemetry/",)),
        ("click", ("cli/",)),
        ("rich", ("cli/", "lab/")),
        ("exabgp", ("actuators/exabgp/launcher.py",)),
    ],
)
def test_a_library_stays_behind_its_door(library: str, doors: tuple[str, ...]) -> None:
    inside = [module.where for module in modules() if library in module.roots]
    assert [where for where in inside if not where.startswith(doors)] == []


def own_imports(module: Module, names: frozenset[str]) -> set[str]:
    """Return the modules of ours that importing this one runs: those it names, and the packages around them."""
    named = {name for name in module.imports if name in names}
    return {name for name in named | {one.rpartition(".")[0] for one in named} if name in names} - {module.name}


def test_no_imports_go_round_in_a_circle() -> None:
    """Without a circle the order of imports is free, so each module can be imported alone."""
    names = frozenset(module.name for module in modules())
    TopologicalSorter({module.name: own_imports(module, names) for module in modules()}).prepare()


def test_every_module_can_be_imported() -> None:
    names = [module.name for module in modules() if module.name != "anycastd.__main__"]
    program = "import importlib, sys\nfor name in sys.argv[1:]: importlib.import_module(name)"
    done = subprocess.run([sys.executable, "-c", program, *names], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_layers_name_each_part_once() -> None:
    parts = [part for line in LAYERS for part in line]
    assert len(parts) == len(set(parts))
    assert all(lower != higher for lower, higher in pairwise(LAYERS))
