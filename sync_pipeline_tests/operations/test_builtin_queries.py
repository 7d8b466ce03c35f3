"""The labelled queries of the sample catalogue: what is in the package, and that it is honest."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from sync_pipeline.core.document import document_id
from sync_pipeline.core.labelled import LabelledQuery, read_labelled
from sync_pipeline.core.scope import GLOBAL_KEY, Scope
from sync_pipeline.sample.builtin import read_builtin
from sync_pipeline.sample.queries import QUERIES, iter_queries
from sync_pipeline.sample.schema import WORKS

KINDS = {"plain", "synonym", "misspelling", "units", "part_number", "question"}


@pytest.fixture(scope="module")
def queries() -> list[LabelledQuery]:
    """As ``evaluate builtin`` reads them."""
    with QUERIES.open("rb") as file:
        found, mistakes = read_labelled(file)
    assert mistakes == {}
    return list(found.values())


@pytest.fixture(scope="module")
def owners() -> dict[str, str]:
    """Per document of the sample its scope key."""
    found = {}
    for table, rows in read_builtin().rows.items():
        entity = "work" if table is WORKS else "material"
        for row_id, row in rows.items():
            key = GLOBAL_KEY if row["is_global"] else str(row["tenant_id"])
            name = document_id(scope=Scope.from_key(key), entity_type=entity, row_id=str(row_id))
            found[name] = key
    return found


def test_there_are_enough_in_both_languages_and_of_every_kind(queries: list[LabelledQuery]) -> None:
    tags = Counter(tag for query in queries for tag in query.tags)

    assert len(queries) >= 200
    assert set(tags) == {"en", "ru"} | KINDS
    assert min(tags["en"], tags["ru"]) >= 100
    assert min(tags[kind] for kind in KINDS) >= 20
    assert all(
        len({"en", "ru"} & set(query.tags)) == len(KINDS & set(query.tags)) == 1
        for query in queries
    )


def test_no_question_is_asked_twice(queries: list[LabelledQuery]) -> None:
    asked = Counter((query.text.casefold(), query.scope) for query in queries)

    assert [question for question, times in asked.items() if times > 1] == []


def test_every_label_is_of_a_document_that_its_scope_sees(
    queries: list[LabelledQuery], owners: dict[str, str]
) -> None:
    wrong = [
        (query.text, name)
        for query in queries
        for name in query.grades
        if owners.get(name) not in query.scope.visible_keys
    ]

    assert wrong == []


def test_grades_are_used_as_described(queries: list[LabelledQuery]) -> None:
    best = Counter(max(query.grades.values()) for query in queries)
    several = sum(1 for query in queries if len(query.grades) > 1)

    assert set(best) == {2, 3}
    assert best[3] > 0.95 * len(queries)
    assert several > len(queries) / 2
    assert max(len(query.grades) for query in queries) < 100


def test_languages_are_written_in_their_letters(queries: list[LabelledQuery]) -> None:
    english = " ".join(query.text for query in queries if "en" in query.tags)
    russian = [query.text for query in queries if "ru" in query.tags]

    assert english.isascii()
    assert all(not text.isascii() for text in russian)


def test_the_file_is_what_the_labels_say() -> None:
    written = [json.loads(line) for line in QUERIES.read_text(encoding="utf-8").splitlines()]

    assert written == list(iter_queries())
