"""Labelled queries across languages: CWICR's British row, asked for by its name in another edition.

Rows of the editions correspond by code and type. Nobody has to judge anything, so there are as many
queries as wanted; what they say about a catalogue in one language is little.
"""

from __future__ import annotations

import csv
import os
import random
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from sync_pipeline.core.document import document_id
from sync_pipeline.core.scope import GLOBAL, GLOBAL_KEY
from sync_pipeline.engine.questions.search import MAX_QUERY_CHARACTERS
from sync_pipeline.sample.cwicr import MATERIAL_TYPES, NAME
from sync_pipeline.sample.loading import row_id

DATA_VARIABLE: Final = "SYNC_PIPELINE_TEST_DATA"
"""Names the folder of the public catalogues, as for the tests."""
SHARED: Final = "UK"
LANGUAGES: Final[Mapping[str, str]] = {"DE": "de", "FR": "fr", "SP": "es", "RU": "ru"}
"""Per edition the tag of its queries."""
QUERIES_PER_LANGUAGE: Final = 500
SEED: Final = 12

Key = tuple[str, str]
"""Code and type of a row."""


def find_folder() -> Path | None:
    """The folder of the editions; None where there is none."""
    named = os.environ.get(DATA_VARIABLE)
    folder = None if named is None else Path(named) / NAME
    return folder if folder is not None and folder.is_dir() else None


def edition(folder: Path, code: str) -> Path:
    """The file of one edition."""
    (path,) = folder.glob(f"DDC_CWICR_{code}_*.csv")
    return path


def iter_queries(folder: Path) -> Iterator[dict[str, object]]:
    """Yield the sample of each language, as ``evaluate`` reads it.

    Rows that are called the same are equally right.
    """
    shared = _names(edition(folder, SHARED))
    same: dict[str, list[Key]] = {}
    for key, name in shared.items():
        same.setdefault(name, []).append(key)
    for code, tag in LANGUAGES.items():
        names = _names(edition(folder, code))
        # The same words in both languages are no question across languages; the same question
        # can be asked once only.
        by_name = {
            name: key
            for key, name in names.items()
            if key in shared and name != shared[key] and len(name) <= MAX_QUERY_CHARACTERS
        }
        chosen = random.Random(SEED)  # noqa: S311 - a sample, no secret
        for name in chosen.sample(sorted(by_name), QUERIES_PER_LANGUAGE):
            right = same[shared[by_name[name]]]
            yield {
                "query": name,
                "scope": GLOBAL_KEY,
                "tags": [tag],
                "relevant": [_document(key) for key in right],
            }


def _document(key: Key) -> str:
    row = row_id(catalogue=NAME, scope_key=GLOBAL_KEY, article="|".join(key))
    return document_id(scope=GLOBAL, entity_type="material", row_id=str(row))


def _names(path: Path) -> dict[Key, str]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return {
            (row["resource_code"], row["type"]): row["name"]
            for row in csv.DictReader(file)
            if row["type"] in MATERIAL_TYPES and row["resource_code"] and row["name"].strip()
        }
