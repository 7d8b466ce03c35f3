"""Texts arrive in PostgreSQL as they are, whatever is in them."""

from __future__ import annotations

import random

import pytest
from sqlalchemy import Engine, text

from sync_pipeline.database.arrays import text_array

ODD = ['"', "\\", "{", "}", ",", "NULL", "null", "", " ", "\n", "\t", "'", "%", "д", "😀", "\u0001"]


def arrived(engine: Engine, values: list[str | None]) -> list[str | None]:
    query = text("SELECT value FROM unnest(CAST(:texts AS text[])) WITH ORDINALITY AS it (value)")
    with engine.connect() as connection:
        return list(connection.scalars(query, {"texts": text_array(values)}))


@pytest.mark.parametrize(
    "values",
    [
        [],
        [""],
        ["a"],
        ["a", "b"],
        [None],
        [None, "NULL", None],
        ODD,
        ['{"text":"0af3"}', "a\\b", 'c"'],
        ['"', "x"],
        ['a","b'],
    ],
)
def test_texts_arrive_as_they_are(engine: Engine, values: list[str | None]) -> None:
    assert arrived(engine, values) == values


def test_so_do_any_others(engine: Engine) -> None:
    chance = random.Random(20261201)  # noqa: S311 - repeatable, not secret
    for _ in range(200):
        values = [
            chance.choice([None, "".join(chance.choices(ODD, k=chance.randrange(5)))])
            for _ in range(chance.randrange(6))
        ]
        assert arrived(engine, values) == values, values
