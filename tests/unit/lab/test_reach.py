"""What a node's overlay of / does not show is laid over; what it shows but bars is opened."""

from __future__ import annotations

from pathlib import Path

from anycastd.lab.reach import Reach, mount_points_here, needed_paths, reach

ROOT = Path("/")


def test_path_on_the_root_file_system_needs_nothing() -> None:
    assert reach([Path("/usr")], frozenset({ROOT})) == Reach((), ())


def test_path_on_another_file_system_is_laid_over_with_what_is_below_it_once() -> None:
    needed = [Path("/data/check/out"), Path("/data/check/out/venv")]
    assert reach(needed, frozenset({ROOT, Path("/data")})).laid_over == (Path("/data/check/out"),)


def test_venv_on_a_file_system_of_its_own_is_laid_over_too() -> None:
    needed = [Path("/data/out"), Path("/data/out/venv")]
    mounts = frozenset({ROOT, Path("/data"), Path("/data/out/venv")})
    assert reach(needed, mounts).laid_over == tuple(needed)


def test_path_below_the_nodes_own_tmp_is_laid_over() -> None:
    assert reach([Path("/tmp/out")], frozenset({ROOT})).laid_over == (Path("/tmp/out"),)


def test_separate_usr_is_laid_over() -> None:
    assert reach([Path("/usr")], frozenset({ROOT, Path("/usr")})).laid_over == (Path("/usr"),)


def test_directories_closed_to_others_are_opened(tmp_path: Path) -> None:
    closed = tmp_path / "home"
    (closed / "out").mkdir(parents=True)
    closed.chmod(0o700)
    opened = reach([closed / "out"], frozenset({ROOT})).opened
    assert closed in opened
    assert closed / "out" not in opened


def test_this_checkout_is_needed() -> None:
    assert any(Path(__file__).is_relative_to(path) for path in needed_paths())
    assert ROOT in mount_points_here()
