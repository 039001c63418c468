"""Parse and check a `.clab.yml` file: a strict subset of containerlab's format (docs/lab.md).

What is not supported is refused with its path and with what is supported, all at once; nothing is passed over.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from anycastd.lab.document import expand, load
from anycastd.lab.errors import LabError, TopologyRefused
from anycastd.lab.layers import NODE_KEYS, merge
from anycastd.lab.link_keys import build_links
from anycastd.lab.node_keys import build_node
from anycastd.lab.refusals import Refusals, inside, named
from anycastd.lab.shape import Kind, Node, Topology
from anycastd.lab.waiting import cycle_in

_TOP_KEYS = ("name", "prefix", "topology")
_TOPOLOGY_KEYS = ("defaults", "groups", "kinds", "links", "nodes")
# No dot: `<lab>.<node>` names the network namespace. Lengths keep that and the host name below the kernel's limits.
_LAB_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}\Z")
_NODE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}\Z")
_BRIDGE_NAME_MAX = 15
_KINDS = ", ".join(sorted(Kind))


def read_topology(path: Path, variables: Mapping[str, str]) -> Topology:
    """Read, check and build a topology file; raise TopologyRefused with everything that is wrong."""
    return parse_topology(_text_of(path), path.resolve().parent, variables, source=path.name)


def read_name(path: Path, variables: Mapping[str, str]) -> str:
    """Give the lab's name even if the rest of the file is wrong, so that a lab can always be taken down."""
    raw = load(expand(_text_of(path), variables, Refusals()), Refusals())
    name = raw.get("name") if isinstance(raw, dict) else None
    if not isinstance(name, str) or not _LAB_NAME.match(name):
        raise TopologyRefused(path.name, ("name: cannot be read",))
    return name


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        message = f"{path}: cannot be read: {error.strerror if isinstance(error, OSError) else 'it is not UTF-8'}"
        raise LabError(message) from error


def parse_topology(text: str, directory: Path, variables: Mapping[str, str], source: str = "topology") -> Topology:
    """Check and build a topology from text; relative bind sources are below `directory`."""
    refusals = Refusals()
    document = load(expand(text, variables, refusals), refusals)
    refusals.raise_if_any(source)
    top = refusals.mapping(document, "file")
    refusals.only(top, _TOP_KEYS, "")
    name = _name(top, refusals)
    body = refusals.mapping(top.get("topology"), "topology")
    refusals.only(body, _TOPOLOGY_KEYS, "topology")
    nodes = _nodes(body, directory, refusals)
    links = build_links(body.get("links"), refusals.mapping(body.get("nodes"), "topology.nodes"), refusals)
    topology = Topology(name, nodes, links)
    _check_waits(topology, refusals)
    refusals.raise_if_any(source)
    return topology


def _name(top: Mapping[str, object], refusals: Refusals) -> str:
    if top.get("prefix") not in (None, ""):
        refusals.text(top["prefix"], "prefix")
    name = refusals.text(top.get("name"), "name") or ""
    if name and not _LAB_NAME.match(name):
        refusals.add("name", f"must be letters, digits, - and _, at most 63: {name}")
    return name


def _nodes(body: Mapping[str, object], directory: Path, refusals: Refusals) -> dict[str, Node]:
    defaults = _layer(body.get("defaults"), "topology.defaults", refusals)
    kinds = _named_layers(body, "kinds", refusals)
    groups = _named_layers(body, "groups", refusals)
    own = _named_layers(body, "nodes", refusals)
    for unknown in kinds.keys() - set(Kind):
        refusals.add(f"topology.kinds.{unknown}", f"kind not supported; supported here: {_KINDS}")
    if not own:
        refusals.add("topology.nodes", "must name at least one node")
    built = {}
    for name, layer in own.items():
        where = f"topology.nodes.{name}"
        group_name = layer.get("group", defaults.get("group"))
        group = groups.get(group_name, {}) if isinstance(group_name, str) else {}
        if isinstance(group_name, str) and group_name not in groups:
            refusals.add(inside(where, "group"), f"no such group: {group_name}")
        kind = _kind(name, (layer, group, defaults), where, refusals)
        if kind is None:
            continue
        layers = (
            ("topology.defaults", defaults),
            (f"topology.kinds.{kind}", kinds.get(kind, {})),
            (f"topology.groups.{group_name}", group),
            (where, layer),
        )
        built[name] = build_node(name, kind, merge(where, layers, refusals), directory, refusals)
    return built


def _layer(raw: object, where: str, refusals: Refusals) -> dict[str, object]:
    layer = refusals.mapping(raw, where)
    refusals.only(layer, NODE_KEYS, where)
    return layer


def _named_layers(body: Mapping[str, object], key: str, refusals: Refusals) -> dict[str, dict[str, object]]:
    where = f"topology.{key}"
    return {
        name: _layer(raw, inside(where, name), refusals)
        for name, raw in refusals.mapping(body.get(key), where).items()
    }  # fmt: skip


def _kind(name: str, layers: tuple[Mapping[str, object], ...], where: str, refusals: Refusals) -> Kind | None:
    if not _NODE_NAME.match(name):
        refusals.add(where, "a node's name must be letters, digits, - and _, at most 63")
    raw = next((layer["kind"] for layer in layers if layer.get("kind") is not None), None)
    if not isinstance(raw, str) or raw not in tuple(Kind):
        said = raw if isinstance(raw, str) else named(raw)
        refusals.add(inside(where, "kind"), f"kind not supported: {said}; supported here: {_KINDS}")
        return None
    if raw == Kind.BRIDGE and len(name) > _BRIDGE_NAME_MAX:
        refusals.add(where, f"a bridge's name must be at most {_BRIDGE_NAME_MAX} characters")
    return Kind(raw)


def _check_waits(topology: Topology, refusals: Refusals) -> None:
    unknown = False
    for node in topology.nodes.values():
        for wait in node.waits:
            if wait.node not in topology.nodes:
                unknown = True
                refusals.add(f"topology.nodes.{node.name}.stages.{wait.at}.wait-for", f"no such node: {wait.node}")
    linked = all(end.node in topology.nodes for link in topology.links for end in link.ends())
    if not unknown and linked and (cycle := cycle_in(topology)):
        refusals.add("topology.nodes", f"nodes wait for each other without end: {' -> '.join(cycle)}")
