"""What can go wrong with the API itself."""

from __future__ import annotations

from anycastd.errors import AnycastdError


class ApiUnavailable(AnycastdError):
    """The API cannot listen where it should; the message names the place and the cause."""
