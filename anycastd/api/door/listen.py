"""The sockets the API listens on."""

from __future__ import annotations

import errno
import grp
import os
import socket
import stat
from pathlib import Path

from anycastd.api.errors import ApiUnavailable

MODE = 0o660
BACKLOG = 128
ANSWER_WITHIN_S = 1.0


def tcp_socket(host: str, port: int) -> socket.socket:
    """Return a listening TCP socket; ApiUnavailable says why not."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listening.bind((host, port))
        listening.listen(BACKLOG)
        listening.setblocking(False)
    except OSError as error:
        listening.close()
        message = f"the API cannot listen on {host}:{port}: {error.strerror}"
        raise ApiUnavailable(message) from error
    return listening


def unix_socket(path: str, group: str = "") -> tuple[socket.socket, int]:
    """Return a listening unix socket of mode 0660 and its file's inode; it is given to `group` if there is one.

    A file left by a dead daemon is replaced, a live one never; ApiUnavailable says why not.
    """
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        _clear_stale(path)
        # the mode of an unbound socket is the mode its file is made with (unix(7)): no moment of a wider one
        os.fchmod(listening.fileno(), MODE)
        listening.bind(path)
        Path(path).chmod(MODE)
        _give(path, group)
        listening.listen(BACKLOG)
        listening.setblocking(False)
        inode = Path(path).lstat().st_ino
    except OSError as error:
        listening.close()
        message = f"the API cannot listen on {path}: {error.strerror or error}"
        raise ApiUnavailable(message) from error
    except ApiUnavailable:
        listening.close()
        raise
    return listening, inode


def _give(path: str, group: str) -> None:
    try:
        number = grp.getgrnam(group).gr_gid
    except KeyError:
        return
    try:
        os.chown(path, -1, number)
    except PermissionError:
        # not root, and not of that group: then the socket is our own group's
        return


def _clear_stale(path: str) -> None:
    try:
        mode = Path(path).lstat().st_mode
    except FileNotFoundError:
        Path(path).parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        return
    if not stat.S_ISSOCK(mode):
        message = f"the API cannot listen on {path}: it is there and is not a socket"
        raise ApiUnavailable(message)
    if _answers(path):
        message = f"the API cannot listen on {path}: another daemon answers there"
        raise ApiUnavailable(message)
    Path(path).unlink(missing_ok=True)


def _answers(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        asking.settimeout(ANSWER_WITHIN_S)
        try:
            asking.connect(path)
        except OSError as error:
            # a full backlog or a hanging owner is somebody; only a refusal means that nobody listens
            return error.errno not in (errno.ECONNREFUSED, errno.ENOENT)
    return True


def is_gone(path: str) -> bool:
    """Return whether there is no file of that name, whatever it is."""
    return not os.path.lexists(path)


def remove_own(path: str, inode: int) -> None:
    """Remove the socket file if it is still the one we made."""
    try:
        if Path(path).lstat().st_ino == inode:
            Path(path).unlink()
    except OSError:
        # gone already, or its directory is: nothing is left to remove
        return
