"""How often connections are counted."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anycastd.traffic.pace import SHARE, period_s


@pytest.mark.parametrize(
    ("interval_s", "cost_s", "period"),
    [(5.0, 0.0, 5.0), (5.0, 0.05, 5.0), (5.0, 0.1, 5.0), (5.0, 0.2, 10.0), (1.0, 2.5, 125.0)],
)
def test_the_interval_or_what_the_cost_allows(interval_s: float, cost_s: float, period: float) -> None:
    assert period_s(interval_s, cost_s) == pytest.approx(period)


@given(st.floats(1.0, 300.0), st.floats(0.0, 1e6))
def test_never_more_often_and_never_more_costly(interval_s: float, cost_s: float) -> None:
    assert period_s(interval_s, cost_s) >= interval_s
    assert cost_s / period_s(interval_s, cost_s) <= SHARE * 1.000001
