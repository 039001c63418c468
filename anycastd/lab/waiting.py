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
    needed = [(wait.node, wait.stage) for wait in topology.nodes[name].waits if wait.at is stage]
    position = _ORDER.index(stage)
    if position:
        needed.append((name, _ORDER[position - 1]))
    if stage is Stage.CREATE_LINKS:
        peers = (topology.peer_of(name, end.interface) for end in topology.ends_of(name))
        needed += [(peer.node, Stage.CREATE) for peer in peers if peer]
    return needed
