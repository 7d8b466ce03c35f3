"""A chain of providers: where one cannot be asked, the next one that gives the same vectors is."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from sync_pipeline.core.canaries import SAME_MODEL_COSINE
from sync_pipeline.core.embedded import Embedded
from sync_pipeline.core.errors import (
    ConfigurationError,
    NoProviderError,
    SyncPipelineError,
    TransientError,
)
from sync_pipeline.core.ports import Breakers, Embedder, ModelCanariesReader
from sync_pipeline.core.spending import Tariff
from sync_pipeline.engine.canaries import CHECKED_FOR_SECONDS, measure_canaries, require_agreement
from sync_pipeline.engine.embedders import StandingFor
from sync_pipeline.engine.metering import Meter

_log: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Link:
    """One provider of a chain."""

    name: str
    """For people, and for its breaker."""
    embedder: Embedder


class ChainEmbedder(StandingFor):
    """The first provider of a chain, or while it cannot be asked another one of the same model.

    Another one is used only where its canary vectors agree with those recorded of the model, so
    nothing else ever comes into its collection. A provider that fails is left alone for a while,
    by all processes together.

    Args:
        links: In their order; the first one's model it is.
        breakers: Who is asked.
        canaries: What the model's vectors are.
        meter: What books the comparisons. For documents they are kept within the budgets; a search
            is never refused.
        seconds: A clock, for how long a comparison holds.
    """

    def __init__(
        self,
        links: Sequence[Link],
        *,
        breakers: Breakers,
        canaries: ModelCanariesReader,
        meter: Meter,
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(links[0].embedder)
        self.links = tuple(links)
        self.breakers = breakers
        self._canaries = canaries
        # What the call itself has reserved is in the way until it ends: nobody waits for that.
        self._meter = replace(meter, longest_wait_seconds=0.0)
        self._seconds = seconds
        self._compared_at: dict[str, float] = {}
        everyone = [link.embedder for link in links]
        self.max_batch = min(embedder.max_batch for embedder in everyone)
        sizes = [it.max_batch_bytes for it in everyone if it.max_batch_bytes is not None]
        self.max_batch_bytes = min(sizes, default=None)
        self.tariff = _dearest([embedder.tariff for embedder in everyone])

    def embed(self, texts: Sequence[str]) -> Embedded:
        """See ``Embedder``.

        Raises:
            NoProviderError: nobody can be asked now.
            BudgetExceededError: what is left does not admit the comparison with another provider.
        """
        return self._first(lambda embedder: embedder.embed(texts), meter=self._meter)

    def embed_queries(self, texts: Sequence[str]) -> Embedded:
        """See ``Embedder``, and ``embed``; no budget is in the way."""
        meter = replace(self._meter, is_limiting=False)
        return self._first(lambda embedder: embedder.embed_queries(texts), meter=meter)

    def most_tokens(self, texts: Sequence[str]) -> int:
        """Of whoever takes most."""
        return max(link.embedder.most_tokens(texts) for link in self.links)

    def _first(self, ask: Callable[[Embedder], Embedded], *, meter: Meter) -> Embedded:
        """The answer of the first provider that gives one."""
        reasons: list[str] = []
        lost = 0
        for link in self.links:
            if self._is_another_model(link):
                continue
            if not self.breakers.may_ask(link.name):
                reasons.append(f"{link.name} is not asked for a while after it failed")
                continue
            is_compared = link is self.links[0]
            try:
                if not is_compared:
                    self._require_same_model(link, meter)
                    is_compared = True
                answer = ask(link.embedder)
            except (TransientError, ConfigurationError) as error:
                # Those of a comparison are booked already.
                lost += getattr(error, "unanswered_calls", 0) if is_compared else 0
                reasons.append(f"{link.name}: {error.what.strip().removesuffix('.')}")
                self._note_failure(link, error)
                continue
            self.breakers.note_success(link.name)
            tariff = answer.tariff or link.embedder.tariff
            return replace(answer, tariff=tariff, unanswered_calls=answer.unanswered_calls + lost)
        raise NoProviderError(
            providers=[link.name for link in self.links], reasons=reasons, unanswered_calls=lost
        )

    def _is_another_model(self, link: Link) -> bool:
        """Whether a provider was found out to have another model: that one stands by."""
        if link is self.links[0]:
            return False
        known = self._canaries.known_as(model_id=link.embedder.model_id)
        return known is not None and known != self._known_as()

    def _known_as(self) -> str:
        return self._canaries.known_as(model_id=self.model_id) or self.model_id

    def _note_failure(self, link: Link, error: SyncPipelineError) -> None:
        _log.warning("%s cannot be asked: %s", link.name, error)
        self.breakers.note_failure(
            link.name,
            error_code=type(error).__name__,
            error=str(error),
            wait_seconds=error.retry_after_seconds if isinstance(error, TransientError) else None,
            is_lasting=isinstance(error, ConfigurationError),
        )

    def _require_same_model(self, link: Link, meter: Meter) -> None:
        """Compare a provider's vectors with those of the model, again after some minutes.

        Raises:
            ConfigurationError: they are others, or nothing is recorded to compare them with.
        """
        now = self._seconds()
        if now - self._compared_at.get(link.name, float("-inf")) < CHECKED_FOR_SECONDS:
            return
        model_id = self._known_as()
        reference = self._canaries.reference(model_id=model_id)
        if not reference:
            raise ConfigurationError(
                f"nothing is recorded of the model {model_id!r}, so nobody knows whether "
                f"{link.name} gives the same vectors; it is used once the first provider has "
                "embedded something"
            )
        require_agreement(
            reference,
            measure_canaries(meter.on_all(link.embedder)),
            model_id=model_id,
            with_what="its recorded canary vectors",
            tolerance=SAME_MODEL_COSINE,
            with_queries=True,
        )
        self._compared_at[link.name] = now
        _log.warning("%s gives the vectors of %s and is asked instead", link.name, model_id)


def _dearest(tariffs: Sequence[Tariff]) -> Tariff:
    """What a call costs at most, whoever answers it."""
    prices = [it.price_per_million_tokens for it in tariffs if it.price_per_million_tokens]
    return Tariff(
        price_per_million_tokens=max(prices, default=None),
        is_service=any(tariff.is_service for tariff in tariffs),
    )
