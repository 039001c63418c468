"""A standby: joins at once, stays, leaves slowly; and stays as it is when it cannot be told."""

from __future__ import annotations

import pytest

from anycastd.attack.standby import Stage, Standby, follow

FRA = ("fra",)


def stages(standby: Standby, *seen: tuple[tuple[str, ...] | None, float]) -> list[Stage]:
    """Look once for each; return the stage after each."""
    found = []
    for by, at_s in seen:
        standby = follow(standby, by, at_s, calm_s=60.0, leave_s=20.0)
        found.append(standby.stage)
    return found


S, J, L = Stage.SILENT, Stage.JOINED, Stage.LEAVING


@pytest.mark.parametrize(
    ("seen", "wanted"),
    [
        ([((), 0), (FRA, 1), (FRA, 999)], [S, J, J]),
        ([(FRA, 0), ((), 10), ((), 69), ((), 70), ((), 89), ((), 90)], [J, J, J, L, L, S]),
        ([(FRA, 0), ((), 10), (FRA, 60), ((), 70), ((), 129), ((), 130)], [J, J, J, J, J, L]),
        ([(FRA, 0), ((), 10), ((), 70), (("lon",), 75)], [J, J, L, J]),
        ([(None, 0), (None, 999)], [S, S]),
        ([(FRA, 0), (None, 10), (None, 9999)], [J, J, J]),
        ([(FRA, 0), ((), 10), (None, 60), ((), 80), ((), 139), ((), 140)], [J, J, J, J, J, L]),
        ([(FRA, 0), ((), 10), ((), 70), (None, 80), ((), 95), ((), 115)], [J, J, L, L, L, S]),
    ],
)
def test_how_far_it_is(seen: list[tuple[tuple[str, ...] | None, float]], wanted: list[Stage]) -> None:
    assert stages(Standby(), *seen) == wanted
