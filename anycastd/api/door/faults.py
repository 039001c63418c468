"""Where an error of our own in a request goes: to the loop's handler, which logs it and raises the alarm."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from aiohttp.http_exceptions import HttpProcessingError


class Faults(logging.LoggerAdapter[logging.Logger]):
    """The HTTP server's log, which is all that aiohttp tells of an exception that a request's handler let through."""

    def exception(self, msg: object, *args: object, exc_info: Any = True, **more: Any) -> None:
        """Log; what is neither the client's fault nor a broken connection is told to the loop instead."""
        if not isinstance(exc_info, Exception) or isinstance(exc_info, (HttpProcessingError, OSError)):
            super().exception(msg, *args, exc_info=exc_info, **more)
            return
        context = {"message": "a request to the API failed", "exception": exc_info}
        asyncio.get_running_loop().call_exception_handler(context)


FAULTS = Faults(logging.getLogger("aiohttp.server"), {})
