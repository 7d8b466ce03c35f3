"""A log file that tests write and read."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Logged:
    """Lines of a log file."""

    path: Path

    @property
    def text(self) -> str:
        """All of it."""
        return self.path.read_text(encoding="ascii")

    @property
    def lines(self) -> list[dict[str, Any]]:
        """Each line, which has to be an object."""
        return [json.loads(line) for line in self.text.splitlines()]

    def events(self, *names: str) -> list[dict[str, Any]]:
        """Lines of these events."""
        return [line for line in self.lines if line.get("event") in names]
