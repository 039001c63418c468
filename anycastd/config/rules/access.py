"""Who may ask the API: sockets apart, strangers only with TLS and a token, files of secrets."""

from __future__ import annotations

from ipaddress import ip_address

from anycastd.config.rules.files import Stat, look, secret
from anycastd.config.rules.findings import Findings

MIN_TOKEN_BYTES, MAX_TOKEN_BYTES = 24, 512


def own_sockets(found: Findings) -> None:
    """Two listeners need two sockets."""
    if found.root.api.socket == found.root.bgp.socket:
        found.error(("api", "socket"), f"{found.root.api.socket} is also bgp.socket")


def strangers(found: Findings) -> None:
    """Beyond loopback nothing is said in the clear, nor to anybody who cannot show a token."""
    api = found.root.api
    if ip_address(api.host).is_loopback:
        return
    if api.tls is None and found.whole("api"):
        found.error(("api", "host"), f"{api.host} is not a loopback address: it needs api.tls")
    if not found.draft.written("api", "tokens"):
        found.error(("api", "host"), f"{api.host} is not a loopback address: it needs api.tokens")


def key_files(found: Findings, directory: str, stat: Stat) -> None:
    """Look at every file of the API; never into it."""
    for name, token in found.root.api.tokens.items():
        path = ("api", "tokens", name, "file")
        status = look(found, path, token.file, directory, stat)
        if status is None:
            continue
        if not MIN_TOKEN_BYTES <= status.st_size <= MAX_TOKEN_BYTES:
            found.error(
                path,
                f"{token.file} holds {status.st_size} bytes; a token has {MIN_TOKEN_BYTES} to {MAX_TOKEN_BYTES}: "
                "openssl rand -hex 32",
            )
        secret(found, path, token.file, status)
    tls = found.root.api.tls
    if tls is None:
        return
    named = {"cert_file": tls.cert_file, "key_file": tls.key_file}
    if tls.client_ca_file is not None:
        named["client_ca_file"] = tls.client_ca_file
    for key, name in named.items():
        status = look(found, ("api", "tls", key), name, directory, stat)
        if status is not None and status.st_size == 0:
            found.error(("api", "tls", key), f"{name} is empty")
        elif status is not None and key == "key_file":
            secret(found, ("api", "tls", key), name, status)


RULES = (own_sockets, strangers)
