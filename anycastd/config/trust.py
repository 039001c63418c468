"""From the files of a TLS client to its context: whom we trust, and who we are. Used by `check` and by the probes."""

from __future__ import annotations

import ssl
from pathlib import Path

from anycastd.errors import AnycastdError
from anycastd.model.checks import Trust

CA_FILE, CERT_FILE, KEY_FILE = "ca_file", "cert_file", "key_file"


class TrustError(AnycastdError):
    """A file cannot be used; `key` is its key in the configuration."""

    def __init__(self, key: str, name: str, why: str) -> None:
        super().__init__(f"{name}: {why}")
        self.key, self.name, self.why = key, name, why


def context_of(trust: Trust) -> ssl.SSLContext:
    """Return the context of a client, TLS 1.2 at least. Raise TrustError for a file that cannot be used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not trust.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif trust.ca_file is None:
        context.set_default_verify_paths()
        if not _has_authorities():
            # without them every certificate is refused, which would look like the fault of whoever shows it
            raise TrustError(CA_FILE, "the system's certificates", "there are none; install ca-certificates")
    else:
        try:
            context.load_verify_locations(trust.ca_file)
        except OSError as error:
            raise TrustError(CA_FILE, trust.ca_file, f"holds no certificates to trust ({words(error)})") from None
    if trust.cert_file is not None:
        _own(context, trust.cert_file, trust.key_file or trust.cert_file)
    return context


def _has_authorities() -> bool:
    paths = ssl.get_default_verify_paths()
    # what is not there is None, which the types do not say
    return bool(paths.cafile) or (bool(paths.capath) and any(Path(paths.capath).iterdir()))


def _own(context: ssl.SSLContext, cert_file: str, key_file: str) -> None:
    """Load our own certificate and key; which of the two files is wrong is found by reading the first alone."""
    try:
        # never ask at a terminal for the password of a key
        context.load_cert_chain(cert_file, key_file, password=lambda: b"")
    except OSError as error:
        reason = words(error)
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cert_file)
        except OSError as of_certificate:
            raise TrustError(CERT_FILE, cert_file, f"holds no certificate ({words(of_certificate)})") from None
        if reason == "KEY_VALUES_MISMATCH":
            raise TrustError(KEY_FILE, key_file, f"is not the key of {cert_file}") from None
        raise TrustError(KEY_FILE, key_file, f"holds no key that can be read, without a password ({reason})") from None


def words(error: OSError) -> str:
    """Return what is wrong, without the place in OpenSSL's source."""
    if isinstance(error, ssl.SSLError):
        return error.reason or str(error.strerror).removeprefix("[SSL] ").partition(" (_ssl")[0]
    return (error.strerror or str(error)).lower()
