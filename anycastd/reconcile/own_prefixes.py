"""Which addresses are ours: configured prefixes, and those that left the configuration a while ago. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from anycastd.model.address import Address, Prefix
from anycastd.model.nft import Elements
from anycastd.model.topology import PrefixSpec, PrefixTimers
from anycastd.policy.elements import SETS, of_prefixes
from anycastd.reconcile.wanted import WantedElements


class OwnPrefixes:
    """Prefixes whose packets are ours to judge. One that left the file goes on for its linger time (I5)."""

    def __init__(self, wanted: WantedElements) -> None:
        self._wanted = wanted
        self._configured: Mapping[Prefix, PrefixSpec] = {}
        self._until_s: dict[Prefix, float] = {}
        self._ours: frozenset[Prefix] = frozenset()
        self._networks: dict[tuple[int, int], dict[int, Prefix]] = {}

    def __contains__(self, address: Address) -> bool:
        return next(self._around(address), None) is not None

    def _around(self, address: Address) -> Iterator[Prefix]:
        number, bits = int(address), address.max_prefixlen
        for (version, length), networks in self._networks.items():
            if version == address.version and (found := networks.get(number >> (bits - length))) is not None:
                yield found

    def is_there(self, address: Address, observed: Elements) -> bool:
        """Return whether the kernel takes the packets of an address for ours."""
        there = observed.get(SETS[address.version].own, {})
        return any(prefix in there for prefix in self._around(address))

    def configure(self, prefixes: Mapping[Prefix, PrefixSpec], now_s: float) -> bool:
        """Take the configured prefixes; return whether other addresses are ours than before."""
        for prefix, spec in self._configured.items():
            if prefix not in prefixes:
                self._until_s[prefix] = now_s + spec.timers.linger_s
        self._configured = prefixes
        return self.wake(now_s)

    def keep(self, prefixes: Iterable[Prefix], now_s: float) -> bool:
        """Go on with prefixes found in the kernel that are perhaps still announced, for the default linger time."""
        for prefix in prefixes:
            if prefix not in self._configured:
                self._until_s[prefix] = now_s + PrefixTimers().linger_s
        return self.wake(now_s)

    def wake(self, now_s: float) -> bool:
        """Let go of what lingered long enough; return whether other addresses are ours than before."""
        self._until_s = {
            prefix: end for prefix, end in self._until_s.items() if end > now_s and prefix not in self._configured
        }
        ours = frozenset(self._configured) | frozenset(self._until_s)
        if ours == self._ours:
            return False
        self._wanted.change(of_prefixes(self._ours), of_prefixes(ours))
        self._ours, self._networks = ours, {}
        for prefix in ours:
            network = int(prefix.network_address) >> (prefix.max_prefixlen - prefix.prefixlen)
            self._networks.setdefault((prefix.version, prefix.prefixlen), {})[network] = prefix
        return True

    def next_s(self) -> float | None:
        """Return when a lingering prefix may go."""
        return min(self._until_s.values(), default=None)
