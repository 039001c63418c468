"""Ask the daemon over its unix socket. Standard library only: an asking verb must start within 0.15 s."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Mapping
from typing import Any

DEFAULT_SOCKET = "/run/anycastd/api.sock"
TIMEOUT_S = 10.0

EX_USAGE, EX_DATAERR, EX_UNAVAILABLE, EX_TEMPFAIL, EX_PROTOCOL, EX_CONFIG = 64, 65, 69, 75, 76, 78


class AskError(Exception):
    """The question got no good answer; `exit_code` is of sysexits.h, `details` are further lines."""

    def __init__(self, message: str, exit_code: int, details: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.exit_code = exit_code
        self.details = details


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: str, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path
        self._timeout_s = timeout_s

    def connect(self) -> None:
        """Connect to the socket file instead of a port."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self._timeout_s)
        self.sock.connect(self._path)


def _unreachable(path: str, error: OSError) -> AskError:
    if isinstance(error, FileNotFoundError):
        hint = "there is no such socket; is the daemon running? try: systemctl status anycastd"
    elif isinstance(error, ConnectionRefusedError):
        hint = "nobody listens there, the daemon has ended; try: systemctl status anycastd"
    elif isinstance(error, PermissionError):
        hint = f"permission denied; become root or a member of the socket's group: ls -l {path}"
    elif isinstance(error, TimeoutError):
        hint = "no answer in time; the daemon hangs or is overloaded: journalctl -u anycastd"
    else:
        hint = error.strerror or str(error)
    return AskError(f"the daemon does not answer on {path}: {hint}", EX_UNAVAILABLE)


def _refusal(status: int, body: Any) -> AskError:
    error = body.get("error", {}) if isinstance(body, dict) else {}
    message = str(error.get("message", f"the daemon answered {status}"))
    details = tuple(str(problem) for problem in error.get("problems") or ())
    code = _EXIT.get(status, EX_UNAVAILABLE)
    if status == 409 and error.get("code") == "config_refused":
        code = EX_CONFIG
    # one problem is the message itself
    return AskError(message, code, details if len(details) > 1 or code == EX_CONFIG else ())


_EXIT = {400: EX_USAGE, 404: EX_USAGE, 409: EX_DATAERR, 412: EX_DATAERR, 422: EX_DATAERR}


def ask(
    path: str,
    target: str,
    *,
    method: str = "GET",
    body: Any = None,
    headers: Mapping[str, str] | None = None,
    timeout_s: float = TIMEOUT_S,
) -> Any:
    """Return the JSON that the daemon answers; AskError says why there is none. `body` None sends none."""
    connection = UnixConnection(path, timeout_s)
    sent = None if body is None else json.dumps(body)
    try:
        connection.request(method, target, body=sent, headers=dict(headers or {}))
        response = connection.getresponse()
        status, text = response.status, response.read()
    except OSError as error:
        raise _unreachable(path, error) from error
    except http.client.HTTPException as error:
        message = f"what answers on {path} does not speak HTTP: {error!r}"
        raise AskError(message, EX_PROTOCOL) from error
    finally:
        connection.close()
    try:
        body = json.loads(text)
    except ValueError as error:
        message = f"the daemon on {path} answered {status} and no JSON"
        raise AskError(message, EX_PROTOCOL) from error
    if status >= 400:
        raise _refusal(status, body)
    return body
