"""Which prefixes and EIPs are under attack, for the control loop: by what is seen, and by configuration."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from ipaddress import ip_network

from anycastd.model.absorb import AbsorbHolds
from anycastd.model.address import Address, Prefix
from anycastd.model.attack import AttackState, AttackView, Standing
from anycastd.model.decision import Truth
from anycastd.model.topology import Config
from anycastd.model.traffic import Sample
from anycastd.policy.capacity import room_elsewhere

NAMED = 3


class UnderAttack:
    """Keeps the last view. `carried_bps` is what moves when a prefix leaves, `loads_bps` what other POPs say.

    Both are asked only while an attack is on.
    """

    def __init__(self) -> None:
        self.carried_bps: Callable[[], float | None] = lambda: None
        self.loads_bps: Callable[[], Mapping[str, float]] = dict
        self.view = AttackView()
        self.newest: Callable[[], AttackView] = lambda: self.view
        """Gives the rates of this moment; `view` is of the last change."""
        self._words: dict[Prefix, str] = {}
        self._of: Config | None = None

    def take(self, view: AttackView, config: Config) -> Collection[Prefix]:
        """Take what is seen now; return the prefixes that are to be decided anew."""
        before, self.view = self._words, view
        self._words, self._of = attacked_prefixes(view, config), config
        changed = [p for p in {**before, **self._words} if before.get(p) != self._words.get(p)]
        return [p for p in changed if p in config.prefixes]

    def ask(self, sample: Callable[[], Sample | None], loads_bps: Callable[[], Mapping[str, float]]) -> None:
        """Ask these what we carry, and what other POPs say that they do."""
        self.carried_bps, self.loads_bps = lambda: busier_bps(sample()), loads_bps

    @property
    def eips(self) -> Collection[Address]:
        """Return the EIPs that are under attack now."""
        return {address for address, one in self.view.eips.items() if one.state is AttackState.ATTACK}

    def facts(self, prefix: Prefix, config: Config) -> tuple[str, AbsorbHolds | None, Truth, str]:
        """Return why an attack is on for a prefix, what is held then, and whether others have room."""
        absorb = config.attack.absorb
        if not absorb.enabled:
            return "", None, Truth.UNKNOWN, ""
        if self._of is not config:
            # a reload in the middle of an attack: its prefixes may be others
            self._words, self._of = attacked_prefixes(self.view, config), config
        words = self._words.get(prefix, "")
        if not words:
            return "", absorb.holds, Truth.UNKNOWN, ""
        carried_bps = self.carried_bps()
        if carried_bps is not None:
            # what is dropped here moves as well
            carried_bps = max(carried_bps, self.newest().pop.rate.bits)
        room = room_elsewhere(config.safety.capacity, carried_bps, self.loads_bps())
        return words, absorb.holds, *room


def busier_bps(sample: Sample | None) -> float | None:
    """Return what the POP carries in its busier direction; None while that was not measured."""
    return None if sample is None or not sample.interval_s else max(sample.pop_rates.in_bps, sample.pop_rates.out_bps)


def attacked_prefixes(view: AttackView, config: Config) -> dict[Prefix, str]:
    """Return the prefixes under attack, each with the words for it: the EIPs within, or the POP as a whole."""
    found: dict[Prefix, list[str]] = {}
    if view.pop.state is AttackState.ATTACK:
        words = _why("the POP", view.pop)
        found = {prefix: [words] for prefix in config.prefixes}
    for address, standing in view.eips.items():
        if standing.state is AttackState.ATTACK:
            whole = ip_network(address)
            for length in range(whole.prefixlen + 1):
                prefix = whole.supernet(new_prefix=length)
                if prefix in config.prefixes:
                    found.setdefault(prefix, []).append(_why(str(address), standing))
    return {prefix: _listed(words) for prefix, words in found.items()}


def _why(what: str, standing: Standing) -> str:
    return f"{what} ({', '.join(reason.value for reason in standing.reasons) or 'attack'})"


def _listed(words: list[str]) -> str:
    more = f" and {len(words) - NAMED} more" if len(words) > NAMED else ""
    return f"an attack is on: {', '.join(words[:NAMED])}{more}"
