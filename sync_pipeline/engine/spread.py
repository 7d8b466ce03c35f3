"""Writing documents into the parts that their point ids fall into, in bounded memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import pyarrow as pa

from sync_pipeline.core.ports import StagingArea
from sync_pipeline.engine.staged import split_by_part

MAX_FAN_OUT: Final = 256
"""Most parts that rows arriving in any order are written into at once."""

_BATCH_ROWS: Final = 4096

Write = Callable[[pa.Table], None]
"""Writes documents, whatever parts they fall into."""


@contextmanager
def open_parts(
    staging: StagingArea,
    name: str,
    *,
    schema: pa.Schema,
    parts: int,
    checkpoint: Callable[[], None],
) -> Iterator[Write]:
    """Write a dataset of any number of parts from documents in any order.

    All parts that are written at once share a buffer of some megabytes: into 10,000 of
    them it would go in files of a few hundred bytes each. So where there are many, the
    documents go into about a square root as many coarse parts first, and from each of
    those into its own fine ones. That costs one more writing and reading of them.

    Args:
        staging: Where to.
        name: Of the dataset; it exists only once the ``with`` has ended well.
        schema: Its columns, ``point_id`` among them.
        parts: How many ranges of point ids.
        checkpoint: Called between batches; raises where to stop.
    """
    if parts <= MAX_FAN_OUT:
        with staging.open_writer(name, schema=schema, parts=parts) as writer:

            def write(table: pa.Table) -> None:
                for part, rows in split_by_part(table, parts=parts):
                    writer.write(part, rows)

            yield write
        return
    width = math.isqrt(parts)
    coarse_parts = -(-parts // width)
    coarse = f"{name}_coarse"
    with staging.open_writer(coarse, schema=schema, parts=coarse_parts) as rough:

        def write_coarse(table: pa.Table) -> None:
            for part, rows in split_by_part(table, parts=parts, width=width):
                rough.write(part, rows)

        yield write_coarse
    dataset = staging.open_dataset(coarse)
    with staging.open_writer(name, schema=schema, parts=parts) as fine:
        for number in range(coarse_parts):
            for batch in dataset.iter_batches(number, batch_size=_BATCH_ROWS):
                for part, rows in split_by_part(pa.Table.from_batches([batch]), parts=parts):
                    fine.write(part, rows)
                checkpoint()
    staging.delete(coarse)
