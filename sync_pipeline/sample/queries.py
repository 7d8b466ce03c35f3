"""Labelled queries for the built-in catalogue, written by people who know it.

``vocabulary/queries.tsv`` says for each query which articles answer it, as patterns of article
numbers; ``queries.jsonl`` has the document ids that follow from them, in the form that
``sync-pipeline evaluate`` reads. After changing the first, write the second anew:
``python -m sync_pipeline.sample.queries``.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

from sync_pipeline.core.document import document_id
from sync_pipeline.core.scope import GLOBAL_KEY, Scope
from sync_pipeline.sample.builtin import NAME, iter_articles
from sync_pipeline.sample.lines import FOLDER, Article
from sync_pipeline.sample.loading import row_id

LABELS: Final = FOLDER / "queries.tsv"
QUERIES: Final = Path(__file__).with_name("queries.jsonl")
GRADES: Final[Mapping[str, int]] = {"exact": 3, "right_kind": 2, "related": 1}
"""Per column of the labels the grade of its articles: all that the query asks for; the same
product in another size, or in the other language; a substitute, or what goes with it."""


def iter_queries() -> Iterator[dict[str, object]]:
    """Yield each query with the documents that its labels name, as ``evaluate`` reads it.

    Raises:
        ValueError: a pattern names no article that the query's scope sees.
    """
    articles = list(iter_articles())
    with LABELS.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
            yield {
                "query": row["query"],
                "scope": row["scope"],
                "tags": row["tags"].split(),
                "relevant": _relevant(row, articles),
            }


def _relevant(row: Mapping[str, str], articles: Sequence[Article]) -> dict[str, int]:
    """Per document its highest grade, the best first."""
    grades: dict[str, int] = {}
    for column, grade in GRADES.items():
        for pattern in filter(None, row[column].split("|")):
            named = list(_documents(pattern, articles, scope=Scope.from_key(row["scope"])))
            if not named:
                raise ValueError(f"query {row['query']!r}: no article {pattern!r} is to be seen")
            for name in named:
                grades.setdefault(name, grade)
    return grades


def _documents(pattern: str, articles: Sequence[Article], *, scope: Scope) -> Iterator[str]:
    """Documents of a line (its code), or of articles whose number has the pattern."""
    whole = pattern if "/" in pattern else f"{pattern}/*"
    for article in articles:
        if fnmatchcase(article.number, whole):
            for owner in {GLOBAL_KEY, scope.key} & set(article.owners):
                row = row_id(catalogue=NAME, scope_key=owner, article=article.number)
                yield document_id(
                    scope=Scope.from_key(owner), entity_type=article.entity, row_id=str(row)
                )


if __name__ == "__main__":
    lines = (json.dumps(query, ensure_ascii=False) for query in iter_queries())
    QUERIES.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
