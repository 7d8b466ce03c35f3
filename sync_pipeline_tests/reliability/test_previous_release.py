"""What an earlier version wrote is read, synced and verified, and nothing of it is made again."""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path

import psycopg
import pytest

from sync_pipeline.database.urls import driver_url
from sync_pipeline_tests.cases.installation import Case
from sync_pipeline_tests.conftest import REPOSITORY

RELEASE = REPOSITORY / "sync_pipeline_tests" / "reliability" / "release_0_1_0"


@pytest.fixture
def installed(database_url: str, tmp_path: Path) -> Case:
    """The installation as it was left."""
    case = Case(driver_url(database_url, "libpq"), tmp_path)
    case.sql("DROP SCHEMA sync_pipeline CASCADE")
    with psycopg.connect(case.url, autocommit=True) as connection:
        connection.execute((RELEASE / "database.sql").read_bytes())
    shutil.copy(RELEASE / "sync_pipeline.yaml", tmp_path)
    with tarfile.open(RELEASE / "index.tar.xz") as archive:
        if hasattr(tarfile, "data_filter"):
            archive.extraction_filter = tarfile.data_filter
        # Debian 12's Python has no filters; newer releases warn without one.
        archive.extractall(tmp_path / "home")  # noqa: S202 - our own file
    return case


def written_at(case: Case) -> list[tuple[str, str]]:
    """When each document was last written, as its point says."""
    done = case.ask("search", "concrete", "--tenant", "acme", "--limit", "100")
    return sorted((hit["document_id"], hit["payload"]["synced_at"]) for hit in done["hits"])


@pytest.mark.slow
def test_an_index_of_release_0_1_0_is_synced_without_embedding_or_writing_anything(
    installed: Case,
) -> None:
    before = written_at(installed)

    verified = installed.ask("verify", "all")
    synced = installed.scopes("sync", "all", "--force")
    verified_again = installed.ask("verify", "all")

    assert verified["ok"], verified
    assert verified_again["ok"], verified_again
    work = ("new", "changed", "payload_changed", "deleted", "failed", "embedded_texts")
    assert {key: [scope[name] for name in work] for key, scope in synced.items()} == {
        key: [0] * len(work) for key in ("global", "acme", "globex")
    }
    assert sum(scope["unchanged"] for scope in synced.values()) == 30
    assert len(before) == 22
    assert written_at(installed) == before


@pytest.mark.slow
def test_an_installation_of_release_0_1_0_goes_on(installed: Case) -> None:
    installed.sql("UPDATE materials SET name = 'quartz sand' WHERE id = md5('m1')::uuid")

    installed.scopes("sync", "all", "--mode", "incremental")
    assert installed.run("feed", "install").returncode == 0
    installed.scopes("sync", "all", "--force")
    installed.sql("UPDATE works SET name = 'laying of oak floors' WHERE id = 1")
    report = installed.scopes("sync", "all", "--mode", "incremental")["acme"]

    assert (report["changed"], report["embedded_texts"]) == (1, 1)
    assert "laying of oak floors" in installed.found("oak floors", tenant="acme")
    assert installed.ask("verify", "all")["ok"]
    assert {scope["coverage"] for scope in installed.scopes("status").values()} == {1.0}
