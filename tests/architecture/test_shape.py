"""What rots first: sizes, broad excepts, late imports, names that say nothing, reasons that nobody gives."""

from __future__ import annotations

import ast
import re
from functools import cache

import pytest

from anycastd.model.decision import Reason
from tests.architecture.source import modules

# whoever comes first reads every module of ours: seconds, and on a busy machine many
pytestmark = pytest.mark.timeout(180)

MAX_FUNCTION_LINES = 60
MAX_FILE_LINES = 500
MAX_CONTROL_LINES = 180
FORBIDDEN_IN_NAMES = re.compile(r"manager|handler|helper|utils|common(?!_cause)", re.IGNORECASE)
ALLOWED_NAMES = {"CommonCause", "common_cause"}


def test_functions_are_short() -> None:
    long = [
        f"{module.where}:{function.lineno} {function.name}"
        for module in modules()
        for function in module.functions()
        if (function.end_lineno or 0) - function.lineno + 1 > MAX_FUNCTION_LINES
    ]
    assert long == []


def test_files_are_short() -> None:
    assert [f"{m.where}: {m.lines}" for m in modules() if m.lines > MAX_FILE_LINES] == []


def test_the_file_where_the_stages_meet_stays_readable() -> None:
    control = next(module for module in modules() if module.where == "runtime/control.py")
    assert control.lines <= MAX_CONTROL_LINES


def test_only_the_supervisor_catches_everything() -> None:
    broad = []
    for module in modules():
        for node in module.nodes:
            if isinstance(node, ast.ExceptHandler):
                caught = {name.id for name in ast.walk(node.type) if isinstance(name, ast.Name)} if node.type else {""}
                if caught & {"", "Exception", "BaseException"}:
                    broad.append(module.where)
    assert broad == ["runtime/process/supervise.py"]


def test_nothing_is_imported_inside_a_function() -> None:
    late = [
        f"{module.where}:{node.lineno}"
        for module in modules()
        if not module.where.startswith("cli/")
        for function in module.functions()
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    assert late == []


def test_every_module_says_what_it_is_and_reads_annotations_late() -> None:
    for module in modules():
        assert ast.get_docstring(module.tree) or not module.tree.body, module.where
        bare = {"ast", "__init__.py"}
        if len(module.tree.body) > 1 and module.path.name not in bare:
            assert "__future__.annotations" in module.imports, module.where


def test_names_say_what_a_thing_is() -> None:
    wrong = []
    for module in modules():
        names = {node.name for node in module.nodes if isinstance(node, ast.ClassDef)}
        names |= {function.name for function in module.functions()} | {module.path.stem}
        wrong += [f"{module.where}: {name}" for name in names - ALLOWED_NAMES if FORBIDDEN_IN_NAMES.search(name)]
    assert wrong == []


def test_nothing_is_left_to_be_done() -> None:
    left = [m.where for m in modules() if re.search(r"\bTODO\b|\bFIXME\b|\bXXX\b|NotImplementedError", m.text)]
    assert left == []


@cache
def given() -> frozenset[str]:
    """Return the names of the reasons that the program uses.

    The page of reasons (telemetry/reasons.py) and the enum itself give none.
    """
    return frozenset(
        node.attr
        for module in modules()
        if module.where not in ("model/decision.py", "telemetry/reasons.py")
        for node in module.nodes
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "Reason"
    )


@pytest.mark.parametrize("reason", list(Reason), ids=lambda reason: reason.value)
def test_every_reason_is_given_by_somebody(reason: Reason) -> None:
    assert reason.name in given()
