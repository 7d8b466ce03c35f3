"""Which providers of embeddings are asked."""

from __future__ import annotations

from sync_pipeline.engine.reading import Reading


def unasked_providers(sync: Reading) -> list[str]:
    """Which providers of the chain are left alone for a while, and why."""
    if not sync.providers:
        return []
    now = sync.now()
    breakers = sync.breakers.list_all(sync.providers)
    return [it.told(now=now) for it in breakers if it.retry_at is not None]
