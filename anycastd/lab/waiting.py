"""Which node's stage comes after which: the order of a start, and whether there is one at all."""

from __future__ import annotations

from anycastd.lab.shape import Stage, Topology

_ORDER = tuple(Stage)


def cycle_in(topology: Topology) -> tuple[str, ...]:
    """Give one circle of `node:stage` that can never be left; empty if the lab can start."""
    state: dict[tuple[str, Stage], bool] = {}
    path: list[tuple[str, Stage]] = []

    def visit(step: tuple[str, Stage]) -> tuple[str, ...]:
        if state.get(step):
            return ()
        if step in path:
            return tuple(f"{node}:{stage}" for node, stage in [*path[path.index(step) :], step])
        path.append(step)
        for before in _needed_by(topology, *step):
            if circle := visit(before):
                return circle
        path.pop()
        state[step] = True
        return ()

    for name in topology.nodes:
        if circle := visit((name, Stage.HEALTHY)):
            return circle
    return ()


def _needed_by(topology: Topology, name: str, stage: Stage) -> list[tuple[str, Stage]]:
    """Give what must be done before `name` can have left `stage`."""
    needed = _waits(topology, name, stage)
    position = _ORDER.index(stage)
    if position:
        needed.append((name, _ORDER[position - 1]))
    if stage is Stage.CREATE_LINKS:
        # A link is made when both its nodes have entered this stage.
        for end in topology.ends_of(name):
            peer = topology.peer_of(name, end.interface)
            if peer:
                needed += [(peer.node, Stage.CREATE), *_waits(topology, peer.node, stage)]
    return needed


def _waits(topology: Topology, name: str, stage: Stage) -> list[tuple[str, Stage]]:
    return [(wait.node, wait.stage) for wait in topology.nodes[name].waits if wait.at is stage]
