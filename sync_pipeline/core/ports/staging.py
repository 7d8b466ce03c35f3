"""What steps hand to each other (the contract of ``staging``)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import pyarrow as pa


class Dataset(Protocol):
    """Staged rows, cut into parts by ranges of point id."""

    parts: int

    def read(self, part: int, *, columns: Sequence[str] | None = None) -> pa.Table:
        """One part as a table."""

    def iter_batches(self, part: int, *, batch_size: int) -> Iterator[pa.RecordBatch]:
        """One part in batches, in the order written."""


class DatasetWriter(Protocol):
    """Writes one dataset; it exists only once ``close`` has returned."""

    def write(self, part: int, table: pa.Table) -> None:
        """Append rows to a part."""


class StagingArea(Protocol):
    """Hand-over between steps: Parquet in a folder or an object store.

    A name is any text; ``/`` makes folders of it, and no component may be empty.
    """

    @property
    def location(self) -> str:
        """Where it is, for people; nothing secret."""

    def open_writer(
        self, name: str, *, schema: pa.Schema, parts: int
    ) -> AbstractContextManager[DatasetWriter]:
        """Write a dataset under a name; an existing one is replaced when the ``with`` ends well."""

    def open_dataset(self, name: str) -> Dataset:
        """Read a dataset back.

        Raises:
            PermanentError: it is missing or damaged; run the step before it again.
        """

    def delete(self, name: str) -> None:
        """Remove a dataset, its manifest and all names below it; a missing one is not an error."""

    def write_manifest(self, name: str, values: Mapping[str, Any]) -> None:
        """Keep a small JSON object under a name, replacing an older one in one atomic step."""

    def read_manifest(self, name: str) -> dict[str, Any] | None:
        """Read a manifest back, None where there is none.

        Raises:
            PermanentError: it is damaged; run the step that wrote it again.
        """
