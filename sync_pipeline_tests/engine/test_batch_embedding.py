"""Texts that are embedded by the batch: once each, across restarts, and only whole answers kept."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal

import numpy as np
import pytest
from numpy.typing import NDArray
from sqlalchemy import Engine, text

from sync_pipeline.core.errors import TransientError
from sync_pipeline.core.ports import EmbeddingBatches
from sync_pipeline.core.retrying import Retries
from sync_pipeline.core.spending import BudgetPolicy, Limit, Tariff
from sync_pipeline.database.embedding_batches import PostgresEmbeddingBatches
from sync_pipeline.embedding.openai import OpenAIEmbedder
from sync_pipeline.engine.batch_embedding import BatchOutcome, embed_by_batch
from sync_pipeline_tests.embedding.service import (
    DIMENSION,
    Answer,
    EmbeddingService,
    running_service,
)
from sync_pipeline_tests.engine.world import World
from sync_pipeline_tests.fakes.embedder import FakeEmbedder

pytestmark = pytest.mark.process

TEXTS = {f"hash-{number}": f"Цемент М{number}" for number in range(6)}


@pytest.fixture
def service() -> Iterator[EmbeddingService]:
    with running_service() as service:
        yield service


@dataclass
class Run:
    """What one process after the other does; the cache outlives them."""

    engine: Engine
    service: EmbeddingService
    cache: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    from_texts: int = 3

    @property
    def batches(self) -> EmbeddingBatches:
        return PostgresEmbeddingBatches(self.engine)

    def embed(self, texts: Mapping[str, str] = TEXTS) -> BatchOutcome:
        """Another process comes to the same texts, without those that are cached."""
        client = OpenAIEmbedder(
            model="stub",
            base_url=self.service.url,
            dimension=DIMENSION,
            document_prompt="passage: ",
            batch_from_texts=self.from_texts,
            retries=Retries(sleep=lambda _: None),
        )
        assert client.by_batch is not None
        missing = {key: value for key, value in texts.items() if key not in self.cache}
        try:
            return embed_by_batch(
                missing,
                embedder=client.by_batch,
                batches=self.batches,
                keep=self.keep,
                cache_key="model",
            )
        finally:
            client.close()

    def keep(self, text_hashes: Sequence[str], vectors: NDArray[np.float32]) -> None:
        self.cache.update(zip(text_hashes, vectors, strict=True))

    def age(self) -> None:
        """Let an hour pass."""
        with self.engine.begin() as connection:
            connection.execute(
                text(
                    "UPDATE sync_pipeline.embedding_batch "
                    "SET planned_at = planned_at - interval '1 hour'"
                )
            )

    def is_right(self) -> bool:
        """Whether every vector in the cache is the one of its text."""
        fake = FakeEmbedder(dimension=DIMENSION)
        return all(
            float(vector @ fake.vector(f"passage: {TEXTS[key]}")) > 0.999
            for key, vector in self.cache.items()
        )


@pytest.fixture
def run(engine: Engine, service: EmbeddingService) -> Run:
    return Run(engine=engine, service=service)


def test_texts_are_handed_over_once_and_collected_by_whoever_comes_then(run: Run) -> None:
    first = run.embed()
    second = run.embed()
    run.service.batches.finish()
    third = run.embed()
    fourth = run.embed()

    assert first.waiting == second.waiting == TEXTS.keys()
    assert run.service.batches.files == {}
    assert len(run.service.batches.batches) == 1
    assert third.collected == run.cache.keys() == TEXTS.keys()
    assert third.tokens == sum(len(f"passage: {text}") for text in TEXTS.values())
    assert (third.waiting, third.left, fourth) == (set(), set(), BatchOutcome())
    assert run.is_right()


@pytest.fixture
def world(service: EmbeddingService) -> World:
    """A sync whose model is the service's, and takes batches too."""
    world = World()
    client = OpenAIEmbedder(
        model="stub",
        base_url=service.url,
        dimension=DIMENSION,
        batch_from_texts=3,
        retries=Retries(sleep=lambda _: None),
    )
    world.embedder.by_batch = client.by_batch
    world.embedder.tariff = Tariff(Decimal(1_000_000), is_service=True)
    for number in range(6):
        world.put(str(number), name=f"cement {number}", unit="kg")
    return world


def test_documents_of_a_batch_are_pending_and_caught_up_for_half_the_price(
    world: World, engine: Engine, service: EmbeddingService
) -> None:
    sync = replace(world.sync, batches=PostgresEmbeddingBatches(engine))

    handed_over = world.run(sync=sync)
    found = len(world.found("acme", "cement"))
    again = world.run(sync=sync)
    service.batches.finish()
    caught_up = world.run(sync=sync)

    assert (handed_over.pending, handed_over.embedded_texts, found) == (6, 0, 6)
    assert "6 texts are being embedded by the batch" in str(handed_over.note)
    assert (again.pending, len(service.batches.batches)) == (6, 1)
    assert (caught_up.pending, caught_up.embedded_texts) == (0, 6)
    assert world.embedder.embedded == []
    assert world.is_clean()
    (taken,) = [it for (_, who), it in world.ledger.taken.items() if who == "batch"]
    assert (taken.texts, taken.tokens) == (6, caught_up.embedded_tokens)
    assert taken.cost == taken.tokens * Decimal("0.5")


def test_nothing_is_handed_over_where_a_budget_bounds_what_it_may_take(
    world: World, engine: Engine, service: EmbeddingService
) -> None:
    world.set_options(budgets=BudgetPolicy(month=Limit(tokens=10_000)))

    report = world.run(sync=replace(world.sync, batches=PostgresEmbeddingBatches(engine)))

    assert (report.embedded_texts, report.pending) == (6, 0)
    assert service.batches.batches == {}


def test_few_texts_are_left_to_ordinary_calls(run: Run) -> None:
    few = dict(list(TEXTS.items())[:2])

    outcome = run.embed(few)

    assert outcome.left == few.keys()
    assert run.service.batches.batches == {}


def test_texts_that_came_later_get_a_batch_of_their_own(run: Run) -> None:
    early = dict(list(TEXTS.items())[:3])
    run.embed(early)

    outcome = run.embed()

    assert outcome.waiting == TEXTS.keys()
    assert sorted(run.service.batches.texts()) == sorted(f"passage: {it}" for it in TEXTS.values())


def test_a_batch_whose_handing_over_was_not_noted_is_found_and_not_repeated(run: Run) -> None:
    """The answer to the request was lost, or the process died before it noted it."""
    run.service.script = [Answer(), Answer(breaks=True)]
    with pytest.raises(TransientError, match="did not answer"):
        run.embed()

    outcome = run.embed()
    run.service.batches.finish()
    run.embed()

    assert outcome.waiting == TEXTS.keys()
    assert len(run.service.batches.batches) == 1
    assert run.cache.keys() == TEXTS.keys()


def test_a_batch_that_was_planned_and_never_handed_over_is_handed_over_later(run: Run) -> None:
    """Another process may be at it; after a quarter of an hour it has died."""
    run.batches.plan(name="b", cache_key="model", text_hashes=list(TEXTS))

    at_once = run.embed()
    handed_over_at_once = len(run.service.batches.batches)
    run.age()
    later = run.embed()

    assert at_once.waiting == later.waiting == TEXTS.keys()
    assert (handed_over_at_once, len(run.service.batches.batches)) == (0, 1)


def garbled(lines: list[str]) -> list[str]:
    """A line that fails, one of nobody, one that is cut, one twice, and a short vector."""
    failed = json.loads(lines[0])
    failed["response"]["status_code"] = 400
    short = json.loads(lines[1])
    short["response"]["body"]["data"][0]["embedding"] = [1.0, 0.0]
    nobody = json.loads(lines[2]) | {"custom_id": "hash-99"}
    return [
        json.dumps(failed), json.dumps(short), json.dumps(nobody), "5", "{}",
        *lines[2:], lines[3], lines[4][:40],
    ]  # fmt: skip


def test_what_is_no_whole_answer_is_left_to_ordinary_calls(run: Run) -> None:
    run.embed()
    run.service.batches.finish(change=garbled)

    outcome = run.embed()

    assert len(outcome.collected) == 4
    assert outcome.left == TEXTS.keys() - outcome.collected
    assert run.cache.keys() == outcome.collected
    assert run.is_right()


@pytest.mark.parametrize(
    ("status", "change", "collected"),
    [
        pytest.param("expired", lambda lines: lines[:2], 2, id="after a day"),
        pytest.param("cancelled", lambda lines: lines[:1], 1, id="cancelled"),
    ],
)
def test_what_a_batch_had_ready_when_it_ended_early_is_kept(
    run: Run, status: str, change: Callable[[list[str]], list[str]], collected: int
) -> None:
    run.embed()
    run.service.batches.finish(status=status, change=change)

    outcome = run.embed()

    assert (len(outcome.collected), len(outcome.left)) == (collected, len(TEXTS) - collected)
    assert run.is_right()


def test_a_batch_that_the_service_refuses_is_left_to_ordinary_calls(run: Run) -> None:
    run.embed()
    run.service.batches.finish(status="failed", error="invalid_request")

    outcome = run.embed()

    assert outcome.left == TEXTS.keys()


def test_a_batch_for_which_the_queue_was_full_is_handed_over_again_later(run: Run) -> None:
    run.embed()
    run.service.batches.finish(status="failed", error="token_limit_exceeded")

    at_once = run.embed()
    handed_over_at_once = len(run.service.batches.batches)
    run.age()
    later = run.embed()

    assert at_once.waiting == later.waiting == TEXTS.keys()
    assert (handed_over_at_once, len(run.service.batches.batches)) == (1, 2)


def test_a_batch_that_the_service_has_forgotten_is_left_to_ordinary_calls(run: Run) -> None:
    run.embed()
    run.service.batches.batches.clear()

    assert run.embed().left == TEXTS.keys()


def test_a_cut_while_collecting_loses_nothing(run: Run) -> None:
    """What was kept is kept; the rest comes with the next look."""
    run.embed()
    run.service.batches.finish()
    run.service.script = [Answer(), Answer(), Answer(breaks=True)]

    with pytest.raises(TransientError, match="did not answer"):
        run.embed()
    outcome = run.embed()

    assert outcome.collected == TEXTS.keys()


def test_texts_of_one_batch_are_planned_once_by_whoever_is_first(run: Run) -> None:
    batches = run.batches

    first = batches.plan(name="a", cache_key="model", text_hashes=["x", "y"])
    second = batches.plan(name="b", cache_key="model", text_hashes=["y", "z"])
    nothing = batches.plan(name="c", cache_key="model", text_hashes=["x"])
    elsewhere = batches.plan(name="d", cache_key="another", text_hashes=["x"])
    batches.note(name="a", batch_id="batch-1")

    assert (first, second, nothing, elsewhere) == ({"x", "y"}, {"z"}, set(), {"x"})
    found = batches.list_open(cache_key="model", text_hashes=["x", "z"])
    assert [(it.name, it.batch_id, set(it.text_hashes)) for it in found] == [
        ("a", "batch-1", {"x", "y"}),
        ("b", None, {"z"}),
    ]
    batches.close(name="a")
    batches.close(name="a")
    assert batches.plan(name="e", cache_key="model", text_hashes=["x"]) == {"x"}
    assert batches.plan(name="f", cache_key="model", text_hashes=[]) == set()
