"""The run over the catalogue of tools, small: what changes cost, counted at the provider."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.acceptance.provider import REFUSED, Provider
from benchmarks.acceptance.tools_catalogue import measure
from benchmarks.home import Home
from sync_pipeline.core.canaries import CANARY_TEXTS
from sync_pipeline.database.urls import driver_url
from sync_pipeline.embedding.sentence_transformers import SentenceTransformersEmbedder
from sync_pipeline_tests.fakes.embedder import FakeEmbedder


@pytest.mark.slow
@pytest.mark.model
@pytest.mark.process
def test_a_change_embeds_its_own_view_and_a_refused_text_costs_its_own_view(
    database_url: str, tmp_path: Path
) -> None:
    home = Home(
        folder=tmp_path / "home",
        database_url=driver_url(database_url, "libpq"),
        provider="openai",
    )

    outcome = measure(
        home,
        data=None,
        records=80,
        changed=12,
        embedder=SentenceTransformersEmbedder(device="cpu"),
        say=print,
    )

    assert not outcome.has_failed
    assert [figure.label for figure in outcome.figures if figure.holds is False] == []
    values = {figure.key: figure.value for figure in outcome.figures}
    assert (values["records"], values["prices/least"], values["payloads/least"]) == (80, 12, 12)
    assert (values["searchable/least"], values["mended_found/least"]) == (3, 1)


def test_the_provider_keeps_documents_apart_from_canaries_and_from_what_it_refuses() -> None:
    provider = Provider(FakeEmbedder(dimension=16))

    answered, _ = provider.answer(["sand", "brick"])
    refused, said = provider.answer(["lime", f"an {REFUSED} thing"])
    provider.answer(list(CANARY_TEXTS[:3]))

    assert (answered, refused) == (200, 400)
    assert said == {"error": {"message": "this text is refused", "type": "invalid_request_error"}}
    assert provider.taken() == ["sand", "brick"]
    assert (provider.canaries, provider.refused) == (3, 1)
    assert provider.taken() == []
