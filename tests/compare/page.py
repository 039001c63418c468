"""What was found, as a table of docs/comparison.md."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

BEGIN, END = "<!-- measured -->", "<!-- /measured -->"


@dataclass
class Findings:
    """Fault -> announcer -> what was seen."""

    rows: dict[str, dict[str, str]] = field(default_factory=dict)
    about: str = ""
    """When it was, and with what."""

    def add(self, fault: str, who: str, seen: str) -> None:
        """Take one finding."""
        self.rows.setdefault(fault, {})[who] = seen
        print(f"{fault}: {who}: {seen}")

    def table(self) -> str:
        """Return it in Markdown."""
        names = list(dict.fromkeys(name for row in self.rows.values() for name in row))
        lines = [f"| fault | {' | '.join(names)} |", f"|---|{'---|' * len(names)}"]
        for fault, row in self.rows.items():
            lines.append(f"| {fault} | {' | '.join(row.get(name, '-') for name in names)} |")
        return "\n".join(lines)

    def write(self, pages: str | None) -> None:
        """Put it in its place of each page; their names have colons between them."""
        if pages is None or not self.rows:
            return
        new = f"{BEGIN}\n{self.table()}\n\n{self.about}\n{END}"
        for path in map(Path, pages.split(":")):
            text = path.read_text(encoding="utf-8")
            path.write_text(re.sub(f"{BEGIN}.*{END}", lambda _: new, text, flags=re.DOTALL), encoding="utf-8")
