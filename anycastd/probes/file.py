"""File check: a file of this machine says whether the target may be used; nothing is sent."""

from __future__ import annotations

import os

from anycastd.model.checks import BadWhen, FileOptions
from anycastd.model.probe import Why
from anycastd.probes import faults
from anycastd.probes.attempt import Attempt, Owner


class FileAttempt(Attempt):
    """Looks once, and ends."""

    __slots__ = ("plan",)

    def __init__(self, owner: Owner, order: int, started_s: float, plan: FilePlan) -> None:
        super().__init__(owner, order, started_s)
        self.plan = plan

    def start(self, now_s: float) -> None:
        """Look, and end."""
        why, detail = self.plan.look()
        self.end(why, detail, now_s)


class FilePlan:
    """A file check; a look is one stat() of 2 us, so it is done in the loop: the file must be on a local disk."""

    def __init__(self, options: FileOptions) -> None:
        self._path, self._when = options.path, options.when

    def look(self) -> tuple[Why, str]:
        """Return what the file says; of a directory that cannot be looked into nothing is known."""
        try:
            # a link that leads nowhere is there: somebody has put it there
            os.lstat(self._path)
            there = True
        except FileNotFoundError:
            there = False
        except PermissionError as error:
            return Why.NO_PERMISSION, f"{self._path}: {faults.words(error.errno)}"
        except (OSError, ValueError) as error:
            return Why.FILE_UNUSABLE, f"{self._path}: {error.strerror if isinstance(error, OSError) else error}"
        state = "is there" if there else "is not there"
        if there is (self._when is BadWhen.EXISTS):
            return Why.MAINTENANCE, f"{self._path} {state}"
        return Why.ANSWERED, f"{self._path} {state}"

    def attempt(self, owner: Owner, order: int, now_s: float) -> Attempt:
        """Return a probe that was not started yet."""
        return FileAttempt(owner, order, now_s, self)

    def close(self) -> None:
        """Release nothing: nothing is shared."""
