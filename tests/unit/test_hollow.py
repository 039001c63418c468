"""A hollow library gives what it has, and the rest of itself only when asked."""

from __future__ import annotations

import subprocess
import sys

import pytest


def run(program: str) -> str:
    """Run a program in an interpreter of its own; return what it prints."""
    done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_server_comes_without_the_client_until_somebody_wants_it() -> None:
    program = """
import sys
from anycastd.hollow import hollow
hollow("aiohttp")
from aiohttp import web, __version__
print(web.Application.__name__, "aiohttp.client" in sys.modules)
import aiohttp
print(aiohttp.ClientSession.__name__, aiohttp.__version__ == __version__, aiohttp.web is web, type(aiohttp).__name__)
"""
    assert run(program).splitlines() == ["Application False", "ClientSession True True module"]


def test_the_daemon_serves_without_the_client() -> None:
    program = """
import sys
import anycastd.runtime.app
from anycastd.hollow import hollow
hollow("aiohttp")
import anycastd.api.app
print(*sorted(sys.modules.keys() & {"aiohttp.client", "aiohttp.connector", "aiohttp.web", "pyroute2.ipdb"}))
"""
    assert run(program) == "aiohttp.web"


@pytest.mark.parametrize("name", ["nothing_of_that_name", "json"])
def test_what_is_not_there_or_was_imported_already_stays_as_it_is(name: str) -> None:
    program = f"""
import sys, json
from anycastd.hollow import hollow
hollow({name!r})
print({name!r} in sys.modules and type(sys.modules[{name!r}]).__name__)
"""
    assert run(program) == ("module" if name == "json" else "False")


def test_a_name_that_nobody_has_is_an_attribute_error() -> None:
    program = """
from anycastd.hollow import hollow
hollow("aiohttp")
import aiohttp
try:
    aiohttp.no_such_name
except AttributeError as error:
    print(error)
"""
    assert "no_such_name" in run(program)
