"""`python -m anycastd`: the same as the command `anycastd`."""

from __future__ import annotations

from anycastd.cli.main import main

main()
