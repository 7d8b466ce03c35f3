"""``demo --source rest``, with the real program, model, index and database."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from sync_pipeline.cli.demo_rest import Asked
from sync_pipeline.core.landing.report import LandingReport
from sync_pipeline.core.point import Hit
from sync_pipeline.database.embedded import stop_embedded_database
from sync_pipeline.settings import Settings, load_settings
from sync_pipeline_tests.cli.installed import CommandLine, FakeOrchestrator

DEMO = ("demo", "--source", "rest")
HOME = Path(".sync-pipeline/demo-rest")
OWN_SETTINGS = "entities:\n  - {name: thing, table: things, views: {text: [title]}}\n"
ELSEWHERE = {
    "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nothing",
    "QDRANT_URL": "http://127.0.0.1:1",
    "DAGSTER_HOME": "/nonexistent/dagster",
}
"""What the demo must not go by."""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short path and settings of somebody's own; no server stays behind."""
    path = Path(tempfile.mkdtemp(prefix="sp-"))
    (path / "sync_pipeline.yaml").write_text(OWN_SETTINGS, encoding="utf-8")
    yield path
    stop_embedded_database(path / HOME / "postgres")
    shutil.rmtree(path)


def demonstrate(folder: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    ours = ("SYNC_PIPELINE", "DATABASE_URL", "QDRANT_URL", "DAGSTER_HOME")
    bare = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return subprocess.run(
        [sys.executable, "-m", "sync_pipeline", *DEMO, *words],
        cwd=folder,
        env={**bare, **variables},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.model
@pytest.mark.dagster
@pytest.mark.slow
@pytest.mark.process
@pytest.mark.timeout(600)
def test_records_land_become_searchable_change_and_go(folder: Path) -> None:
    done = demonstrate(folder, "--json", **ELSEWHERE)
    again = demonstrate(folder)

    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    assert [it for it in answer["claims"] if not it["holds"]] == []
    assert answer["ok"] is True
    first, changes, deletes, nothing = answer["landings"]
    assert first["rejected"] == {"no_id": 1, "wrong_type": 1}
    assert first["waited_seconds"] >= 1
    assert (changes["mode"], changes["changed"], changes["new"]) == ("incremental", 2, 1)
    assert (deletes["absent"], deletes["deleted"]) == (1, 1)
    assert [nothing[name] for name in ("new", "changed", "deleted")] == [0, 0, 0]
    assert [sync["totals"]["embedded_texts"] for sync in answer["syncs"]] == [first["rows"], 2, 0]
    assert [it["as_claimed"] for it in answer["searches"]] == [True, True, True]
    assert answer["erp"]["asked"]["429"] == answer["erp"]["asked"]["500"] == 1

    assert again.returncode == 0, again.stderr
    assert "1,002 texts embedded" in again.stdout, "each run begins anew"
    assert f"--config {HOME}/sync_pipeline.yaml land rejected products" in again.stdout
    assert (folder / "sync_pipeline.yaml").read_text(encoding="utf-8") == OWN_SETTINGS
    assert [it.name for it in (folder / ".sync-pipeline").iterdir()] == [HOME.name]
    assert not (folder / HOME / "postgres" / "postmaster.pid").exists(), "no server is left"


class _LandsNothing(FakeOrchestrator):
    def run_landings(
        self, settings: Settings, names: Sequence[str], **options: Any
    ) -> list[LandingReport]:
        return [LandingReport(name=names[0], mode="full", status="failed", error="no answer")]


@pytest.mark.process
def test_a_landing_that_fails_ends_it_with_1(run: CommandLine, tmp_path: Path) -> None:
    run.settings = load_settings(env={"SYNC_PIPELINE_HOME": str(tmp_path)})
    run.orchestrator = _LandsNothing(run.sync)

    result = run(*DEMO, "--json")
    told = run(*DEMO)

    answer = json.loads(result.stdout)
    assert result.exit_code == 1
    assert answer["ok"] is False
    assert [it["claim"] for it in answer["claims"]] == ["the records have landed (no answer)"]
    assert "WRONG: The records have landed (no answer)." in told.stdout
    assert "2. " not in told.stdout


def test_a_folder_that_no_demo_has_made_is_left_alone(run: CommandLine, tmp_path: Path) -> None:
    kept = tmp_path / "demo-rest" / "postgres" / "PG_VERSION"
    kept.parent.mkdir(parents=True)
    kept.touch()
    run.settings = load_settings(env={"SYNC_PIPELINE_HOME": str(tmp_path)})

    result = run(*DEMO)

    assert result.exit_code == 2
    assert "no demo has made it" in result.stderr
    assert kept.exists()


@pytest.mark.parametrize(
    ("outcome", "found", "is_as_claimed"),
    [
        pytest.param("found", ["a", "b"], True, id="the first hit"),
        pytest.param("found", ["b", "a"], False, id="not the first"),
        pytest.param("found", [], False, id="no hit"),
        pytest.param("gone", ["b"], True, id="gone"),
        pytest.param("gone", ["b", "a"], False, id="still there"),
    ],
)
def test_a_search_is_judged_by_its_hits(
    *, outcome: str, found: list[str], is_as_claimed: bool
) -> None:
    hits = [Hit(document_id, 1.0, "text", {}) for document_id in found]

    asked = Asked(text="anything", document_id="a", outcome=outcome, hits=hits)

    assert asked.is_as_claimed is is_as_claimed
