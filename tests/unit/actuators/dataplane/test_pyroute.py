"""The library's package is as good as whole for whoever else uses it, though we load but a part of it."""

from __future__ import annotations

import subprocess
import sys

LEAN = """
import sys
import anycastd.actuators.dataplane.netlink
print(len([name for name in sys.modules if name.startswith("pyroute2")]))
import pyroute2
from pyroute2 import NDB, IPRoute
from pyroute2.conntrack import Conntrack
print(len([name for name in sys.modules if name.startswith("pyroute2")]), IPRoute is pyroute2.IPRoute)
print(hasattr(pyroute2, "there_is_no_such_name"), bool(pyroute2.__version__))
"""


def test_the_package_is_loaded_whole_only_when_somebody_asks_for_more_than_we_use() -> None:
    done = subprocess.run([sys.executable, "-c", LEAN], check=True, capture_output=True, text=True, timeout=30)
    ours, all_of_it, is_same, missing, version = done.stdout.split()
    assert int(ours) < 120 < int(all_of_it)
    assert (is_same, missing, version) == ("True", "False", "True")
