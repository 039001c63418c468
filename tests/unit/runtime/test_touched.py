"""Of which prefixes something was heard."""

from __future__ import annotations

from anycastd.runtime.loop.touched import Touched
from tests.unit.runtime.world import A, B


def test_any_stays_any_until_it_was_taken() -> None:
    touched = Touched()
    assert touched.take() is None
    touched.add({A})
    touched.add({B})
    assert touched.take() == {A, B}
    touched.add(None)
    touched.add({A})
    assert touched.take() is None
    assert touched.take() == set()
