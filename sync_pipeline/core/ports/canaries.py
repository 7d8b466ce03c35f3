"""What is known of models by their canary vectors (of ``database``)."""

from __future__ import annotations

from typing import Protocol

from sync_pipeline.core.canaries import Canaries


class ModelCanariesReader(Protocol):
    """Per model id its canary vectors, to be read."""

    def known_as(self, *, model_id: str) -> str | None:
        """The id under which the vectors of a model are kept; None where it is not recorded.

        Its own, or that of the model that it was recognised as.
        """

    def names_of(self, *, model_id: str) -> list[str]:
        """Other ids that were recognised as this model, sorted."""

    def reference(self, *, model_id: str) -> Canaries:
        """Canary vectors as they were recorded; none where the model is not."""

    def is_worth_comparing(self, *, model_id: str, dimension: int) -> bool:
        """Whether a model may be one that is known under another id.

        It may not where it is recorded, has cached vectors or a collection of its own, or where
        no other model with vectors of this length is recorded.
        """


class ModelCanaries(ModelCanariesReader, Protocol):
    """Per model id its canary vectors, and which model it is under another name.

    A model is recorded once; what is recorded of it never changes, but for the vector of
    the canary that is embedded as a search text (``replace``).
    """

    def record(self, *, model_id: str, canaries: Canaries) -> str:
        """Record a model, as another one under a new name where their canaries agree.

        Two processes that record at once get the same answer. A model with cached vectors or a
        collection of its own is no other one: they would be lost to it.

        Args:
            model_id: Its own id; where it is recorded already nothing is written.
            canaries: At least one, each of the model's dimension.

        Returns:
            The id under which its vectors are kept, see ``known_as``.
        """

    def replace(self, *, model_id: str, canaries: Canaries) -> None:
        """Put these vectors in the place of those recorded, or beside them."""
