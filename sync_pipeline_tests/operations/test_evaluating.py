"""Which file is asked, as whom, and with which settings of a search."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sync_pipeline.core.errors import ConfigurationError, LabelsError
from sync_pipeline.core.fusion import Fusion
from sync_pipeline.operations.evaluating import read_queries, with_changes
from sync_pipeline.operations.scopes import InstalledScopes, ScopeDirectory
from sync_pipeline_tests.cli.installed import CommandLine

VIEWS = ("name", "description")


def changed(changes: str, fusion: Fusion | None = None) -> Fusion:
    return with_changes(fusion or Fusion(), changes, views=VIEWS)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param("fusion=rrf", Fusion(method="rrf"), id="one"),
        pytest.param(
            "fusion=rrf, rrf_k=60,candidates=50",
            Fusion(method="rrf", rrf_k=60, candidates=50),
            id="several",
        ),
        pytest.param(
            "weights.name=2,weights.bm25=3", Fusion(weights={"name": 2, "bm25": 3}), id="weights"
        ),
    ],
)
def test_a_system_is_named_by_what_it_changes(changes: str, expected: Fusion) -> None:
    assert changed(changes) == expected


def test_what_is_not_changed_stays_as_the_settings_have_it() -> None:
    fusion = Fusion(method="rrf", rrf_k=7, candidates=33, weights={"name": 2})

    found = changed("weights.bm25=4", fusion)

    assert found == Fusion(method="rrf", rrf_k=7, candidates=33, weights={"name": 2, "bm25": 4})
    assert fusion.weights == {"name": 2}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param("", "'' is no KEY=VALUE of a search; the keys are fusion, rrf_k,", id="empty"),
        pytest.param("k=60", "'k=60' is no KEY=VALUE of a search", id="unknown key"),
        pytest.param("fusion", "'fusion' is no KEY=VALUE", id="no value"),
        pytest.param("fusion=max", "fusion: is not known here", id="unknown value"),
        pytest.param("weights.nme=2", "weights.name, weights.description, weights.bm25", id="view"),
        pytest.param("rrf_k=0,candidates=x", "rrf_k: is too small .*; candidates: must", id="two"),
        pytest.param("weights.name=0.5", "weights.name: must be a whole number", id="half"),
    ],
)
def test_a_system_that_cannot_be_is_refused_with_what_can(changes: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        changed(changes)


@pytest.fixture
def scopes(run: CommandLine) -> ScopeDirectory:
    """Those of an installation with the tenants ``acme`` and ``globex``."""
    return InstalledScopes(run.sync)


def write(path: Path, *lines: object) -> str:
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
    return str(path)


def labelled(**changes: object) -> dict[str, object]:
    return {"query": "drywall", "scope": "acme", "relevant": ["tenant-material-a1"], **changes}


def test_every_bad_line_is_refused_at_once_with_its_number(
    scopes: ScopeDirectory, tmp_path: Path
) -> None:
    file = write(
        tmp_path / "queries.jsonl",
        labelled(),
        labelled(scope="acne"),
        labelled(query="x" * 2001),
        labelled(query="b", relevant={}),
        labelled(query="\ud800"),
    )

    with pytest.raises(LabelsError) as refused:
        read_queries(file, among=scopes)

    assert list(refused.value.mistakes) == [2, 3, 4, 5]
    assert str(refused.value).startswith(f"4 lines of {file} cannot be used; nothing was evaluated")
    assert "line 2: there is no tenant 'acne'; fix: write global, or one that" in str(refused.value)
    assert "line 3: a search text has 1 to 2000 characters; fix: shorten" in str(refused.value)
    assert "line 5: the search text is not Unicode" in str(refused.value)


def test_a_file_of_many_bad_lines_names_the_first_and_how_many_more(
    scopes: ScopeDirectory, tmp_path: Path
) -> None:
    file = tmp_path / "queries.jsonl"
    file.write_text("no\n" * 130)

    with pytest.raises(LabelsError) as refused:
        read_queries(str(file), among=scopes)

    assert str(refused.value).count("line ") == 100
    assert str(refused.value).endswith("- and 30 more")


def test_a_file_without_a_query_says_what_one_looks_like(
    scopes: ScopeDirectory, tmp_path: Path
) -> None:
    file = tmp_path / "queries.jsonl"
    file.write_text("\n")

    with pytest.raises(LabelsError, match=r'there is no query; fix: write e\.g\. \{"query"'):
        read_queries(str(file), among=scopes)


@pytest.mark.parametrize("name", ["missing.jsonl", "."])
def test_a_file_that_cannot_be_read_is_named(scopes: ScopeDirectory, name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{name} cannot be read: .*builtin"):
        read_queries(name, among=scopes)
