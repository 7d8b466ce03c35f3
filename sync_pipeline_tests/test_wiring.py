"""From settings to a request that arrives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from sync_pipeline.core.errors import ConfigurationError, ModelUnavailableError, SettingsError
from sync_pipeline.core.index_options import IndexOptions
from sync_pipeline.core.spending import BudgetPolicy
from sync_pipeline.embedding.openai import OpenAIEmbedder
from sync_pipeline.embedding.rate_limits import LocalRateLimiter
from sync_pipeline.log_file import stop_logging_to_file
from sync_pipeline.settings import load_settings
from sync_pipeline.stores.server.store import lease_server_store
from sync_pipeline.wiring import Accounts, _embedder, _index_options, _log_to_file, _store
from sync_pipeline_tests.elsewhere import OTHER_MACHINE, elsewhere, lead_here
from sync_pipeline_tests.embedding.service import DIMENSION, running_service
from sync_pipeline_tests.fakes.qdrant_stub import running_stub
from sync_pipeline_tests.fakes.state import (
    FakeBreakers,
    FakeEmbeddingCache,
    FakeGenerations,
    FakeIndexState,
    FakeLedger,
    FakeModelCanaries,
)
from sync_pipeline_tests.stores.samples import SPEC

PROXIES = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), "http://127.0.0.1:9")


@pytest.fixture(autouse=True)
def _other_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give this machine another name; proxies are dead ends."""
    lead_here(monkeypatch)
    for name, value in PROXIES.items():
        monkeypatch.setenv(name, value)


def _index_settings(url: str) -> dict[str, str]:
    return {"QDRANT_URL": url, "QDRANT_API_KEY": "s3cret"}


def _embedding_settings(url: str) -> dict[str, str]:
    return {
        "SYNC_PIPELINE__EMBEDDING__PROVIDER": "openai",
        "SYNC_PIPELINE__EMBEDDING__MODEL": "stub",
        "SYNC_PIPELINE__EMBEDDING__DIMENSION": str(DIMENSION),
        "SYNC_PIPELINE__EMBEDDING__BASE_URL": url,
        "OPENAI_API_KEY": "s3cret",
    }


@pytest.mark.process
def test_the_index_gets_its_key_in_the_clear_where_the_settings_allow_it() -> None:
    with running_stub() as stub:
        stub.api_key = "s3cret"
        env = _index_settings(elsewhere(stub.url))
        settings = load_settings(
            env={**env, "SYNC_PIPELINE__INDEX__ALLOW_PLAIN_HTTP": "true"},
        )

        with _store(settings)() as store:
            assert store.list_collections() == []


def test_every_option_of_the_index_reaches_its_adapter() -> None:
    chosen: dict[str, object] = {
        "vectors_on_disk": True,
        "quantization": "binary",
        "quantization_always_ram": False,
        "quantization_rescore": True,
        "quantization_oversampling": 3.0,
        "hnsw_m": 24,
        "hnsw_ef_construct": 150,
        "hnsw_ef": 90,
        "hnsw_on_disk": True,
    }
    env = {f"SYNC_PIPELINE__INDEX__{name.upper()}": str(it) for name, it in chosen.items()}

    assert asdict(_index_options(load_settings(env=env))) == chosen
    assert _index_options(load_settings(env={})) == IndexOptions()


@pytest.mark.process
def test_the_cluster_s_settings_reach_the_server() -> None:
    with running_stub(replicas=3) as stub:
        env = {
            "QDRANT_URL": stub.url,
            "SYNC_PIPELINE__INDEX__CLUSTER__SHARD_NUMBER": "6",
            "SYNC_PIPELINE__INDEX__CLUSTER__REPLICATION_FACTOR": "3",
        }
        settings = load_settings(env=env)

        with _store(settings)() as store:
            store.ensure_collection(SPEC)
            told = store.check_layout(SPEC.collection)

    assert told.startswith("6 shards of 3 copies; writes are confirmed by 2, ordering medium")


def accounts() -> Accounts:
    """What models need, with nothing behind it."""
    canaries = FakeModelCanaries(FakeEmbeddingCache(FakeIndexState()), FakeGenerations())
    return Accounts(
        FakeLedger(), lambda _model: LocalRateLimiter(), FakeBreakers(), canaries, BudgetPolicy()
    )


@pytest.mark.model
@pytest.mark.parametrize(("is_lasting", "loaded"), [(False, "numpy"), (True, "onnx")])
def test_a_local_model_is_computed_as_the_process_needs_and_keeps_its_proof_under_home(
    *, is_lasting: bool, loaded: str, tmp_path: Path
) -> None:
    settings = load_settings(
        env={"SYNC_PIPELINE_HOME": str(tmp_path), "SYNC_PIPELINE__EMBEDDING__DEVICE": "cpu"}
    )
    needs = replace(accounts(), proofs=settings.runtimes_path, is_lasting=is_lasting)
    embedder = _embedder(settings.embedding, needs)

    embedder.embed_queries(["bolt"])

    assert [note.name.split("-")[1] for note in (tmp_path / "runtimes").iterdir()] == [loaded]


def test_the_runtime_is_the_one_of_the_settings() -> None:
    wanted = {"DTYPE": "bfloat16", "RUNTIME": "onnx"}
    settings = load_settings(
        env={f"SYNC_PIPELINE__EMBEDDING__{key}": value for key, value in wanted.items()}
    )

    with pytest.raises(ModelUnavailableError, match="the runtime onnx computes in float32"):
        _embedder(settings.embedding, accounts()).embed_queries(["bolt"])


@pytest.mark.process
def test_the_embedding_service_gets_its_key_in_the_clear_where_the_settings_allow_it() -> None:
    with running_service() as service:
        env = _embedding_settings(elsewhere(service.url))
        settings = load_settings(
            env={**env, "SYNC_PIPELINE__EMBEDDING__ALLOW_PLAIN_HTTP": "true"},
        )

        embedder = _embedder(settings.embedding, accounts())
        vectors = embedder.embed(["bolt"]).vectors

    assert vectors.shape == (1, DIMENSION)
    assert service.keys == ["Bearer s3cret"]


@pytest.mark.parametrize(
    "env",
    [
        pytest.param(_index_settings(f"http://{OTHER_MACHINE}:6333"), id="index"),
        pytest.param(_embedding_settings(f"http://{OTHER_MACHINE}:11434/v1"), id="embedding"),
    ],
)
def test_without_that_the_settings_refuse_the_key(env: Mapping[str, str]) -> None:
    with pytest.raises(SettingsError, match=r"unencrypted; fix: .* \w+\.allow_plain_http: true"):
        load_settings(env=env)


def test_an_adapter_that_was_told_nothing_refuses_the_key_too() -> None:
    with pytest.raises(ConfigurationError, match=r"index\.allow_plain_http"):
        lease_server_store(f"http://{OTHER_MACHINE}:6333", api_key="s3cret")
    with pytest.raises(ConfigurationError, match=r"embedding\.allow_plain_http"):
        OpenAIEmbedder(model="stub", base_url=f"http://{OTHER_MACHINE}/v1", api_key="s3cret")


def test_whoever_opens_an_installation_logs_where_its_settings_say(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"

    _log_to_file(load_settings(env={"SYNC_PIPELINE_LOG_FILE": str(path)}))
    stop_logging_to_file()

    assert path.read_text().count("log_opened") == 1


def test_a_log_that_cannot_be_written_keeps_no_run_from_going_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "nowhere" / "log.jsonl"

    _log_to_file(load_settings(env={"SYNC_PIPELINE_LOG_FILE": str(path)}))

    assert f"the log cannot be written to {path}" in caplog.text
