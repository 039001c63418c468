"""Value types of the configuration: how each is read, refused, shown and documented. Nothing here is a bare `str`.

A type is an annotation: `Annotated[float, duration(...)]`. Its `read` takes what the document holds (text, number,
true, false) and returns the value or raises ValueError with a sentence that fits behind `path: `.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from anycastd.config.near import did_you_mean
from anycastd.config.shown import shown
from anycastd.model.bgp import NOT_IN_WORDS
from anycastd.model.dns import canonical_name
from anycastd.model.topology import Need

_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(ms|s|m|h|d)\Z")
_UNIT_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,31}\Z")
_DEVICE = re.compile(r"[A-Za-z0-9_.@-]+\Z")
_HOST = re.compile(
    r"(?=.{1,253}\Z)[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9])?(?:\.[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9])?)*\Z"
)


@dataclass(frozen=True, slots=True)
class ValueType:
    """One kind of value: `label` is its name in the reference page, `show` writes a value as in the file."""

    label: str
    read: Callable[[object], object]
    show: Callable[[Any], str] = str

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Make pydantic use `read` alone: none of its own conversions."""
        return core_schema.no_info_plain_validator_function(self.read)


def text_of(value: object, what: str) -> str:
    """Return text, or refuse what YAML typed."""
    if isinstance(value, str):
        return value
    message = f"{shown(value)} is not {what}"
    raise ValueError(message)


def duration_text(seconds: float) -> str:
    """Return seconds as the file has them: 300ms, 9s, 5m, 1h, 30d."""
    if (seconds and seconds < 1) or not float(seconds).is_integer():
        return f"{round(seconds * 1000, 3):.12g}ms"
    if seconds >= 2 * 86400 and seconds % 86400 == 0:
        return f"{int(seconds) // 86400}d"
    for unit, size in (("h", 3600), ("m", 60)):
        if seconds >= size and seconds % size == 0:
            return f"{int(seconds) // size}{unit}"
    return f"{seconds:.12g}s"


def read_duration(value: object) -> float:
    """Return seconds from `300ms`, `9s`, `5m`, `1h` or a plain number of seconds."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        seconds = float(value)
    elif isinstance(value, str) and (found := _DURATION.match(value)):
        # rounded to the microsecond: 0.3 s is written and compared as 0.3, not 0.30000000000000004
        seconds = round(float(found[1]) * _UNIT_S[found[2]], 6)
    else:
        message = f"{shown(value)} is not a time; write 300ms, 9s, 5m, 1h or a number of seconds"
        raise ValueError(message)
    if not math.isfinite(seconds) or seconds < 0:
        message = f"{shown(value)} is not a time that can be waited for"
        raise ValueError(message)
    return seconds


def duration(low_s: float, high_s: float) -> ValueType:
    """Return the type of a time between two bounds, in seconds."""

    def read(value: object) -> float:
        seconds = read_duration(value)
        if not low_s <= seconds <= high_s:
            message = f"{shown(value)} is not between {duration_text(low_s)} and {duration_text(high_s)}"
            raise ValueError(message)
        return seconds

    return ValueType(f"time, {duration_text(low_s)} to {duration_text(high_s)}", read, duration_text)


def whole_seconds(low_s: int, high_s: int) -> ValueType:
    """Return the type of a time that the protocol carries in whole seconds."""
    inner = duration(low_s, high_s)

    def read(value: object) -> int:
        seconds = inner.read(value)
        if not isinstance(seconds, float) or not seconds.is_integer():
            message = f"{shown(value)} is not a whole number of seconds"
            raise ValueError(message)
        return int(seconds)

    return ValueType(f"{inner.label}, whole seconds", read, duration_text)


def read_integer(value: object) -> int:
    """Return a whole number; quoted numbers and true/false are refused."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    hint = "; write it without quotes" if isinstance(value, str) and value.isascii() and value.isdigit() else ""
    message = f"{shown(value)} is not a whole number{hint}"
    raise ValueError(message)


def whole(low: int, high: int, label: str = "number") -> ValueType:
    """Return the type of a whole number between two bounds."""

    def read(value: object) -> int:
        number = read_integer(value)
        if not low <= number <= high:
            message = f"{number} is not between {low} and {high}"
            raise ValueError(message)
        return number

    return ValueType(f"{label}, {low} to {high}", read)


_SIZE = re.compile(r"([0-9]{1,6})(KiB|MiB|GiB)\Z")
_SIZE_BYTES = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}


def size_text(count: int) -> str:
    """Return bytes as the file has them: 64KiB, 256MiB, 2GiB."""
    unit = next((one for one in ("GiB", "MiB") if count % _SIZE_BYTES[one] == 0), "KiB")
    return f"{count // _SIZE_BYTES[unit]}{unit}"


def size(low: int, high: int) -> ValueType:
    """Return the type of a number of bytes between two bounds."""

    def read(value: object) -> int:
        found = _SIZE.match(value) if isinstance(value, str) else None
        if found is None:
            message = f"{shown(value)} is not a size; write 64KiB, 256MiB or 2GiB"
            raise ValueError(message)
        count = int(found[1]) * _SIZE_BYTES[found[2]]
        if not low <= count <= high:
            message = f"{shown(value)} is not between {size_text(low)} and {size_text(high)}"
            raise ValueError(message)
        return count

    return ValueType(f"size, {size_text(low)} to {size_text(high)}", read, size_text)


def decimal(low: float, high: float) -> ValueType:
    """Return the type of a number with a fraction between two bounds."""

    def read(value: object) -> float:
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            message = f"{shown(value)} is not a number"
            raise ValueError(message)
        if not low <= value <= high:
            message = f"{value:g} is not between {low:g} and {high:g}"
            raise ValueError(message)
        return float(value)

    return ValueType(f"number, {low:g} to {high:g}", read, lambda value: f"{value:g}")


def percent(low: int, high: int) -> ValueType:
    """Return the type of a whole number of percent between two bounds, written as `50%` or 50."""

    def read(value: object) -> int:
        text = value.removesuffix("%").rstrip() if isinstance(value, str) and value.endswith("%") else ""
        number = int(text) if text.isascii() and text.isdigit() and len(text) < 4 else value
        if not isinstance(number, int) or isinstance(number, bool):
            message = f"{shown(value)} is not a percentage such as 50%"
            raise ValueError(message)
        if not low <= number <= high:
            message = f"{shown(value)} is not between {low}% and {high}%"
            raise ValueError(message)
        return number

    return ValueType(f"percentage, {low}% to {high}%", read, lambda value: f"{value}%")


def _read_flag(value: object) -> bool:
    if isinstance(value, bool):
        return value
    message = f"{shown(value)} is not true or false"
    raise ValueError(message)


def choice(options: type[StrEnum]) -> ValueType:
    """Return the type of one word of an enum."""
    words = [option.value for option in options]

    def read(value: object) -> StrEnum:
        if isinstance(value, str) and value in words:
            return options(value)
        listed = ", ".join(words[:-1]) + f" or {words[-1]}" if len(words) > 1 else words[0]
        hint = did_you_mean(value, words) if isinstance(value, str) else ""
        message = f"{shown(value)} is not {listed}{hint}"
        raise ValueError(message)

    return ValueType(" \\| ".join(words), read, lambda value: str(value))


def _read_name(value: object) -> str:
    wanted = "a name: a letter, then letters, digits, - or _, 32 at most"
    text = text_of(value, wanted)
    if not _NAME.match(text):
        message = f"{shown(text)} is not {wanted}"
        raise ValueError(message)
    return text


def _read_device(value: object) -> str:
    text = text_of(value, "a device name")
    # the kernel's IFNAMSIZ is 16 with the ending zero
    if len(text) > 15 or text in (".", "..") or not _DEVICE.match(text):
        message = f"{shown(text)} is not a device name: 15 letters, digits, '.', '-', '_' or '@' at most"
        raise ValueError(message)
    return text


def _read_file(value: object) -> str:
    text = text_of(value, "a file")
    if not text or len(text) > 4095 or not text.isprintable():
        message = f"{shown(text)} is not the name of a file"
        raise ValueError(message)
    return text


def _read_absolute(value: object) -> str:
    text = _read_file(value)
    if not text.startswith("/"):
        message = f"{shown(text)} is not an absolute path (it must begin with /)"
        raise ValueError(message)
    return text.rstrip("/") or "/"


def _read_socket(value: object) -> str:
    text = _read_absolute(value)
    if len(text.encode()) > 107:
        message = "is longer than 107 bytes, the limit of a unix socket's path (unix(7))"
        raise ValueError(message)
    return text


def _read_told(value: object) -> str:
    text = _read_absolute(value)
    if found := NOT_IN_WORDS.search(text):
        message = f"{shown(text)} holds {found[0]!r}, which cannot be told to ExaBGP: plain characters, without a space"
        raise ValueError(message)
    return text


def _read_told_socket(value: object) -> str:
    _read_socket(value)
    return _read_told(value)


def _read_host(value: object) -> str:
    text = text_of(value, "a host name")
    if not _HOST.match(text):
        message = f"{shown(text)} is not a host name"
        raise ValueError(message)
    return text


def read_dns_name(value: object) -> str:
    """Return a canonical DNS name; raise ValueError with a sentence."""
    text = text_of(value, "a DNS name")
    if not _HOST.match(text.removesuffix(".")):
        message = f"{shown(text)} is not a DNS name"
        raise ValueError(message)
    return canonical_name(text)


def _read_http_path(value: object) -> str:
    text = text_of(value, "a path")
    # a space or control character would end the request line (RFC 9112 section 3)
    if not text.startswith("/") or len(text) > 2048 or not all("!" <= letter <= "~" for letter in text):
        message = f"{shown(text)} is not a path: it begins with / and has no spaces"
        raise ValueError(message)
    return text


def _read_phrase(value: object) -> str:
    text = text_of(value, "text; put it in quotes")
    if not 0 < len(text) <= 1024:
        message = "must be 1 to 1024 characters of text"
        raise ValueError(message)
    return text


def _read_user(value: object) -> str:
    text = text_of(value, "a user name")
    if not re.match(r"[a-z_][a-z0-9_-]{0,31}\Z", text):
        message = f"{shown(text)} is not a user name"
        raise ValueError(message)
    return text


def _read_percent(text: str) -> int:
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 4 else 0
    if not 1 <= number <= 100:
        message = f"'{text}%' is not between 1% and 100%"
        raise ValueError(message)
    return number


def read_need(value: object) -> Need:
    """Return `any`, `all`, `2`, `at least 2` or `50%`."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
        return Need(count=value)
    if isinstance(value, str):
        text = " ".join(value.split()).removeprefix("at least ")
        if value in ("any", "all"):
            return Need(all=value == "all")
        if text.endswith("%"):
            return Need(percent=_read_percent(text[:-1].strip()))
        if text.isascii() and text.isdigit() and 0 < len(text) < 7 and int(text) > 0:
            return Need(count=int(text))
    message = f"{shown(value)} is not any, all, a number from 1, 'at least N' or a percentage such as 50%"
    raise ValueError(message)


def need_text(need: Need) -> str:
    """Return a need as the file has it."""
    if need.percent is not None:
        return f"{need.percent}%"
    return "all" if need.all else "any" if need.count is None else str(need.count)


Flag = Annotated[bool, ValueType("true \\| false", _read_flag, lambda value: "true" if value else "false")]
Name = Annotated[str, ValueType("name", _read_name)]
DeviceName = Annotated[str, ValueType("device name", _read_device)]
FileName = Annotated[str, ValueType("file", _read_file)]
AbsolutePath = Annotated[str, ValueType("absolute path", _read_absolute)]
ToldPath = Annotated[str, ValueType("absolute path", _read_told)]
ToldSocketPath = Annotated[str, ValueType("absolute path", _read_told_socket)]
SocketPath = Annotated[str, ValueType("absolute path", _read_socket)]
HostName = Annotated[str, ValueType("host name", _read_host)]
DnsName = Annotated[str, ValueType("DNS name", read_dns_name)]
HttpPath = Annotated[str, ValueType("path", _read_http_path)]
Phrase = Annotated[str, ValueType("text", _read_phrase)]
UserName = Annotated[str, ValueType("user name", _read_user)]
NeedField = Annotated[Need, ValueType("any \\| all \\| N \\| N%", read_need, need_text)]
