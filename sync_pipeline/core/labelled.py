"""Queries with the documents that should answer them, as people write them: JSON lines."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sync_pipeline.core.document import split_document_id
from sync_pipeline.core.scope import Scope

MAX_GRADE: Final = 10

_KEYS: Final = ("query", "scope", "relevant", "tags")
_EXAMPLE: Final = '{"query": "drywall 12.5", "scope": "acme", "relevant": {"global-material-1": 3}}'


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledQuery:
    """What somebody asks, and what the answer should be."""

    text: str
    scope: Scope
    """As whom it is asked."""
    grades: Mapping[str, int]
    """Per document id how relevant it is: 3 exact, 2 the right kind, 1 related, say; 0 is not."""
    tags: tuple[str, ...] = ()
    """What it is an example of, e.g. its language; results are given for each as well."""


class _BadLineError(ValueError):
    """What is wrong with a line, and what to write instead."""


def read_labelled(lines: Iterable[bytes]) -> tuple[dict[int, LabelledQuery], dict[int, str]]:
    """Read labelled queries, one JSON object per line in UTF-8; empty lines are passed over.

    Returns:
        By number of line, from 1: the queries, and of lines that are wrong what is, with what to
        write instead.
    """
    queries: dict[int, LabelledQuery] = {}
    mistakes: dict[int, str] = {}
    first_lines: dict[tuple[str, Scope], int] = {}
    for number, line in enumerate(lines, start=1):
        content = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
        if not content.strip():
            continue
        try:
            query = _read_line(content)
        except _BadLineError as mistake:
            mistakes[number] = str(mistake)
            continue
        first = first_lines.setdefault((query.text, query.scope), number)
        if first == number:
            queries[number] = query
        else:
            mistakes[number] = (
                f"asks the same as line {first}; fix: join the two, or ask it as another scope"
            )
    return queries, mistakes


def _read_line(line: bytes) -> LabelledQuery:
    values = _object(line)
    unknown = [key for key in values if key not in _KEYS]
    if unknown:
        raise _BadLineError(f"{unknown[0]!r} is no key; fix: choose from {', '.join(_KEYS)}")
    return LabelledQuery(
        text=_text(values),
        scope=_scope(values),
        grades=_grades(values),
        tags=_tags(values),
    )


def _object(line: bytes) -> Mapping[str, Any]:
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError:
        raise _BadLineError("is not UTF-8; fix: save the file in UTF-8") from None
    try:
        values = json.loads(text, object_pairs_hook=_without_repeats)
    except _BadLineError:
        raise
    except (ValueError, RecursionError):
        raise _BadLineError(f"is not JSON; fix: write one object, e.g. {_EXAMPLE}") from None
    if not isinstance(values, dict):
        raise _BadLineError(f"is no JSON object; fix: write one, e.g. {_EXAMPLE}")
    return values


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise _BadLineError(f"names {twice!r} twice; fix: leave one of them")
    return values


def _text(values: Mapping[str, Any]) -> str:
    text = values.get("query")
    if not isinstance(text, str) or not text.strip():
        raise _BadLineError('has no query; fix: add "query" with the text that is searched for')
    return text


def _scope(values: Mapping[str, Any]) -> Scope:
    key = values.get("scope")
    if not isinstance(key, str):
        raise _BadLineError('has no scope; fix: add "scope": "global", or the id of a tenant')
    try:
        return Scope.from_key(key)
    except ValueError as error:
        raise _BadLineError(f"{error}; fix: write global, or the id of a tenant") from None


def _grades(values: Mapping[str, Any]) -> dict[str, int]:
    relevant = values.get("relevant")
    if isinstance(relevant, list) and all(isinstance(item, str) for item in relevant):
        if len(set(relevant)) < len(relevant):
            raise _BadLineError("names a relevant document twice; fix: name each once")
        relevant = dict.fromkeys(relevant, 1)
    if not isinstance(relevant, dict) or not relevant:
        raise _BadLineError(
            'names no relevant document; fix: add "relevant": {"DOCUMENT_ID": GRADE}, or a list of '
            "document ids, as `sync-pipeline search --json` shows them"
        )
    for document_id, grade in relevant.items():
        if split_document_id(document_id) is None:
            raise _BadLineError(
                f"{document_id!r} is no document id; fix: write it as "
                "`sync-pipeline search --json` shows it"
            )
        if type(grade) is not int or not 0 <= grade <= MAX_GRADE:
            raise _BadLineError(
                f"the grade of {document_id!r} is none; fix: write a whole number from 0 "
                f"(not relevant) to {MAX_GRADE}"
            )
    if not any(relevant.values()):
        raise _BadLineError("has no document with a grade above 0; fix: grade at least one")
    return relevant


def _tags(values: Mapping[str, Any]) -> tuple[str, ...]:
    tags = values.get("tags", [])
    if not isinstance(tags, list) or not all(
        isinstance(tag, str) and tag and tag.isprintable() for tag in tags
    ):
        raise _BadLineError('the tags are no list of words; fix: write e.g. "tags": ["en"]')
    return tuple(dict.fromkeys(tags))
