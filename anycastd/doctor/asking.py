"""Ask programs and files, and keep what could not be had."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ANSWER_WITHIN_S = 20.0
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(slots=True)
class Asking:
    """Every question to the machine passes here; `root` is where its files begin. `unanswered` says what failed."""

    root: Path = Path("/")
    unanswered: list[str] = field(default_factory=list)

    def text(self, path: str) -> str | None:
        """Return a file's text, stripped; None when there is none. A refusal is kept in `unanswered`."""
        try:
            return (self.root / path).read_text(encoding="utf-8", errors="replace").strip()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            self.unanswered.append(f"/{path}: {error.strerror}")
            return None

    def output(self, *words: str, user: Sequence[str] = ()) -> str | None:
        """Return what a program prints, None when it fails or does not end within 20 s."""
        name = " ".join(words)
        try:
            done = subprocess.run(
                [*user, *words], stdin=subprocess.DEVNULL, capture_output=True, timeout=ANSWER_WITHIN_S, check=True,
                env={"PATH": PATH, "LC_ALL": "C.UTF-8"}, cwd="/",
            )  # fmt: skip
        except subprocess.CalledProcessError as error:
            said = error.stderr.decode("utf-8", "replace").strip().splitlines()
            self.unanswered.append(f"{name}: exit {error.returncode}{': ' + said[0] if said else ''}")
        except subprocess.TimeoutExpired:
            self.unanswered.append(f"{name}: no answer within {ANSWER_WITHIN_S:.0f} s")
        except OSError as error:
            self.unanswered.append(f"{name}: {error.strerror}")
        else:
            return done.stdout.decode("utf-8", "replace")
        return None

    def answer(self, *words: str) -> Any:
        """Return what a program prints as JSON, an empty list when it fails."""
        text = self.output(*words)
        if not text:
            return []
        try:
            return json.loads(text)
        except ValueError as error:
            self.unanswered.append(f"{' '.join(words)}: not JSON: {error}")
            return []
