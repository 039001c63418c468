"""From the text of a topology file to plain values: variables first, then YAML with few implicit types.

PyYAML's own rules would read `12:34:56:12:34:56` as a number and `no` as False; here only true, false, null and
decimal integers are typed, all else is text, and a key written twice is an error.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping

import yaml

from anycastd.lab.refusals import Refusals

_VARIABLE = re.compile(r"\$(?:(?P<escape>\$)|(?P<name>[A-Za-z_]\w*)|\{(?P<braced>[^}]*)\})")
_NAME = re.compile(r"[A-Za-z_]\w*\Z")


class _StrictLoader(yaml.SafeLoader):
    """A safe loader that types little and refuses double keys."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, object]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "a key must be text", key.start_mark)
            if key.tag != "tag:yaml.org,2002:merge":
                key.tag = "tag:yaml.org,2002:str"
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(None, None, f"key twice: {key.value}", key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


_StrictLoader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("bool", r"true|false", "tf"),
    ("null", r"null|~|", ["n", "~", ""]),
    ("int", r"-?(?:0|[1-9][0-9]*)", "-0123456789"),
    ("merge", r"<<", "<"),
):
    _StrictLoader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"(?:{_pattern})\Z"), list(_first))


def expand(text: str, variables: Mapping[str, str], refusals: Refusals) -> str:
    """Replace `$VAR` and `${VAR}` by values and `$$` by `$`, on all but comment lines.

    An unset variable is refused; containerlab would put nothing in its place.
    """

    def value(found: re.Match[str], line: int) -> str:
        if found["escape"]:
            return "$"
        name = found["name"] or found["braced"]
        if not _NAME.match(name):
            refusals.add(f"line {line}", f"${{{name}}} is not supported; supported here: $VAR, ${{VAR}}, $$")
        elif name not in variables:
            refusals.add(f"line {line}", f"variable {name} is not set (write $${name} for the text ${name})")
        return variables.get(name, "")

    out = []
    for number, line in enumerate(text.splitlines(), start=1):
        is_comment = line.lstrip().startswith("#")
        out.append(line if is_comment else _VARIABLE.sub(lambda found, n=number: value(found, n), line))  # type: ignore[misc]
    return "\n".join(out) + "\n"


def load(text: str, refusals: Refusals) -> object:
    """Read YAML; what cannot be read is a refusal with its line, and gives None."""
    try:
        # _StrictLoader is a SafeLoader: no Python objects are built.
        return yaml.load(text, Loader=_StrictLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        refusals.add(f"line {mark.line + 1}" if mark else "file", f"not readable: {error.problem}")
    except yaml.YAMLError as error:
        refusals.add("file", f"not readable: {error}")
    return None
