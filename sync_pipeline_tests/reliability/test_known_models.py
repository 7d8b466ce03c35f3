"""S19, S27: a model that is another one than it says, and one that is the same under another name.

With a real PostgreSQL, a real index, and a service that is asked over HTTP: what was embedded is
counted there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import pytest
import sqlalchemy as sa

from sync_pipeline.core.canaries import CANARY_TEXTS, SAME_MODEL_COSINE, lowest_cosine
from sync_pipeline.core.errors import ModelChangedError
from sync_pipeline.core.ports import Embedder
from sync_pipeline.database.model_canaries import PostgresModelCanaries
from sync_pipeline.database.urls import driver_url
from sync_pipeline.embedding.openai import OpenAIEmbedder
from sync_pipeline.embedding.sentence_transformers import SentenceTransformersEmbedder
from sync_pipeline.engine.canaries import measure_canaries, settle_model
from sync_pipeline_tests.cases.installation import Case
from sync_pipeline_tests.embedding.service import DIMENSION, EmbeddingService, running_service
from sync_pipeline_tests.reliability.site import TABLE, Site

KEPT: Final = ("index_state", "embedding_cache", "model_canary", "quarantine")
"""Tables that a run which is stopped leaves as they were."""


@pytest.fixture
def service() -> Iterator[EmbeddingService]:
    with running_service() as service:
        yield service


def use(site: Site, embedder: Embedder) -> None:
    """Install a model as ``wiring`` does."""
    site.embedder = settle_model(embedder, PostgresModelCanaries(site.engine))


def asked(service: EmbeddingService, **names: Any) -> OpenAIEmbedder:
    """A client of the service."""
    return OpenAIEmbedder(
        model=names.pop("model", "stub"), base_url=service.url, dimension=DIMENSION, **names
    )


def documents_asked(service: EmbeddingService) -> list[str]:
    """Texts that the service was asked for, canaries left out."""
    return [text for text in service.texts() if text not in CANARY_TEXTS]


def kept(site: Site) -> dict[str, list[str]]:
    """What the tables hold, row by row."""
    with site.engine.connect() as connection:
        return {
            name: sorted(
                connection.scalars(
                    sa.text(f"SELECT to_jsonb(kept)::text FROM sync_pipeline.{name} AS kept")  # noqa: S608 - a constant
                )
            )
            for name in KEPT
        }


@pytest.mark.process
def test_s19_a_service_that_puts_another_model_behind_its_name_stops_the_run(
    site: Site, service: EmbeddingService
) -> None:
    """Cache, index and record stay as they were, and no document's text was even asked for."""
    client = asked(service)
    use(site, client)
    site.fill(3)
    site.run()
    before = kept(site), site.payloads()
    site.sql("UPDATE materials SET name = 'another text' WHERE id = 'm0001'")
    service.model = "a newer one"
    asked_before = len(documents_asked(service))

    with pytest.raises(ModelChangedError, match="gives other vectors than it used to"):
        site.run()

    assert (kept(site), site.payloads()) == before
    assert len(documents_asked(service)) == asked_before
    client.close()


@pytest.mark.process
def test_s19_a_run_with_nothing_to_embed_asks_the_service_nothing(
    site: Site, service: EmbeddingService
) -> None:
    """Another model behind the name or not: what is not asked cannot be mixed up."""
    client = asked(service)
    use(site, client)
    site.fill(3)
    site.run()
    requests = len(service.requests)
    service.model = "a newer one"
    site.sql("UPDATE materials SET price = 7 WHERE id = 'm0001'")

    report = site.run()

    assert (report.payload_changed, len(service.requests)) == (1, requests)
    client.close()


@pytest.mark.process
def test_s19_the_same_model_at_another_address_under_another_name_embeds_nothing_again(
    site: Site, service: EmbeddingService
) -> None:
    """A rename costs the canaries, and nothing else."""
    first, renamed = asked(service), asked(service, model="stub-2026")
    use(site, first)
    site.fill(5)
    site.run()
    points = site.payloads()
    asked_before = len(documents_asked(service))

    use(site, renamed)
    report = site.run()

    assert (report.unchanged, report.embedded_texts) == (5, 0)
    assert len(documents_asked(service)) == asked_before
    assert site.payloads() == points
    assert site.sync.models.main.model_id == first.model_id != renamed.model_id
    first.close()
    renamed.close()


@pytest.mark.process
def test_s19_a_lost_index_is_filled_from_the_cache_of_the_first_name(
    site: Site, service: EmbeddingService
) -> None:
    """Also where the new name comes first to an empty index."""
    first, renamed = asked(service), asked(service, model="stub-2026")
    use(site, first)
    site.fill(5)
    site.run()
    with site.store() as store:
        store.drop_collection(site.collection)
    asked_before = len(documents_asked(service))

    use(site, renamed)
    report = site.run()

    assert (report.new, report.cache_hits, report.embedded_texts) == (5, 5, 0)
    assert len(documents_asked(service)) == asked_before
    assert site.is_clean()
    first.close()
    renamed.close()


@pytest.mark.process
def test_s27_a_service_that_reads_less_of_a_text_than_before_stops_the_run(
    site: Site, service: EmbeddingService
) -> None:
    """A context that was made smaller on the server cuts texts and says nothing."""
    client = asked(service)
    use(site, client)
    site.fill(2)
    site.run()
    service.window = 1_000
    site.fill(1, prefix="n")

    with pytest.raises(ModelChangedError, match="of 8 texts"):
        site.run()

    assert site.count("acme") == 2
    client.close()


@pytest.mark.process
def test_s19_a_state_of_a_release_without_canaries_is_checked_by_its_cached_vectors(
    site: Site, service: EmbeddingService
) -> None:
    """The first run after the upgrade embeds some cached texts again, then it records the model."""
    client = asked(service)
    use(site, client)
    site.fill(3)
    site.run()
    site.sql("DELETE FROM sync_pipeline.model_canary")
    site.fill(1, prefix="n")
    service.model = "a newer one"

    with pytest.raises(ModelChangedError, match="to its cached vectors"):
        site.run()

    service.model = "fake-embedder"
    assert site.run().new == 1
    assert len(kept(site)["model_canary"]) == len(CANARY_TEXTS)
    client.close()


@pytest.mark.model
@pytest.mark.process
def test_s19_another_number_format_of_the_bundled_model_is_recognised(site: Site) -> None:
    """float32 first, then bfloat16: no text is embedded again and no point is written."""
    full = Counting(SentenceTransformersEmbedder(dtype="float32", device="cpu"))
    # A few texts would be computed in float32 under either name.
    half = Counting(SentenceTransformersEmbedder(dtype="bfloat16", device="cpu", runtime="torch"))
    use(site, full)
    site.fill(4)
    site.run()
    points = site.payloads()

    use(site, half)
    report = site.run()

    assert full.model_id != half.model_id
    assert (report.unchanged, report.embedded_texts) == (4, 0)
    assert site.payloads() == points
    assert half.documents == []


@pytest.mark.model
@pytest.mark.process
def test_s19_another_prompt_of_the_bundled_model_is_another_model() -> None:
    """What is put before documents moves their vectors, and the canaries see it."""
    plain = measure_canaries(SentenceTransformersEmbedder(dtype="float32", device="cpu"))
    prompted = measure_canaries(
        SentenceTransformersEmbedder(dtype="float32", device="cpu", document_prompt="passage: ")
    )

    lowest = lowest_cosine(plain, prompted)

    assert lowest is not None
    assert lowest < SAME_MODEL_COSINE


@pytest.fixture
def case(database_url: str, tmp_path: Path, service: EmbeddingService) -> Case:
    """Four rows, and the program with the service for a model."""
    case = Case(
        driver_url(database_url, "libpq"),
        tmp_path,
        environment={
            "SYNC_PIPELINE__EMBEDDING__PROVIDER": "openai",
            "SYNC_PIPELINE__EMBEDDING__MODEL": "stub",
            "SYNC_PIPELINE__EMBEDDING__BASE_URL": service.url,
            "SYNC_PIPELINE__EMBEDDING__DIMENSION": str(DIMENSION),
        },
    )
    case.settings("entities: [{name: material, table: materials, views: {text: [name]}}]")
    case.sql(
        TABLE,
        "INSERT INTO materials (id, tenant_id, name) "
        "SELECT 'm' || n, 'acme', 'cement ' || n FROM generate_series(1, 4) n",
    )
    return case


@pytest.mark.slow
@pytest.mark.dagster
def test_s19_the_program_knows_a_renamed_model_and_stops_for_a_changed_one(
    case: Case, service: EmbeddingService
) -> None:
    """As its owner calls it: a rename is no work at all, and a changed model is an error."""
    case.scopes("sync", "all")
    asked_before = len(documents_asked(service))
    renamed = {"SYNC_PIPELINE__EMBEDDING__MODEL": "stub-2026"}

    after_rename = case.scopes("sync", "all", **renamed)["acme"]
    hits = case.ask("search", "cement 2", "--tenant", "acme", **renamed)["hits"]
    stats = case.ask("cache", "stats", **renamed)
    case.sql("UPDATE materials SET name = 'another text' WHERE id = 'm1'")
    service.model = "a newer one"
    stopped = case.run("sync", "all", **renamed)

    assert (after_rename["status"], after_rename["unchanged"]) == ("skipped", 4)
    assert documents_asked(service)[asked_before:] == ["cement 2"]
    assert hits[0]["text"] == "cement 2"
    assert [len(model["other_names"]) for model in stats["models"]] == [1]
    assert (stats["texts"], stats["cached"]) == (4, 4)
    assert stopped.returncode != 0
    assert "gives other vectors than it used to" in stopped.stdout + stopped.stderr
    assert case.scopes("status", **renamed)["acme"]["points"] == 4


class Counting:
    """Counts what a model is asked for."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self.documents: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._embedder, name)

    def embed(self, texts: Sequence[str]) -> Any:
        self.documents += [text for text in texts if text not in CANARY_TEXTS]
        return self._embedder.embed(texts)
