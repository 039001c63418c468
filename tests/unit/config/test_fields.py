"""Value types: what they take and what they say."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anycastd.config.reference import types_of
from anycastd.config.values.fields import (
    DeviceName,
    HostName,
    HttpPath,
    Name,
    NeedField,
    SocketPath,
    ToldPath,
    ToldSocketPath,
    ValueType,
    duration_text,
    read_duration,
)
from anycastd.config.values.net import AddressField, Asn, Community, LargeCommunity, PrefixField
from anycastd.model.topology import Need

BIG = 4200000000


def read(field: object, value: object) -> object:
    """Return what a field's type makes of a value of the document."""
    (kind,) = types_of(field)
    assert isinstance(kind, ValueType)
    return kind.read(value)


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("300ms", 0.3), ("9s", 9.0), ("5m", 300.0), ("1h", 3600.0), ("1d", 86400.0), ("1.5s", 1.5), (5, 5.0),
        (0.2, 0.2), ("2 s", 2.0),
    ],
)  # fmt: skip
def test_durations(written: object, seconds: float) -> None:
    assert read_duration(written) == seconds


@pytest.mark.parametrize("written", ["", "s", "5", "5x", "-1s", -1, True, "1e3s", "٣s", [], {}, "9" * 400 + "h"])
def test_what_is_no_duration(written: object) -> None:
    with pytest.raises(ValueError, match="time"):
        read_duration(written)


@given(st.integers(min_value=1, max_value=10**7))
def test_durations_are_shown_as_they_are_read(milliseconds: int) -> None:
    assert read_duration(duration_text(milliseconds / 1000)) == pytest.approx(milliseconds / 1000, rel=1e-5)


@pytest.mark.parametrize(
    ("field", "written", "value"),
    [
        (AddressField, "2001:DB8::1", ip_address("2001:db8::1")),
        (PrefixField, "203.0.113.0/24", ip_network("203.0.113.0/24")),
        (Asn, BIG, BIG),
        (Community, "65000:007", "65000:7"),
        (LargeCommunity, "4200000000:0:1", "4200000000:0:1"),
        (NeedField, "any", Need()),
        (NeedField, "all", Need(all=True)),
        (NeedField, 2, Need(count=2)),
        (NeedField, "2", Need(count=2)),
        (NeedField, "at  least 2", Need(count=2)),
        (NeedField, "50%", Need(percent=50)),
        (NeedField, "at least 50 %", Need(percent=50)),
        (DeviceName, "vx-eu1.100@a", "vx-eu1.100@a"),
        (Name, "eu-central_1", "eu-central_1"),
        (HostName, "www.example.net", "www.example.net"),
        (HttpPath, "/a?b=c&d", "/a?b=c&d"),
        (SocketPath, "/run/x/", "/run/x"),
        (ToldPath, "/run/x-1_2.d/", "/run/x-1_2.d"),
        (ToldSocketPath, "/run/x.sock", "/run/x.sock"),
    ],
)
def test_values(field: object, written: object, value: object) -> None:
    assert read(field, written) == value


@pytest.mark.parametrize(
    ("field", "written", "message"),
    [
        (AddressField, 0, "0 is not an address"),
        (AddressField, False, "false is not an address"),
        (AddressField, "0.0.0.0", "not the address of one machine"),
        (AddressField, "010.0.0.1", "is not an address"),
        (PrefixField, False, "false is not a prefix"),
        (PrefixField, "203.0.113.9/24", "host bits are set; 203.0.113.0/24 is the prefix of that address"),
        (PrefixField, "2001:db8::1/32", "host bits are set; 2001:db8::/32"),
        (PrefixField, "203.0.113.0/255.255.255.0", "write it as"),
        (PrefixField, "fe80::%eth0/64", "is not a prefix"),
        (PrefixField, "::/0", "a default route"),
        (Asn, 0, "AS 0 is reserved"),
        (Asn, "1.10", "asdot notation, which is not supported; write 65546"),
        (Asn, 4294967296, "is not between"),
        (Community, "65536:1", "is not a community"),
        (Community, "blackhole", "write it in numbers, '65535:666'"),
        (Community, 3932100, "is not a community"),
        (LargeCommunity, "1:2:4294967296", "is not a large community"),
        (NeedField, True, "is not any, all"),
        (NeedField, "0%", "is not between 1% and 100%"),
        (NeedField, "at least", "is not any, all"),
        (DeviceName, "a/b", "is not a device name"),
        (DeviceName, "..", "is not a device name"),
        (DeviceName, "sixteen-letters-", "is not a device name"),
        (Name, "a/b", "is not a name"),
        (Name, "a\n", "is not a name"),
        (HostName, "a\r\nX-Header: y", "is not a host name"),
        (HostName, "", "is not a host name"),
        (HttpPath, "/a b", "is not a path"),
        (HttpPath, "/a\r\nHost: b", "is not a path"),
        (SocketPath, "/" + "x" * 107, "longer than 107 bytes"),
        (ToldPath, "/run/my bgp", "holds ' ', which cannot be told to ExaBGP"),
        (ToldPath, "/run/föhr", "holds 'ö', which cannot be told to ExaBGP"),
        (ToldSocketPath, "/run/a;b", "holds ';', which cannot be told to ExaBGP"),
        (ToldSocketPath, "/" + "x" * 107, "longer than 107 bytes"),
    ],
)
def test_refusals(field: object, written: object, message: str) -> None:
    with pytest.raises(ValueError) as refused:
        read(field, written)
    assert message in str(refused.value)
