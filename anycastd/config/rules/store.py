"""The fleet's store: members, timers that fit each other, nothing secret in the clear."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit

from anycastd.config.rules.files import Stat, look, secret
from anycastd.config.rules.findings import Findings
from anycastd.config.values.fields import duration_text
from anycastd.model.store import StoreKind

_OF_ETCD = ("endpoints", "ca_file", "cert_file", "key_file", "user", "password_file")


def kind(found: Findings) -> None:
    """An etcd has members; an embedded store has none."""
    section = found.root.store
    if not found.whole("store"):
        return
    if section.kind is StoreKind.EMBEDDED:
        for key in _OF_ETCD:
            if found.has(("store", key)):
                found.error(("store", key), "belongs to kind: etcd", at_key=True)
        return
    if not section.endpoints:
        found.error(("store",), "kind: etcd needs endpoints", at_key=True)
    twice = {url for url in section.endpoints if section.endpoints.count(url) > 1}
    for number, url in enumerate(section.endpoints):
        if url in twice:
            found.error(("store", "endpoints", number), f"{url} stands there twice")
    if 0 < len(section.endpoints) < 3:
        found.warn(
            ("store", "endpoints"),
            f"{len(section.endpoints)} member{'s' if len(section.endpoints) > 1 else ''}: the loss of one leaves no "
            "majority, and nothing can be changed; three or five can lose one or two",
        )


def timers(found: Findings) -> None:
    """A heartbeat is missed only when it was given time to come back."""
    section = found.root.store
    if section.stale_after < 2 * section.heartbeat:
        found.error(
            ("store", "stale_after"),
            f"{duration_text(section.stale_after)} is less than 2 x heartbeat ({duration_text(section.heartbeat)}): "
            "every member would be stale",
        )
    if section.presence < 2 * section.heartbeat:
        found.error(
            ("store", "presence"),
            f"{duration_text(section.presence)} is less than 2 x heartbeat ({duration_text(section.heartbeat)}): "
            "POPs would come and go",
        )
    if section.commit_within < section.attempt:
        found.error(
            ("store", "commit_within"),
            f"{duration_text(section.commit_within)} is less than attempt ({duration_text(section.attempt)})",
        )


def in_the_clear(found: Findings) -> None:
    """Beyond loopback, passwords travel under TLS only, and contents are said to be in the clear."""
    section = found.root.store
    for number, url in enumerate(section.endpoints):
        parts = urlsplit(url)
        if parts.scheme == "https" or _is_local(parts.hostname or ""):
            continue
        path = ("store", "endpoints", number)
        if section.user:
            found.error(path, f"{url} would be sent the password in the clear; write https")
        else:
            found.warn(path, f"{url} is not TLS: who is on the way can read and change every binding; write https")


def _is_local(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def pairs(found: Findings) -> None:
    """A certificate has a key, a user a password."""
    section = found.root.store
    for one, other in (("key_file", "cert_file"), ("user", "password_file"), ("password_file", "user")):
        if getattr(section, one) and not getattr(section, other) and found.whole("store"):
            found.error(("store", one), f"needs {other} too")
    https = any(url.startswith("https:") for url in section.endpoints)
    for key in ("ca_file", "cert_file"):
        if getattr(section, key) is not None and section.endpoints and not https:
            found.error(("store", key), "is of no use: no endpoint is https")


def named_files(found: Findings, directory: str, stat: Stat) -> None:
    """Look at every file of the store; never into it."""
    section = found.root.store
    for key in ("ca_file", "cert_file", "key_file", "password_file"):
        name: str | None = getattr(section, key)
        if name is None:
            continue
        status = look(found, ("store", key), name, directory, stat)
        if status is not None and not status.st_size:
            found.error(("store", key), f"{name} is empty")
        holds_key = key in ("key_file", "password_file") or (key == "cert_file" and section.key_file is None)
        if status is not None and holds_key:
            secret(found, ("store", key), name, status)


RULES = (kind, timers, in_the_clear, pairs)
