"""What the files of state have in common: JSON of a known format, refused whole and in words when it is not that.

A newer release may have written it. A field that it added stands in no way as long as it says nothing
(`model.plain.known_of`); one that says something is refused, and so is another format: which is for changes that an
older release must not pass over, whatever is in the file.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, TypeVar

from anycastd.model.plain import known_of

T = TypeVar("T")


def made_of(text: str, number: int, what: str, known: Collection[str], make: Callable[[dict[str, Any]], T]) -> T:
    """Return what `make` makes of the document in a text of format `number`; ValueError if it is not `what`.

    `known`: the parts that it has. `make` may raise whatever a document of another shape makes it raise.
    """
    try:
        document = json.loads(text)
        if document["format"] != number:
            message = f"format {document['format']!r} is not {number}"
            raise ValueError(message)
        return make(known_of(document, {"format", *known}, ""))
    except KeyError as error:
        message = f"not {what}: {error} is missing, or is no word for what stands there"
        raise ValueError(message) from error
    except (TypeError, AttributeError, OverflowError, RecursionError) as error:
        message = f"not {what}: something in it has another shape"
        raise ValueError(message) from error


def loaded(path: Path, decode: Callable[[str], T], none: Callable[[], T]) -> tuple[T, str]:
    """Return what is in a file, and why it cannot be read (empty = it can; one that is not there holds `none`)."""
    try:
        return decode(path.read_text(encoding="utf-8")), ""
    except FileNotFoundError:
        return none(), ""
    except (OSError, ValueError) as error:
        return none(), f"{path}: {error}"
