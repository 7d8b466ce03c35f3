"""Completing what somebody types, by the words of documents alone."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from sync_pipeline.core.point import MAX_PREFIX
from sync_pipeline.core.scope import Scope
from sync_pipeline.engine.questions.sight import leaving_out_departed, require_own
from sync_pipeline.engine.reading import Reading
from sync_pipeline.engine.roles import serving

MAX_WORDS: Final = 200
"""Words of what was typed that count; the first ones."""
CANDIDATES: Final = 100
"""Documents looked at for one answer: those of a single letter are too many to rank them all."""


def suggest(sync: Reading, *, scope: Scope, typed: str, limit: int) -> list[str]:
    """Texts of visible documents that have, for each word typed, a word that begins with it.

    Raises:
        IsolationError: the index returned a document of another scope; nothing is returned.
    """
    words = re.findall(r"\w+", typed)[:MAX_WORDS]
    if not words:
        return []
    served = serving(sync)
    if served is None:
        return []
    with leaving_out_departed(served, scope) as present, served.index() as index:
        points = index.complete(
            " ".join(word[:MAX_PREFIX] for word in words),
            scope_keys=scope.visible_keys,
            entity_types=served.entity_names,
            limit=CANDIDATES,
        )
        require_own(scope, points)
        points = present(points)
    return rank_completions([point.text for point in points], typed=typed, limit=limit)


def rank_completions(texts: Sequence[str], *, typed: str, limit: int) -> list[str]:
    """Different texts, those that begin as typed first, then those that have it earlier, shorter.

    Args:
        texts: Of documents.
        typed: What was typed so far.
        limit: Most of them.
    """
    wanted = " ".join(typed.split()).casefold()

    def rank(text: str) -> tuple[int, int, str]:
        place = text.casefold().find(wanted)
        return (place if place >= 0 else len(text), len(text), text)

    return sorted(dict.fromkeys(texts), key=rank)[:limit]
