"""Who is let in: tokens read from their files, compared in constant time; users behind a unix socket; TLS."""

from __future__ import annotations

import grp
import hashlib
import hmac
import logging
import os
import pwd
import re
import socket
import ssl
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from anycastd.api.door.names import Names
from anycastd.errors import ConfigError, Problem
from anycastd.model.access import Denied, Role, TlsSpec, TokenSpec, Who
from anycastd.model.topology import ApiConfig

HASHED = "sha256:"
MIN_TOKEN_CHARACTERS = 24
SO_PEERGROUPS = 59
"""linux/asm-generic/socket.h; not in Python's `socket`."""
MAX_GROUPS = 256
"""Python reads at most 1024 bytes of an option."""
_PLAIN = re.compile(rb"[!-~]{24,512}\Z")
_HEX = re.compile(r"[0-9a-f]{64}\Z")


log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Key:
    """One token: whose it is, and the SHA-256 of its secret."""

    who: Who
    digest: bytes


def digest_of(secret: bytes) -> bytes:
    """Return what is kept and compared of a token, so that memory and timing tell nothing of it."""
    return hashlib.sha256(secret).digest()


def read_keys(tokens: Iterable[TokenSpec], file: str) -> tuple[Key, ...]:
    """Return the keys of all tokens; raise ConfigError, naming the tokens of `file` that cannot be used."""
    keys: list[Key] = []
    problems: list[Problem] = []
    for token in tokens:
        path = f"api.tokens.{token.name}.file"
        try:
            content = Path(token.file).read_bytes().strip()
        except OSError as error:
            problems.append(Problem(1, 1, path, f"{token.file} cannot be read: {error.strerror}", file))
            continue
        hashed = content.decode("ascii", "replace").removeprefix(HASHED).lower()
        if content.startswith(HASHED.encode()) and _HEX.match(hashed):
            keys.append(Key(Who(token.name, token.role), bytes.fromhex(hashed)))
        elif _PLAIN.match(content) and not content.startswith(HASHED.encode()):
            keys.append(Key(Who(token.name, token.role), digest_of(content)))
        else:
            what = "neither a token of 24 to 512 printable characters without spaces nor `sha256:` and 64 hex digits"
            problems.append(Problem(1, 1, path, f"{token.file} holds {what}", file))
    twice = {key.digest for key in keys if sum(other.digest == key.digest for other in keys) > 1}
    problems += [
        Problem(1, 1, f"api.tokens.{key.who.name}.file", "another token is the same", file)
        for key in keys
        if key.digest in twice
    ]
    if problems:
        raise ConfigError(tuple(problems))
    return tuple(keys)


class Door:
    """Tokens and TLS as they are now; a reload replaces them."""

    def __init__(self, api: ApiConfig, file: str = "") -> None:
        self._file = file
        self._keys = read_keys(api.tokens.values(), file)
        self.group = api.group
        self.tls = None if api.tls is None else self._context(api.tls)
        self._tls = api.tls
        self._names = Names()
        # root and our own user are known without asking anybody
        self._known = {0: "root", os.geteuid(): _user(os.geteuid())}

    def read(self, api: ApiConfig) -> tuple[Key, ...]:
        """Return the keys as their files are now; raise ConfigError if these or the certificate cannot be used."""
        if self._tls is not None:
            # in a context of its own: one that takes half of a pair would be left with it
            self._context(self._tls)
        return read_keys(api.tokens.values(), self._file)

    def take(self, keys: tuple[Key, ...]) -> None:
        """Let in who has these keys, and show the certificate as its files are now."""
        self._keys = keys
        if self.tls is not None and self._tls is not None:
            try:
                self.tls.load_cert_chain(self._tls.cert_file, self._tls.key_file)
            except (OSError, ssl.SSLError) as error:
                # they changed since they were read: the next reload tells
                log.warning("the certificate stays as it was: %s", error)

    @property
    def takes_tokens(self) -> bool:
        """Return whether there is any token."""
        return bool(self._keys)

    def owner(self, authorization: str | None) -> Who | Denied:
        """Return whose token an Authorization header shows; every token is compared, whichever fits."""
        if authorization is None:
            return Denied.TOKEN_MISSING
        scheme, _, secret = authorization.partition(" ")
        if scheme.lower() != "bearer" or not secret:
            return Denied.TOKEN_MISSING
        shown, found = digest_of(secret.strip().encode("utf-8", "surrogateescape")), None
        for key in self._keys:
            if hmac.compare_digest(key.digest, shown):
                found = key.who
        return found or Denied.TOKEN_UNKNOWN

    async def peer(self, connected: socket.socket) -> Who | Denied:
        """Return who is at the other end of a unix socket, as the kernel says: root, our own user, or the group."""
        _, uid, gid = struct.unpack("3i", connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        if (name := self._known.get(uid)) is not None:
            return Who(name, Role.ADMIN)
        groups = {gid, *_groups(connected)}
        try:
            return await self._names.ask(lambda: self._member(uid, groups))
        except (TimeoutError, KeyError, OSError, ValueError):
            return Denied.PEER_REFUSED

    def _member(self, uid: int, groups: set[int]) -> Who | Denied:
        allowed = grp.getgrnam(self.group)
        name = _user(uid)
        # who is of very many groups is looked up by name
        is_member = allowed.gr_gid in groups or name in allowed.gr_mem
        return Who(name, Role.ADMIN) if is_member else Denied.PEER_REFUSED

    def _context(self, tls: TlsSpec) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            context.load_cert_chain(tls.cert_file, tls.key_file)
            if tls.client_ca_file is not None:
                context.load_verify_locations(tls.client_ca_file)
                context.verify_mode = ssl.CERT_REQUIRED
        except (OSError, ssl.SSLError) as error:
            names = " ".join(filter(None, (tls.cert_file, tls.key_file, tls.client_ca_file)))
            raise ConfigError((Problem(1, 1, "api.tls", f"{names}: {error.strerror or error}", self._file),)) from error
        return context


def _groups(connected: socket.socket) -> tuple[int, ...]:
    try:
        packed = connected.getsockopt(socket.SOL_SOCKET, SO_PEERGROUPS, 4 * MAX_GROUPS)
    except OSError:
        return ()
    return tuple(number for (number,) in struct.iter_unpack("I", packed))


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"
