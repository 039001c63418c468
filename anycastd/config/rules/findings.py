"""What the rules look at and where they note what they find."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from anycastd.config.build.expand import pairs
from anycastd.config.document import Path
from anycastd.config.schema.checks import CheckUse
from anycastd.config.schema.prefixes import PrefixSection
from anycastd.config.schema.regions import TunnelSection
from anycastd.config.schema.root import Root
from anycastd.config.validate import Draft
from anycastd.config.values.net import read_host_address, read_prefix
from anycastd.errors import Problem
from anycastd.model.address import Address, Prefix


@dataclass(slots=True)
class Findings:
    """The valid parts of a file, and the errors and warnings found so far."""

    draft: Draft
    root: Root
    errors: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)
    # read once: there may be ten thousand
    _eips: tuple[tuple[str, Address], ...] | None = None

    def error(self, path: Path, message: str, *, at_key: bool = False) -> None:
        """Note a mistake that refuses the file."""
        self.errors.append(self.draft.document.problem(path, message, at_key=at_key))

    def warn(self, path: Path, message: str, *, at_key: bool = False) -> None:
        """Note what works but is probably not meant."""
        self.warnings.append(self.draft.document.problem(path, message, at_key=at_key))

    def whole(self, *path: str) -> bool:
        """Return whether nothing at or below a path was left out for a mistake."""
        return not any(dropped[: len(path)] == path for dropped in self.draft.dropped)

    def has(self, path: Path) -> bool:
        """Return whether a path is written in the file."""
        return path in self.draft.document.keys or path in self.draft.document.values

    def tunnels(self) -> Iterator[tuple[Path, str, TunnelSection]]:
        """Yield each valid tunnel: its path, its id, and what is written."""
        for region, section in self.root.regions.items():
            for name, tunnel in section.tunnels.items():
                yield ("regions", region, "tunnels", name), f"{region}/{name}", tunnel

    def prefixes(self) -> Iterator[tuple[Path, Prefix, PrefixSection]]:
        """Yield each valid prefix with the path of its first spelling."""
        spelled: dict[Prefix, str] = {}
        for text, prefix in self.spellings():
            spelled.setdefault(prefix, text)
        for prefix, section in self.root.prefixes.items():
            yield ("prefixes", spelled[prefix]), prefix, section

    def spellings(self) -> Iterator[tuple[str, Prefix]]:
        """Yield each prefix that can be one as written, and what it is."""
        for text in self.draft.written("prefixes"):
            try:
                yield text, read_prefix(text)
            except ValueError:
                continue

    def eip_spellings(self) -> tuple[tuple[str, Address], ...]:
        """Return each EIP's address that can be one as written, and what it is."""
        if self._eips is None:
            self._eips = tuple(_addresses(self.draft.written("eips")))
        return self._eips

    def eip_paths(self) -> dict[Address, Path]:
        """Return the path of each EIP's first spelling."""
        return {address: ("eips", text) for text, address in reversed(self.eip_spellings())}

    def uses(self) -> Iterator[tuple[Path, CheckUse]]:
        """Yield every place where a check is used."""
        for region, section in self.root.regions.items():
            for kind, targets in (("tunnels", section.tunnels), ("backends", section.backends)):
                for name, target in targets.items():
                    for number, use in enumerate(target.checks):
                        yield ("regions", region, kind, name, "checks", number), use
        for name, tested in self.root.self_test.targets.items():
            for number, use in enumerate(tested.checks):
                yield ("self_test", "targets", name, "checks", number), use


def _addresses(texts: Iterable[str]) -> Iterator[tuple[str, Address]]:
    for text in texts:
        try:
            yield text, read_host_address(text)
        except ValueError:
            continue


def versions(tunnel: TunnelSection) -> frozenset[int]:
    """Return the address families (4, 6) that a tunnel carries."""
    return frozenset(local.version for local, _ in pairs(tunnel))
