"""A run meets only processes of its own environment."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from sync_pipeline.core.errors import ConfigurationError
from sync_pipeline.defs.resources import SyncResource
from sync_pipeline.engine.context import SyncContext

pytestmark = pytest.mark.dagster


@dg.op
def tell_alias(sync: dg.ResourceParam[SyncContext]) -> str:
    return sync.alias


@dg.job(resource_defs={"sync": SyncResource()}, executor_def=dg.in_process_executor)
def telling_job() -> None:
    tell_alias()


def alias_of_run(**tags: str) -> str:
    result = telling_job.execute_in_process(tags=tags)
    return str(result.output_for_node("tell_alias"))


@pytest.fixture
def prod(tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "settings.yaml"
    config.write_text("embedding: {provider: hashing}\nenvironments: {prod: {}, dev: {}}")
    monkeypatch.setenv("SYNC_PIPELINE_CONFIG", str(config))
    monkeypatch.setenv("SYNC_PIPELINE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DATABASE_URL", database_url.replace("+psycopg", ""))
    monkeypatch.setenv("SYNC_PIPELINE_ENV", "prod")


@pytest.mark.usefixtures("prod")
@pytest.mark.parametrize("here", ["dev", ""])
def test_a_run_of_another_environment_reads_and_writes_nothing(
    monkeypatch: pytest.MonkeyPatch, here: str
) -> None:
    monkeypatch.setenv("SYNC_PIPELINE_ENV", here)

    with pytest.raises(dg.DagsterResourceFunctionError) as failed:
        alias_of_run(**{"sync_pipeline/environment": "prod"})

    assert isinstance(failed.value.__cause__, ConfigurationError)
    assert "the run is of the environment 'prod'" in str(failed.value.__cause__)


@pytest.mark.usefixtures("prod")
@pytest.mark.parametrize("tags", [{"sync_pipeline/environment": "prod"}, {}], ids=["same", "none"])
def test_a_run_of_the_same_environment_or_of_before_there_were_any_goes_on(
    tags: dict[str, str],
) -> None:
    assert alias_of_run(**tags) == "documents-prod"
