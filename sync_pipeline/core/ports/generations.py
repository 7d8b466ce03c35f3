"""What we remember of physical collections (of ``database``)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from sync_pipeline.core.point import CollectionSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationRecord:
    """What is recorded of one collection; which one the alias serves, the store says."""

    collection: str
    alias: str
    model_id: str
    views: tuple[str, ...]
    sparse_id: str
    description: str
    """One line for people, as ``CollectionSpec.describe`` says it."""
    recipe: Mapping[str, object] | None
    """Settings that its documents and queries are embedded with, without secrets; None where
    a release recorded it that kept none."""
    created_at: datetime
    served_at: datetime | None
    """When the alias first pointed at it; None while it never has."""
    retired_at: datetime | None
    """When another one took its place; None while it serves, and before."""
    refusal: str | None
    """Why it did not go live when that was last tried; None where nothing stood in the way."""
    view_models: Mapping[str, str] = field(default_factory=dict)
    """Model ids of the views that are not simply one vector of ``model_id``."""

    @property
    def is_serving(self) -> bool:
        """Whether the alias points at it, as far as is recorded."""
        return self.served_at is not None and self.retired_at is None


class GenerationsReader(Protocol):
    """Physical collections of all aliases, to be read."""

    def list_all(self, *, alias: str) -> list[GenerationRecord]:
        """Those of one alias, oldest first."""

    def describe(self, collection: str) -> str | None:
        """What a collection was built with, as ``CollectionSpec.describe`` says it, if known."""


class Generations(GenerationsReader, Protocol):
    """The same, to be written."""

    def record(self, spec: CollectionSpec, *, recipe: Mapping[str, object]) -> None:
        """Note a collection and its recipe; writes nothing where that is recorded already."""

    def note_serving(self, *, alias: str, collection: str) -> None:
        """Note that the alias points at a collection: the one before it is retired now.

        Writes nothing where that is recorded already.
        """

    def note_refusal(self, *, collection: str, reason: str | None) -> None:
        """Note why a collection did not go live; None: nothing stands in the way any more."""

    def forget(self, *, collection: str) -> None:
        """Remove a collection's record; one that has none is not an error."""
