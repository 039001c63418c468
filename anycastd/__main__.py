"""`python -m anycastd`: the same as the command `anycastd`."""

from __future__ import annotations

import sys

from anycastd.cli.main import main

sys.exit(main())
