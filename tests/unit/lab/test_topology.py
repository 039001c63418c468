"""Topology files: what is accepted becomes exactly this; what is not is refused in exactly these words."""

from __future__ import annotations

import json
import os
from pathlib import Path

import jsonschema
import pytest
import yaml

from anycastd.lab.errors import TopologyRefused
from anycastd.lab.shape import Bind, Endpoint, HealthCheck, Kind, Link, Phase, Stage, StageCommand, Topology, Wait
from anycastd.lab.topology import parse_topology, read_name

SCHEMA = Path(os.environ.get("ANYCASTD_CLAB_SCHEMA", "/nonexistent"))
DIRECTORY = Path("/srv/lab")

FULL = """
name: full
prefix: ""
topology:
  defaults:
    kind: linux
    image: anycastd:1
    image-pull-policy: Never
    network-mode: none
    privileged: false
    cap-add: [NET_ADMIN]
    env: {WHO: defaults, FROM: defaults}
    binds: ["base.conf:/etc/app.conf:ro", "shared:/shared"]
    exec: ["ip link show"]
    sysctls: {net.ipv4.ip_forward: 1}
  kinds:
    linux:
      cmd: sleep infinity
      env: {WHO: kind, SIZE: 3}
  groups:
    router:
      cmd: /lab/router 'two words'
      env: {WHO: group}
      binds: ["group.conf:/etc/app.conf"]
      healthcheck: {test: [CMD-SHELL, "echo $$HOME"], interval: 1, timeout: 5, retries: 3, start-period: 2}
  nodes:
    sw: {kind: bridge}
    r1:
      group: router
      hostname: edge-1
      env: {WHO: node}
      labels: {any: thing}
      exec: ["ip link show", "ip addr show"]
      entrypoint: /bin/env
      startup-delay: 2
    h1:
      healthcheck: {test: [CMD, "true"]}
      stages:
        create: {wait-for: [{node: r1, stage: create}]}
        configure:
          exec:
            on-enter: ["echo in"]
            on-exit: ["echo out"]
        healthy:
          exec: [{command: "echo late", target: container, phase: on-enter}]
  links:
    - endpoints: ["r1:eth1", "h1:eth1"]
      mtu: 1400
      ipv4: [10.0.0.1/30, 10.0.0.2/30]
    - type: veth
      endpoints:
        - {node: r1, interface: eth2, mac: "12:34:56:12:34:56", ipv4: 10.1.0.1/24, ipv6: "2001:db8::1/64"}
        - {node: sw, interface: port1}
"""


def parsed(text: str, **variables: str) -> Topology:
    return parse_topology(text, DIRECTORY, variables, "x.clab.yml")


def problems(text: str, **variables: str) -> list[str]:
    with pytest.raises(TopologyRefused) as refused:
        parsed(text, **variables)
    return list(refused.value.problems)


def with_node(extra: str, *, rest: str = "") -> str:
    lines = "\n".join(f"      {line}" for line in extra.splitlines())
    return f"name: x\ntopology:\n  nodes:\n    a:\n      kind: linux\n      network-mode: none\n{lines}\n{rest}"


def with_link(link: str) -> str:
    node = "{kind: linux, network-mode: none, cmd: sleep 1}"
    return f"name: x\ntopology:\n  nodes:\n    a: {node}\n    b: {node}\n  links:\n    - {link}\n"


def test_layers_merge_in_order() -> None:
    r1 = parsed(FULL).nodes["r1"]
    assert r1.env == {"WHO": "node", "FROM": "defaults", "SIZE": "3"}
    assert r1.argv == ("/bin/env", "/lab/router", "two words")
    assert r1.sysctls == {"net.ipv4.ip_forward": "1"}
    assert r1.commands == (("ip", "link", "show"), ("ip", "addr", "show"))
    assert (r1.hostname, r1.startup_delay_s) == ("edge-1", 2)


def test_binds_merge_by_destination() -> None:
    assert parsed(FULL).nodes["r1"].binds == (
        Bind(DIRECTORY / "group.conf", "/etc/app.conf", read_only=False),
        Bind(DIRECTORY / "shared", "/shared", read_only=False),
    )
    assert parsed(FULL).nodes["h1"].binds[0] == Bind(DIRECTORY / "base.conf", "/etc/app.conf", read_only=True)


def test_stages_read_both_forms_of_exec() -> None:
    h1 = parsed(FULL).nodes["h1"]
    assert h1.waits == (Wait(Stage.CREATE, "r1", Stage.CREATE),)
    assert h1.stage_commands == (
        StageCommand(Stage.CONFIGURE, Phase.ENTER, ("echo", "in")),
        StageCommand(Stage.CONFIGURE, Phase.EXIT, ("echo", "out")),
        StageCommand(Stage.HEALTHY, Phase.ENTER, ("echo", "late")),
    )


def test_healthcheck_has_the_defaults_of_containers() -> None:
    nodes = parsed(FULL).nodes
    assert nodes["h1"].healthcheck == HealthCheck(("true",), interval_s=30, timeout_s=30)
    assert nodes["r1"].healthcheck == HealthCheck(("/bin/sh", "-c", "echo $HOME"), interval_s=1, timeout_s=5)


def test_links_read_brief_and_extended_form() -> None:
    topology = parsed(FULL)
    assert topology.nodes["sw"].kind is Kind.BRIDGE
    assert topology.links == (
        Link(
            Endpoint("r1", "eth1", None, "10.0.0.1/30", None), Endpoint("h1", "eth1", None, "10.0.0.2/30", None), 1400
        ),
        Link(
            Endpoint("r1", "eth2", "12:34:56:12:34:56", "10.1.0.1/24", "2001:db8::1/64"),
            Endpoint("sw", "port1", None, None, None),
            None,
        ),
    )


@pytest.mark.skipif(not SCHEMA.is_file(), reason="containerlab's schema is not on this machine")
def test_accepted_file_is_valid_for_containerlabs_own_schema() -> None:
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    # Without check_schema: containerlab's patterns hold \\p{N}, which Python's re does not know.
    errors = jsonschema.validators.validator_for(schema)(schema).iter_errors(yaml.safe_load(FULL))
    assert [error.message for error in errors] == []


def test_variables_are_replaced_except_in_comments() -> None:
    text = with_node("cmd: echo $WHAT ${WHAT} $$WHAT\n# $UNSET is only a comment")
    assert parsed(text, WHAT="x").nodes["a"].argv == ("echo", "x", "x", "$WHAT")


def test_unset_and_unsupported_variables_are_refused_with_their_line() -> None:
    assert problems(with_node("cmd: echo $UNSET\nhostname: ${A:-b}")) == [
        "line 7: variable UNSET is not set (write $$UNSET for the text $UNSET)",
        "line 8: ${A:-b} is not supported; supported here: $VAR, ${VAR}, $$",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: x\nname: y\n", "line 2: not readable: key twice: name"),
        ("name: [\n", "line 2: not readable: expected the node content, but found '<stream end>'"),
        ("- a\n", "file: must be a mapping, is a list"),
    ],
)
def test_unreadable_file_is_refused(text: str, said: str) -> None:
    assert said in problems(text)


def test_all_problems_are_told_at_once() -> None:
    text = """
name: bad.name
mgmt: {network: x}
topology:
  defaults: {kind: linux, network-mode: none, cmd: sleep 1, ports: [80]}
  kinds: {nokia_srlinux: {image: x}}
  nodes:
    a: {startup-config: x, group: none-such, binds: ["x"]}
    b: {kind: host}
  links:
    - endpoints: ["a:eth1", "c:eth1"]
"""
    keys = (
        "binds, cap-add, cmd, entrypoint, env, exec, group, healthcheck, hostname, image, image-pull-policy, kind, "
        "labels, network-mode, privileged, stages, startup-delay, sysctls"
    )
    assert problems(text) == [
        "mgmt: not supported; supported here: name, prefix, topology",
        "name: must be letters, digits, - and _, at most 63: bad.name",
        f"topology.defaults.ports: not supported; supported here: {keys}",
        f"topology.nodes.a.startup-config: not supported; supported here: {keys}",
        "topology.kinds.nokia_srlinux: kind not supported; supported here: bridge, linux",
        "topology.nodes.a.group: no such group: none-such",
        "topology.nodes.a.binds[0]: must be source:destination or source:destination:ro, is x",
        "topology.nodes.b.kind: kind not supported: host; supported here: bridge, linux",
        "topology.links[0].endpoints[1]: no such node: c",
    ]


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        ("", "topology.nodes.a: cmd or entrypoint is needed (images are not used here, so theirs are unknown)"),
        ("cmd: [a]", "topology.nodes.a.cmd: must be text, is a list"),
        ("cmd: echo 'x", "topology.nodes.a.cmd: cannot be split into words: no closing quotation"),
        ("cmd: x\nprivileged: maybe", "topology.nodes.a.privileged: must be true or false, is text"),
        ("cmd: x\nhostname: a b", "topology.nodes.a.hostname: not a host name: a b"),
        ("cmd: x\nstartup-delay: soon", "topology.nodes.a.startup-delay: must be a whole number, is text"),
        ("cmd: x\nenv: {A-B: 1}", "topology.nodes.a.env.A-B: not the name of an environment variable"),
        ("cmd: x\nenv: [A=1]", "topology.nodes.a.env: must be a mapping, is a list"),
        (
            "cmd: x\nbinds: ['a:/b:rw,z']",
            "topology.nodes.a.binds[0]: option not supported: rw,z; supported here: ro, rw",
        ),
        ("cmd: x\nbinds: ['a:/proc']", "topology.nodes.a.binds[0]: not a possible destination: /proc"),
        ("cmd: x\nbinds: ['a:/x/../etc']", "topology.nodes.a.binds[0]: not a possible destination: /x/../etc"),
        (
            "cmd: x\nsysctls: {vm.swappiness: 1}",
            "topology.nodes.a.sysctls.vm.swappiness: not a setting of the node's own namespaces; supported here: "
            "net.*, kernel.msg*, kernel.shm*, kernel.sem, kernel.domainname, fs.mqueue.*",
        ),
        (
            "cmd: x\nhealthcheck: {test: [NONE]}",
            "topology.nodes.a.healthcheck.test: must be [CMD, program, argument...] or [CMD-SHELL, line]",
        ),
        (
            "cmd: x\nhealthcheck: {test: [CMD, x], interval: 0}",
            "topology.nodes.a.healthcheck.interval: must be 1 to 3600, is 0",
        ),
        (
            "cmd: x\nhealthcheck: {test: [CMD, x], start-interval: 1}",
            "topology.nodes.a.healthcheck.start-interval: not supported; "
            "supported here: interval, retries, start-period, test, timeout",
        ),
        (
            "cmd: x\nstages: {exit: {}}",
            "topology.nodes.a.stages.exit: stage not supported: exit; "
            "supported here: create, create-links, configure, healthy",
        ),
        (
            "cmd: x\nstages: {create: {exec: [{command: x, target: host, phase: on-enter}]}}",
            "topology.nodes.a.stages.create.exec[0].target: not supported: host; supported here: container",
        ),
        (
            "cmd: x\nstages: {create: {wait-for: [{node: z, stage: create}]}}",
            "topology.nodes.a.stages.create.wait-for: no such node: z",
        ),
        (
            "cmd: x\nstages: {create: {wait-for: [{node: a, stage: healthy}]}}",
            "topology.nodes: nodes wait for each other without end: "
            "a:healthy -> a:configure -> a:create-links -> a:create -> a:healthy",
        ),
    ],
)
def test_wrong_node_is_refused(extra: str, said: str) -> None:
    assert problems(with_node(extra)) == [said]


def test_management_network_is_refused() -> None:
    text = "name: x\ntopology: {nodes: {a: {kind: linux, cmd: x}, b: {kind: linux, cmd: x, network-mode: host}}}\n"
    assert problems(text) == [
        "topology.nodes.a: network-mode: none is needed (there is no management network here)",
        "topology.nodes.b.network-mode: not supported: host; supported here: none (there is no management network)",
    ]


def test_bridge_takes_nothing_that_needs_a_process() -> None:
    text = "name: x\ntopology: {nodes: {sw: {kind: bridge, cmd: x, exec: [y], sysctls: {net.core.somaxconn: 1}}}}\n"
    assert problems(text) == [
        f"topology.nodes.sw.{key}: has no meaning for a bridge"
        for key in ("cmd", "exec[0]", "sysctls.net.core.somaxconn")
    ]


def test_value_of_a_layer_is_refused_where_it_was_written() -> None:
    text = "name: x\ntopology:\n  defaults: {kind: linux, network-mode: none, cmd: 7}\n  nodes: {a: , b: }\n"
    assert problems(text) == ["topology.defaults.cmd: must be text, is a number"]


@pytest.mark.parametrize(
    ("link", "said"),
    [
        ("{endpoints: ['a:eth1']}", "topology.links[0].endpoints: must be two endpoints, are 1"),
        ("{endpoints: ['a:eth1', 'b']}", "topology.links[0].endpoints[1]: must be node:interface, is b"),
        ("{type: macvlan, endpoints: []}", "topology.links[0].type: not supported: macvlan; supported here: veth"),
        (
            "{endpoints: ['a:e', 'a:e']}",
            "topology.links[0].endpoints[1]: interface a:e is used already by topology.links[0].endpoints[0]",
        ),
        (
            "{endpoints: ['a:interface-too-long', 'b:e']}",
            "topology.links[0].endpoints[0]: not a possible interface name (1 to 15 characters, not lo): "
            "interface-too-long",
        ),
        ("{endpoints: ['a:e', 'b:e'], mtu: 9}", "topology.links[0].mtu: must be 68 to 65535, is 9"),
        (
            "{endpoints: ['a:e', 'b:e'], vars: {}}",
            "topology.links[0].vars: not supported; supported here: endpoints, ipv4, ipv6, labels, mtu, type",
        ),
        (
            "{endpoints: ['a:e', {node: b, interface: e, ipv4: 10.0.0.1}]}",
            "topology.links[0].endpoints[1].ipv4: must be an IPv4 address with prefix length, is 10.0.0.1",
        ),
        (
            "{endpoints: ['a:e', 'b:e'], ipv6: ['10.0.0.1/8']}",
            "topology.links[0].endpoints[0].ipv6: must be an IPv6 address with prefix length, is 10.0.0.1/8",
        ),
        (
            "{endpoints: ['a:e', {node: b, interface: e, mac: '03:00:00:00:00:01'}]}",
            "topology.links[0].endpoints[1].mac: must be a unicast address such as 02:00:00:00:00:01, "
            "is 03:00:00:00:00:01",
        ),
        (
            "{endpoints: ['a:e', {node: b, interface: e, speed: 1}]}",
            "topology.links[0].endpoints[1].speed: not supported; supported here: interface, ipv4, ipv6, mac, node",
        ),
    ],
)
def test_wrong_link_is_refused(link: str, said: str) -> None:
    assert problems(with_link(link)) == [said]


def test_name_can_be_read_from_a_file_that_is_wrong_elsewhere(tmp_path: Path) -> None:
    path = tmp_path / "x.clab.yml"
    path.write_text("name: $WHO-lab\ntopology: {nodes: {a: {kind: nonsense}}}\n", encoding="utf-8")
    assert read_name(path, {"WHO": "my"}) == "my-lab"
