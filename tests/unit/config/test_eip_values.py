"""How rates, port maps and backends of EIPs are written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anycastd.config.values.eip import (
    MAX_RATE_BPS,
    MIN_RATE_BPS,
    port_map_text,
    rate_text,
    read_backend,
    read_port_map,
    read_rate,
)  # fmt: skip
from anycastd.model.eip import PortMap, Transport


@pytest.mark.parametrize(
    ("written", "bps"),
    [
        ("64kbit", 64_000), ("200mbit", 200_000_000), ("1.5gbit", 1_500_000_000), ("0.064 mbit", 64_000),
        (64_000, 64_000), ("400gbit", 400_000_000_000), ("0.0000641gbit", 64_100), ("64.0009kbit", 64_000),
    ],
)  # fmt: skip
def test_rates(written: object, bps: int) -> None:
    assert read_rate(written) == bps


@pytest.mark.parametrize(
    "written",
    [0, -1, 63_999, "0mbit", "63.999kbit", "401gbit", 10**18, "200", "200m", "200Mbit", "200mbit/s", "200mbps", "mbit",
     "1e3mbit", "-5mbit", True, 1.5, None, [], "9" * 40 + "mbit"],
)  # fmt: skip
def test_what_is_no_rate(written: object) -> None:
    with pytest.raises(ValueError, match=r"is not (a rate|between 64kbit and 400gbit)"):
        read_rate(written)


@given(st.integers(MIN_RATE_BPS, MAX_RATE_BPS))
def test_a_rate_is_read_as_it_is_shown(bps: int) -> None:
    text = rate_text(bps)
    assert read_rate(int(text) if text.isdigit() else text) == bps


@given(st.sampled_from(Transport), st.integers(1, 65535), st.integers(1, 65535))
def test_a_port_map_is_read_as_it_is_shown(transport: Transport, port: int, to_port: int) -> None:
    one = PortMap(transport, port, to_port)
    assert read_port_map(port_map_text(one)) == one


@pytest.mark.parametrize(
    "written",
    ["", "80:8080", "tcp/80", "tcp/80:", "tcp/:80", "sctp/1:2", "tcp/0:1", "tcp/1:65536", "TCP/1:2", 80, None],
)
def test_what_is_no_port_map(written: object) -> None:
    with pytest.raises(ValueError, match="is not"):
        read_port_map(written)


def test_backends() -> None:
    assert read_backend("eu-central/web-1") == "eu-central/web-1"
    for written in ("web", "a/b/c", "/b", "a/", "a b/c", "a/b\n", 7, None, "a" * 33 + "/b"):
        with pytest.raises(ValueError, match="does not name a backend"):
            read_backend(written)
