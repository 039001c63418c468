"""Ask the daemon over its unix socket, or over TCP. Standard library only: an asking verb must start within 0.15 s."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

DEFAULT_SOCKET = "/run/anycastd/api.sock"
TIMEOUT_S = 10.0

EX_USAGE, EX_DATAERR, EX_UNAVAILABLE, EX_TEMPFAIL, EX_PROTOCOL, EX_NOPERM, EX_CONFIG = 64, 65, 69, 75, 76, 77, 78


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


class Remote(str):
    """The URL of a daemon's TCP listener, where else stands the path of its socket; with what it is asked."""

    __slots__ = ("ca_file", "token_file")

    def __new__(cls, url: str, *, token_file: str | None = None, ca_file: str | None = None) -> Remote:
        """Return the URL as text that knows its files."""
        made = super().__new__(cls, url)
        made.token_file, made.ca_file = token_file, ca_file
        return made

    token_file: str | None
    ca_file: str | None

    def connection(self, timeout_s: float) -> http.client.HTTPConnection:
        """Return a connection not yet opened; AskError if the URL or the CA file is none."""
        try:
            parts = urlsplit(self)
            host, port = parts.hostname, parts.port or 8179
        except ValueError:
            host, port = None, 0
        if host is None or parts.scheme not in ("http", "https") or parts.path not in ("", "/") or parts.query:
            message = f"{str(self)!r} is not the URL of a daemon, such as https://192.0.2.1:8179"
            raise AskError(message, EX_USAGE)
        if parts.scheme == "http":
            return http.client.HTTPConnection(host, port, timeout=timeout_s)
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
        except (OSError, ssl.SSLError) as error:
            message = f"the CA file {self.ca_file} cannot be used: {error.strerror or error}"
            raise AskError(message, EX_CONFIG) from error
        return http.client.HTTPSConnection(host, port, timeout=timeout_s, context=context)

    def authorization(self) -> dict[str, str]:
        """Return the header that shows the token; AskError if there is a file and it cannot be read."""
        if self.token_file is None:
            return {}
        try:
            token = Path(self.token_file).read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not ASCII"
            message = f"the token file {self.token_file} cannot be read: {why}"
            raise AskError(message, EX_CONFIG) from error
        return {"Authorization": f"Bearer {token}"}


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
    if len(details) < 2 and code != EX_CONFIG:
        # one problem is the message itself
        return AskError(message, code)
    if details and message.startswith(details[0]):
        message = f"refused, for {len(details)} reasons"
    return AskError(message, code, details)


_EXIT = {
    400: EX_USAGE,
    401: EX_NOPERM,
    403: EX_NOPERM,
    404: EX_USAGE,
    409: EX_DATAERR,
    412: EX_DATAERR,
    422: EX_DATAERR,
}


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
    far = isinstance(path, Remote)
    connection = path.connection(timeout_s) if isinstance(path, Remote) else UnixConnection(path, timeout_s)
    shown = path.authorization() if isinstance(path, Remote) else {}
    sent = None if body is None else json.dumps(body)
    try:
        connection.request(method, target, body=sent, headers={**(headers or {}), **shown})
        response = connection.getresponse()
        status, text = response.status, response.read()
    except OSError as error:
        if far:
            message = f"the daemon does not answer on {path}: {error.strerror or error}"
            raise AskError(message, EX_UNAVAILABLE) from error
        raise _unreachable(path, error) from error
    except http.client.HTTPException as error:
        message = f"what answers on {path} does not speak HTTP: {error!r}"
        raise AskError(message, EX_PROTOCOL) from error
    finally:
        connection.close()
    try:
        body = json.loads(text)
    except ValueError as error:
        tells = ": its log tells why, and how far it came" if status >= 500 else ""
        message = f"the daemon on {path} answered {status} and no JSON{tells}"
        raise AskError(message, EX_PROTOCOL) from error
    if status >= 400:
        raise _refusal(status, body)
    return body
