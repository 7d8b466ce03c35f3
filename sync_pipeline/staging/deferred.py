"""A staging area whose libraries are loaded when something is staged: a search stages nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

    from sync_pipeline.core.ports import Dataset, DatasetWriter, StagingArea


class DeferredStaging:
    """``StagingArea`` that is made at its first use.

    Args:
        make: Makes the one that does the work; it must not fail.
    """

    def __init__(self, make: Callable[[], StagingArea]) -> None:
        self._make = make

    @cached_property
    def _area(self) -> StagingArea:
        return self._make()

    @property
    def location(self) -> str:
        """Where it is, for people; nothing secret."""
        return self._area.location

    def open_writer(
        self, name: str, *, schema: pa.Schema, parts: int
    ) -> AbstractContextManager[DatasetWriter]:
        """Write a dataset."""
        return self._area.open_writer(name, schema=schema, parts=parts)

    def open_dataset(self, name: str) -> Dataset:
        """Read a dataset back."""
        return self._area.open_dataset(name)

    def delete(self, name: str) -> None:
        """Remove a dataset."""
        self._area.delete(name)

    def write_manifest(self, name: str, values: Mapping[str, Any]) -> None:
        """Keep a small JSON object."""
        self._area.write_manifest(name, values)

    def read_manifest(self, name: str) -> dict[str, Any] | None:
        """Read a manifest back."""
        return self._area.read_manifest(name)
