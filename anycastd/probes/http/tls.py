"""TLS contexts, shared by all checks with the same trust."""

from __future__ import annotations

import ssl
from pathlib import Path

_Key = tuple[str | None, bool, int]


class Contexts:
    """Makes each context once: reading the system's certificates takes about 10 ms."""

    def __init__(self) -> None:
        self._known: dict[_Key, ssl.SSLContext] = {}

    def get(self, ca_file: str | None, *, verify: bool) -> ssl.SSLContext:
        """Return a client context; a replaced CA file is read again. Raise OSError (ssl.SSLError is one)."""
        changed_ns = Path(ca_file).stat().st_mtime_ns if ca_file is not None else 0
        key = (ca_file, verify, changed_ns)
        context = self._known.get(key)
        if context is None:
            for old in [known for known in self._known if known[:2] == key[:2]]:
                del self._known[old]
            context = self._known[key] = _make(ca_file, verify=verify)
        return context


def _make(ca_file: str | None, *, verify: bool) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif ca_file is not None:
        context.load_verify_locations(ca_file)
    else:
        context.set_default_verify_paths()
    return context
