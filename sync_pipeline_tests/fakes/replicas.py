"""Copies of every collection that can lag behind: what a Qdrant cluster is to those who ask it.

Reads are joined as the server does it (`shards/resolve.rs`): an item counts where as many of
the copies that were asked say exactly the same, so that a point which some have in an older form
is not read at all. Without an agreement one copy answers, any of them.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from statistics import median_high
from typing import Any, Literal, TypeVar

from qdrant_client import QdrantClient, models

T = TypeVar("T")

Condition = Literal["all", "majority"]
"""How many of the answers have to say the same."""
Act = Callable[[QdrantClient], T]


class TooFewReplicasError(Exception):
    """The server answers 500: fewer copies than were asked for can do it."""


class Replicas:
    """One client in memory per copy.

    Args:
        count: How many.
    """

    def __init__(self, count: int) -> None:
        self.clients = [QdrantClient(":memory:") for _ in range(count)]
        self._waiting: dict[int, list[Act[object]]] = {}
        self._down: set[int] = set()
        self._random = random.Random(13)  # noqa: S311 - which copy answers

    def lag(self, *numbers: int) -> None:
        """From now on these copies keep writes for later, and answer from what they have."""
        for number in numbers:
            self._waiting.setdefault(number, [])

    def catch_up(self) -> None:
        """Let all copies carry out what they kept."""
        waiting, self._waiting = self._waiting, {}
        for number, acts in waiting.items():
            for act in acts:
                act(self.clients[number])

    def stop(self, *numbers: int) -> None:
        """Let the nodes of these copies be down: they answer nothing, and keep writes for later."""
        self.lag(*numbers)
        self._down.update(numbers)

    def is_up(self, number: int) -> bool:
        """Whether the node of a copy answers."""
        return number not in self._down

    def start(self) -> None:
        """Let all nodes be there again, and caught up."""
        self._down.clear()
        self.catch_up()

    def everywhere(self, act: Act[T]) -> T:
        """What all nodes agree on before it is answered: collections, aliases, indexes."""
        first, *_ = [act(client) for client in self.clients]
        return first

    def write(self, act: Act[T], *, factor: int) -> T:
        """Send a write to every copy.

        Raises:
            TooFewReplicasError: fewer than ``factor`` have it now. What is done stays done.
        """
        results: list[T] = []
        for number, client in enumerate(self.clients):
            if number in self._waiting:
                self._waiting[number].append(act)
            else:
                results.append(act(client))
        if len(results) < min(factor, len(self.clients)):
            raise TooFewReplicasError(
                f"{len(self._waiting)} out of {len(self.clients)} shards failed to apply operation"
            )
        return results[0]

    def read(
        self,
        act: Act[T],
        *,
        consistency: models.ReadConsistency | None,
        join: Callable[[Sequence[T], Condition], T],
    ) -> T:
        """Ask as many copies as have to agree.

        Args:
            act: Asks one.
            consistency: As a request says it.
            join: Makes one answer of several; told whether most of them decide, or all.

        Raises:
            TooFewReplicasError: not so many can be asked.
        """
        awake = [it for number, it in enumerate(self.clients) if number not in self._down]
        count = len(self.clients)
        majority = models.ReadConsistencyType.MAJORITY
        match consistency:
            case None:
                wanted = 1
            case int():
                wanted = min(consistency, count)
            case models.ReadConsistencyType.QUORUM:
                wanted = count // 2 + 1
            case _:
                wanted = count
        if len(awake) < wanted:
            raise TooFewReplicasError("The replica set does not have enough active replicas")
        asked = self._random.sample(awake, wanted)
        return join(
            [act(client) for client in asked], "majority" if consistency == majority else "all"
        )

    def close(self) -> None:
        """Close the clients."""
        for client in self.clients:
            client.close()


def agreed(lists: Sequence[Sequence[Any]], condition: Condition) -> list[Any]:
    """Records or hits that enough of the lists have in the same form, in their order."""
    if len(lists) == 1:
        return list(lists[0])
    needed = _needed(lists, condition)
    counts = Counter(_text(item) for items in lists for item in items)
    places = {_text(item): place for items in lists for place, item in enumerate(items)}
    every = {_text(item): item for items in lists for item in items}
    known = [text for text in every if counts[text] >= needed]
    return [every[text] for text in sorted(known, key=places.__getitem__)]


def agreed_count(counts: Sequence[models.CountResult], condition: Condition) -> models.CountResult:
    """The middle one, the upper of two; or the least where all have to agree."""
    numbers = [count.count for count in counts]
    return models.CountResult(
        count=median_high(numbers) if condition == "majority" else min(numbers)
    )


def agreed_facets(
    answers: Sequence[models.FacetResponse], condition: Condition
) -> models.FacetResponse:
    """The same per value, of values that enough of the answers have."""
    told: dict[Any, list[models.CountResult]] = defaultdict(list)
    for hit in (hit for answer in answers for hit in answer.hits):
        told[hit.value].append(models.CountResult(count=hit.count))
    needed = _needed(answers, condition)
    hits = [
        models.FacetValueHit(value=value, count=agreed_count(counts, condition).count)
        for value, counts in told.items()
        if len(counts) >= needed
    ]
    return models.FacetResponse(hits=sorted(hits, key=lambda hit: -hit.count))


def _needed(answers: Sequence[object], condition: Condition) -> int:
    return len(answers) // 2 + 1 if condition == "majority" else len(answers)


def _text(item: Any) -> str:
    return str(item.model_dump_json())
