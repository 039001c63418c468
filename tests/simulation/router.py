"""A neighbor that damps flapping routes as FRR does by default, fed with the UPDATEs it is sent."""

from __future__ import annotations

from dataclasses import dataclass, field

from anycastd.model.address import Prefix
from anycastd.model.bgp import Route

HALF_LIFE_S = 900.0
SUPPRESS = 2000
STEP_S = 5


@dataclass
class _Path:
    route: Route | None = None
    stale: bool = False
    figure: int = 0
    updated_s: int = 0


@dataclass
class Router:
    """bgpd/bgp_damp.c: decay in whole steps of 5 s, 1000 for a withdrawal, 500 for another route, 0 for a return."""

    paths: dict[Prefix, _Path] = field(default_factory=dict)
    heard: list[tuple[float, str, Route | None]] = field(default_factory=list)
    highest: int = 0
    suppressed: list[str] = field(default_factory=list)
    exempt: set[Prefix] = field(default_factory=set)
    """Prefixes that were never ours, or that their operator took out of the configuration: that is not paced."""

    def update(self, now_s: float, prefix: Prefix, route: Route | None) -> None:
        """Hear an UPDATE; None withdraws."""
        path = self.paths.setdefault(prefix, _Path())
        if path.route != route:
            self.heard.append((now_s, str(prefix), route))
            if path.route is not None and prefix not in self.exempt:
                self._charge(prefix, path, now_s, 1000 if route is None else 500)
        path.route, path.stale = route, False

    def _charge(self, prefix: Prefix, path: _Path, now_s: float, points: int) -> None:
        steps = (int(now_s) - path.updated_s) // STEP_S
        path.figure = int(path.figure * 0.5 ** (steps * STEP_S / HALF_LIFE_S)) + points
        path.updated_s = int(now_s)
        self.highest = max(self.highest, path.figure)
        if path.figure >= SUPPRESS:
            heard = [(at_s, route and len(route.as_path)) for at_s, name, route in self.heard if name == str(prefix)]
            self.suppressed.append(f"{prefix} {path.figure} at {now_s:.0f} s: {heard[-8:]}")

    def session_lost(self) -> None:
        """Keep every route as stale (RFC 4724)."""
        for path in self.paths.values():
            path.stale = True

    def end_of_rib(self) -> None:
        """Drop what was not sent again; that is no withdrawal."""
        for path in self.paths.values():
            if path.stale:
                path.route, path.stale = None, False

    def begin_anew(self, prefix: Prefix) -> None:
        """Forget how a prefix flapped: its operator took it in again, and the daemon has forgotten it too."""
        self.exempt.discard(prefix)
        if prefix in self.paths:
            self.paths[prefix].figure = 0

    def has(self) -> dict[Prefix, Route]:
        """Return the routes in use."""
        return {prefix: path.route for prefix, path in self.paths.items() if path.route is not None}
