"""Statements in the words of nft, run as one transaction: by libnftables in this process, else by the program nft."""

from __future__ import annotations

import ctypes
import subprocess

from anycastd.errors import ActuatorRejected, ActuatorTransient

LIBRARY = "libnftables.so.1"
PROGRAM = "nft"
RUN_WITHIN_S = 10


class Library:
    """A context of libnftables, in the network namespace of the thread that makes it. OSError where it is missing."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(LIBRARY)
        for function in ("nft_ctx_get_output_buffer", "nft_ctx_get_error_buffer"):
            getattr(self._library, function).restype = ctypes.c_char_p
            getattr(self._library, function).argtypes = [ctypes.c_void_p]
        self._library.nft_ctx_new.restype = ctypes.c_void_p
        self._library.nft_ctx_new.argtypes = [ctypes.c_uint32]
        self._library.nft_run_cmd_from_buffer.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
        self._library.nft_ctx_free.argtypes = [ctypes.c_void_p]
        self._context = self._library.nft_ctx_new(0)
        if not self._context:
            message = "nft_ctx_new failed"
            raise OSError(message)
        self._library.nft_ctx_buffer_output.argtypes = [ctypes.c_void_p]
        self._library.nft_ctx_buffer_error.argtypes = [ctypes.c_void_p]
        self._library.nft_ctx_buffer_output(self._context)
        self._library.nft_ctx_buffer_error(self._context)

    def run(self, text: str) -> None:
        """Run one transaction; ActuatorRejected with what nft says."""
        failed = self._library.nft_run_cmd_from_buffer(self._context, text.encode())
        said = self._library.nft_ctx_get_error_buffer(self._context) or b""
        self._library.nft_ctx_get_output_buffer(self._context)
        if failed:
            raise ActuatorRejected(_first_line(said))

    def close(self) -> None:
        """Free the context."""
        self._library.nft_ctx_free(self._context)
        self._context = None


class Program:
    """The program nft, which runs in the network namespace of the thread that calls."""

    def run(self, text: str) -> None:
        """Run one transaction; ActuatorRejected with what nft says, ActuatorTransient when it cannot be run."""
        words = [PROGRAM, "-f", "-"]
        try:
            done = subprocess.run(words, input=text.encode(), capture_output=True, timeout=RUN_WITHIN_S, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            message = f"cannot run {PROGRAM}: {error}"
            raise ActuatorTransient(message) from error
        if done.returncode:
            raise ActuatorRejected(_first_line(done.stderr))

    def close(self) -> None:
        """There is nothing to close."""


def _first_line(said: bytes) -> str:
    """Return the error without the statement it is about, which may name every element."""
    lines = said.decode(errors="replace").strip().splitlines()
    return lines[0] if lines else "nft refused it"


def opened() -> Library | Program:
    """Return the library where it can be loaded, else the program."""
    try:
        return Library()
    except OSError:
        return Program()
