"""A WireGuard private key, from its file to the kernel: never in a log, an error or a command line."""

from __future__ import annotations

import base64
import binascii
import os
import stat

from anycastd.actuators.dataplane.wireguard_wire import KEY_BYTES

MAX_FILE_BYTES = 64


class KeyFileError(Exception):
    """A private key cannot be had; the message names the file and says nothing of what is in it."""


def read_key(name: str) -> bytes:
    """Return a private key of 32 bytes from a file as `wg genkey` writes it; raise KeyFileError."""
    try:
        # a FIFO would block for ever
        with open(name, "rb", opener=_open) as file:
            mode, text = os.fstat(file.fileno()).st_mode, file.read(MAX_FILE_BYTES)
    except OSError as error:
        message = f"{name} cannot be read: {(error.strerror or '').lower()}"
        raise KeyFileError(message) from None
    if stat.S_IMODE(mode) & 0o137:
        message = f"{name} can be used by others, or written by its group; chmod 600 it"
        raise KeyFileError(message)
    key = _decoded(text.strip()) if stat.S_ISREG(mode) else b""
    if len(key) != KEY_BYTES or not any(key):
        message = f"{name} holds no private key"
        raise KeyFileError(message)
    return key


def _open(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def _decoded(text: bytes) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""
