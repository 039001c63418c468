"""Values of `store`: members' URLs, the beginning of keys, a user's name."""

from __future__ import annotations

import re
from typing import Annotated
from urllib.parse import urlsplit

from anycastd.config.shown import shown
from anycastd.config.values.fields import ValueType, text_of

_PREFIX = re.compile(r"(?:/[A-Za-z0-9._-]{1,64}){1,8}\Z")
_USER = re.compile(r"[A-Za-z0-9._@-]{0,64}\Z")


def _read_endpoint(value: object) -> str:
    text = text_of(value, "a URL")
    try:
        parts = urlsplit(text)
        named = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port is not None
    except ValueError:
        named = False
    if not named or parts.path not in ("", "/") or parts.query or parts.fragment or not text.isascii():
        message = f"{shown(text)} is not the URL of a member, such as https://192.0.2.1:2379"
        raise ValueError(message)
    if parts.username is not None:
        message = "a user and password do not stand in the URL: write store.user and store.password_file"
        raise ValueError(message)
    return f"{parts.scheme}://{parts.netloc}"


def _read_prefix(value: object) -> str:
    text = text_of(value, "a prefix of keys")
    if not _PREFIX.match(text):
        message = f"{shown(text)} is not a prefix of keys such as /anycastd: letters, digits, . _ - after slashes"
        raise ValueError(message)
    return text


def _read_user(value: object) -> str:
    text = text_of(value, "a user")
    if not _USER.match(text):
        message = f"{shown(text)} is not the name of a user in etcd"
        raise ValueError(message)
    return text


Endpoint = Annotated[str, ValueType("URL", _read_endpoint)]
KeyPrefix = Annotated[str, ValueType("prefix of keys", _read_prefix)]
StoreUser = Annotated[str, ValueType("user name", _read_user)]
