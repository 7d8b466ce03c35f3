"""An origin that plays a script: one step in each silence of its stream, and then it is over."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from sync_pipeline.core.landing.passes import Position
from sync_pipeline.core.ports import ChangeHints
from sync_pipeline_tests.fakes.origin import KEYED, FakeOrigin
from sync_pipeline_tests.landing.site import products


@dataclass(slots=True)
class ScriptedOrigin(FakeOrigin):
    """Follows changes.

    Attributes:
        steps: Each may change anything, or raise what the stream then raises.
        is_over: Whether all have been played; ``at_end`` is called then.
    """

    steps: list[Callable[[], None]] = field(default_factory=list)
    is_over: bool = False
    at_end: Callable[[], None] = lambda: None

    @contextmanager
    def follow(self, token: Position | None, *, wait_seconds: float) -> Iterator[Any]:
        """Tell what was set by the steps so far."""
        with FakeOrigin.follow(self, token, wait_seconds=wait_seconds) as stream:
            yield self._told(stream, plays=token is not None)

    def _told(self, stream: Iterator[ChangeHints], *, plays: bool) -> Iterator[ChangeHints]:
        for hints in stream:
            if plays and not hints.keys and hints.needs_full_pass is None:
                self._play()
            yield hints

    def _play(self) -> None:
        if self.steps:
            self.steps.pop(0)()
        elif not self.is_over:
            self.is_over = True
            self.at_end()

    def change(self, *rows: dict[str, Any], gone: tuple[str, ...] = ()) -> None:
        """Change records, and tell of it."""
        self.put(*rows)
        for key in gone:
            del self.records[key]
        keys = frozenset({*gone, *(str(row["id"]) for row in rows)})
        self.hints.append(ChangeHints(keys=keys, token={}))

    def lose(self, reason: str) -> None:
        """Tell that only a full pass helps."""
        self.hints.append(ChangeHints(keys=frozenset(), token={}, needs_full_pass=reason))


def scripted(count: int, *steps: Callable[[], None]) -> ScriptedOrigin:
    """An origin of so many products."""
    origin = ScriptedOrigin(traits=replace(KEYED, follows=True), steps=[*steps])
    origin.put(*products(count))
    return origin
