"""What the lab refuses or fails to do.

LabError                 said to the operator as it is, exit 69 (EX_UNAVAILABLE)
+- TopologyRefused       the file asks for what is wrong or not supported here, exit 65 (EX_DATAERR)
+- LabMissing            no such lab or node is up, exit 66 (EX_NOINPUT)
+- LabBusy               the lab is up already, or another up or down works on it, exit 75 (EX_TEMPFAIL)
+- NotEquipped           not root, or a program is missing on this machine, exit 69 (EX_UNAVAILABLE)
"""

from __future__ import annotations

import os
from typing import ClassVar


class LabError(Exception):
    """Something the operator must know; the text is the whole message."""

    exit_code: ClassVar[int] = os.EX_UNAVAILABLE


class TopologyRefused(LabError):
    """The topology file is refused, with all reasons at once."""

    exit_code = os.EX_DATAERR

    def __init__(self, source: str, problems: tuple[str, ...]) -> None:
        self.source = source
        self.problems = problems
        super().__init__("\n".join(f"{source}: {problem}" for problem in problems))


class LabMissing(LabError):
    """No such lab or node is up."""

    exit_code = os.EX_NOINPUT


class LabBusy(LabError):
    """The lab is up already, or somebody else works on it."""

    exit_code = os.EX_TEMPFAIL


class NotEquipped(LabError):
    """This user or this machine cannot run a lab."""
