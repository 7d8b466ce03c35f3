"""The models of a generation, and models that stand for others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from sync_pipeline.core.embedded import Embedded
from sync_pipeline.core.ports import Embedder
from sync_pipeline.core.spending import Tariff
from sync_pipeline.core.vocabulary import TokenCount


@dataclass(frozen=True, slots=True)
class Models:
    """The model of each view: one for all of them, but for views that have their own."""

    main: Embedder
    own: Mapping[str, Embedder] = field(default_factory=dict)
    """By view."""

    def of(self, view: str) -> Embedder:
        """The model of a view."""
        return self.own.get(view, self.main)

    def among(self, views: Sequence[str]) -> dict[str, Embedder]:
        """The models that these views use, by id, each once, in the order of the views."""
        return {model.model_id: model for model in map(self.of, views)}

    def each(self, change: Callable[[Embedder], Embedder]) -> Models:
        """The same with every model changed, each once, however many views use it."""
        changed: dict[int, Embedder] = {}

        def once(model: Embedder) -> Embedder:
            if id(model) not in changed:
                changed[id(model)] = change(model)
            return changed[id(model)]

        main = once(self.main)
        own = {view: once(model) for view, model in self.own.items()}
        is_same = main is self.main and all(own[view] is it for view, it in self.own.items())
        return self if is_same else Models(main, own)


class StandingFor:
    """An ``Embedder`` that does what another one does; for those that differ from it in little."""

    def __init__(self, embedder: Embedder) -> None:
        self.max_batch = embedder.max_batch
        self.max_batch_bytes = embedder.max_batch_bytes
        self.concurrency = embedder.concurrency
        self.tariff = embedder.tariff
        self.by_batch = embedder.by_batch
        self._embedder = embedder

    @property
    def model_id(self) -> str:
        """See ``Embedder``."""
        return self._embedder.model_id

    @property
    def dimension(self) -> int:
        """See ``Embedder``."""
        return self._embedder.dimension

    def embed(self, texts: Sequence[str]) -> Embedded:
        """See ``Embedder``."""
        return self._embedder.embed(texts)

    def embed_queries(self, texts: Sequence[str]) -> Embedded:
        """See ``Embedder``."""
        return self._embedder.embed_queries(texts)

    def find_truncated(self, texts: Sequence[str]) -> list[bool]:
        """See ``Embedder``."""
        return self._embedder.find_truncated(texts)

    def count_tokens(self, texts: Sequence[str]) -> int:
        """See ``Embedder``."""
        return self._embedder.count_tokens(texts)

    def most_tokens(self, texts: Sequence[str]) -> int:
        """See ``Embedder``."""
        return self._embedder.most_tokens(texts)

    def count_unknown(self, texts: Sequence[str]) -> list[TokenCount]:
        """See ``Embedder``."""
        return self._embedder.count_unknown(texts)


class KnownEmbedder(StandingFor):
    """An embedder under the id by which its vectors are known.

    So a model under a new name keeps cache, embed hashes and collection of the old one.
    """

    def __init__(self, embedder: Embedder, *, model_id: str) -> None:
        super().__init__(embedder)
        self._model_id = model_id

    @property
    def model_id(self) -> str:
        """The id that it is known by."""
        return self._model_id


class PricedEmbedder(StandingFor):
    """An embedder whose tokens cost something."""

    def __init__(self, embedder: Embedder, *, tariff: Tariff) -> None:
        super().__init__(embedder)
        self.tariff = tariff
