"""Which failed documents are to be tried again."""

from __future__ import annotations

from sync_pipeline.engine.reading import Reading
from sync_pipeline.engine.roles import beside


def due_retries(sync: Reading) -> dict[str, int]:
    """Per scope key the failed documents whose next try has come, in all generations.

    A document that failed in two of them counts once: a sync tries both.
    """
    due: dict[str, int] = {}
    for each in (sync, *beside(sync)):
        counts = each.state.count_due_retries(entity_types=each.entity_names)
        for key, number in counts.items():
            due[key] = max(number, due.get(key, 0))
    return due
