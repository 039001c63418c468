"""Whatever a file holds, the loader answers with a configuration or a ConfigError: nothing else comes out."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from anycastd.config.check import check
from anycastd.config.document import parse
from anycastd.config.load import load
from anycastd.errors import ConfigError
from anycastd.model.topology import Config
from tests.unit.config.places import EXAMPLE, GOOD

pytestmark = pytest.mark.slow

TEXTS = [file.read_text() for file in (*sorted(GOOD.glob("*.yaml")), EXAMPLE)]
TOKENS = [
    *"{}[]:,'\"|>#%?@", ": ", "- ", "\n", "  ", "\t", "&a", "*a", "<<: ", "!!int ", "null", "true", "0", "-1", "1e9",
    "::", "/0", "/129", "0.0.0.0", "ff00::", "\x00", "é", "\ufeff", "\u2028", "any", "{}", "[]", "<name>", "<inline>",
    "[key]",
]  # fmt: skip

quick = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def answers(text: str) -> None:
    """Look at a text as the loader does; its problems have a place inside it."""
    verdict = check(parse(text, "file"), "/nowhere", Path.stat)
    lines = text.count("\n") + text.count("\r") + text.count("\x85") + text.count("\u2028") + text.count("\u2029") + 2
    for problem in (*verdict.problems, *verdict.warnings):
        assert 1 <= problem.line <= lines
        assert problem.column >= 1
        assert "\n" not in problem.message
    assert (verdict.root is None) == bool(verdict.problems)


@quick
@given(st.text())
@example("{? [{}]: {? {}: 1}}")
@example("{}")
@example("a: &a [*a]")
@example("pop: {name: !!str x}")
@example("prefixes: {'': {}, '/': {}, '0/0': {}, '::%a/1': {}}")
def test_any_text(text: str) -> None:
    answers(text)


@quick
@given(st.lists(st.sampled_from(TOKENS), max_size=40).map("".join))
def test_any_yaml_like_text(text: str) -> None:
    answers(text)


@quick
@given(st.sampled_from(TEXTS), st.data())
def test_good_files_with_something_cut_or_put_in(text: str, data: st.DataObject) -> None:
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(start, min(len(text), start + 30)))
        text = text[:start] + data.draw(st.sampled_from([*TOKENS, ""])) + text[end:]
    answers(text)


KEYS = sorted(
    {line.split(":")[0].strip(" {") for text in TEXTS for line in text.splitlines() if ":" in line and "#" not in line}
)
VALUES = st.recursive(
    st.sampled_from(["any", "0", "-5", "9s", "true", "{}", "[]", "10.0.0.1", "2001:db8::/32", "ping", "64500", "''"]),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]"),
        st.dictionaries(st.sampled_from(KEYS), inner, max_size=3).map(
            lambda pairs: "{" + ", ".join(f"'{key}': {value}" for key, value in pairs.items()) + "}"
        ),
    ),
    max_leaves=8,
)


@quick
@given(st.sampled_from(TEXTS), VALUES, st.data())
def test_good_files_with_another_value_somewhere(text: str, value: str, data: st.DataObject) -> None:
    lines = text.splitlines()
    number = data.draw(st.sampled_from([n for n, line in enumerate(lines) if ":" in line.partition("#")[0]]))
    key = lines[number].partition(":")[0]
    lines[number] = f"{key}: {value}"
    answers("\n".join(lines))


@quick
@given(st.binary(max_size=200))
def test_any_bytes(tmp_path: Path, raw: bytes) -> None:
    file = tmp_path / "anycastd.yaml"
    file.write_bytes(raw)
    with pytest.raises(ConfigError):
        assert isinstance(load(str(file)), Config)
