"""Labelled queries are read, or every line that is wrong is named with what to write instead."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sync_pipeline.core.labelled import LabelledQuery, read_labelled
from sync_pipeline.core.scope import GLOBAL, Scope

ID = "global-material-1"
RIGHT: dict[str, Any] = {"query": "drywall", "scope": "acme", "relevant": {ID: 3}}


def line(**changes: object) -> bytes:
    values = {name: value for name, value in {**RIGHT, **changes}.items() if value is not ...}
    return json.dumps(values, ensure_ascii=False).encode()


def test_a_line_says_what_is_asked_as_whom_and_what_answers_it() -> None:
    queries, mistakes = read_labelled([line(scope="global", tags=["de", "units"])])

    assert mistakes == {}
    assert queries == {
        1: LabelledQuery(
            text="drywall",
            scope=GLOBAL,
            grades={"global-material-1": 3},
            tags=("de", "units"),
        )
    }


def test_a_list_of_documents_grades_each_with_one() -> None:
    queries, _ = read_labelled([line(relevant=["global-material-1", "tenant-work-2"])])

    assert queries[1].grades == {"global-material-1": 1, "tenant-work-2": 1}
    assert queries[1].tags == ()


def test_empty_lines_count_and_say_nothing() -> None:
    lines = [b"\xef\xbb\xbf" + line(), b"\n", b"  \r\n", line(query="plaster") + b"\r\n"]

    queries, mistakes = read_labelled(lines)

    assert list(queries) == [1, 4]
    assert mistakes == {}


def test_the_same_question_may_be_asked_as_another_scope() -> None:
    queries, mistakes = read_labelled([line(), line(scope="globex"), line()])

    assert [query.scope for query in queries.values()] == [Scope("acme"), Scope("globex")]
    assert mistakes == {3: "asks the same as line 1; fix: join the two, or ask it as another scope"}


@pytest.mark.parametrize(
    ("content", "mistake"),
    [
        pytest.param(b"drywall", "is not JSON; fix: write one object, e.g. {", id="no JSON"),
        pytest.param(b"[" * 100_000, "is not JSON; fix: ", id="JSON without end"),
        pytest.param(b"1" * 5_000, "is not JSON; fix: ", id="number without end"),
        pytest.param(b'["a"]', "is no JSON object; fix: write one, e.g. {", id="no object"),
        pytest.param(
            "{'ü'}".encode("latin-1"), "is not UTF-8; fix: save the file in UTF-8", id="encoding"
        ),
        pytest.param(
            line(tag="x"),
            "'tag' is no key; fix: choose from query, scope, relevant, tags",
            id="unknown key",
        ),
        pytest.param(
            b'{"query": "a", "query": "b"}', "names 'query' twice; fix: leave one", id="key twice"
        ),
        pytest.param(
            b'{"query": "a", "scope": "global", "relevant": {"x": 1, "x": 2}}',
            "names 'x' twice; fix: leave one of them",
            id="document twice",
        ),
        pytest.param(line(query=...), 'has no query; fix: add "query"', id="no query"),
        pytest.param(line(query="  "), "has no query; ", id="empty query"),
        pytest.param(line(scope=...), 'has no scope; fix: add "scope": "global"', id="no scope"),
        pytest.param(
            line(scope="a...b"),
            "cannot be used: it contains '...'; fix: write global, or the id of a tenant",
            id="impossible scope",
        ),
        pytest.param(line(relevant=...), "names no relevant document; fix: add", id="no label"),
        pytest.param(line(relevant={}), "names no relevant document; ", id="no labels"),
        pytest.param(line(relevant=[1]), "names no relevant document; ", id="numbers"),
        pytest.param(
            line(relevant=["a", "a"]), "names a relevant document twice; fix: ", id="listed twice"
        ),
        pytest.param(
            line(relevant={ID: 11}),
            f"the grade of {ID!r} is none; fix: write a whole number from 0",
            id="grade too high",
        ),
        pytest.param(line(relevant={ID: -1}), f"the grade of {ID!r} is none; ", id="grade below 0"),
        pytest.param(line(relevant={ID: True}), f"the grade of {ID!r} is none; ", id="true"),
        pytest.param(line(relevant={ID: 2.5}), f"the grade of {ID!r} is none; ", id="half a grade"),
        pytest.param(
            line(relevant={ID: 0}), "has no document with a grade above 0; fix: ", id="all 0"
        ),
        pytest.param(
            line(relevant=["plaster"]),
            "'plaster' is no document id; fix: write it as `sync-pipeline search --json` shows it",
            id="no document id",
        ),
        pytest.param(
            b'{"query": "a", "scope": "global", "relevant": ["global-material-\\ud800"]}',
            "is no document id; fix: ",
            id="an id that is not Unicode",
        ),
        pytest.param(line(tags="de"), "the tags are no list of words; fix: ", id="tags"),
        pytest.param(line(tags=[""]), "the tags are no list of words; ", id="empty tag"),
        pytest.param(line(tags=["\x1b[31m"]), "the tags are no list of words; ", id="escape"),
    ],
)
def test_a_wrong_line_is_named_with_what_to_write(content: bytes, mistake: str) -> None:
    queries, mistakes = read_labelled([line(query="right"), content])

    assert list(queries) == [1]
    assert list(mistakes) == [2]
    assert mistake in mistakes[2]
    assert "; fix: " in mistakes[2]
