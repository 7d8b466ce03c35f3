"""Judging searches by labelled queries: which file, which systems, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sync_pipeline.core.errors import ConfigurationError, LabelsError

if TYPE_CHECKING:
    from sync_pipeline.core.fusion import Fusion
    from sync_pipeline.core.labelled import LabelledQuery
    from sync_pipeline.engine.context import SyncContext
    from sync_pipeline.engine.questions.evaluate import Evaluation
    from sync_pipeline.operations.scopes import ScopeDirectory

BUILTIN: Final = "builtin"
"""Names the labelled queries of the built-in sample catalogue."""
BASELINE: Final = "settings"
"""Name of the system that answers searches: what serves, with the settings' section ``search``."""

_WEIGHTS: Final = "weights"
_GENERATION: Final = "generation"


def evaluate_file(
    sync: SyncContext,
    name: str,
    *,
    among: ScopeDirectory,
    k: int,
    seed: int,
    compared: Sequence[str] = (),
) -> Evaluation:
    """Ask the labelled queries of a file and judge the answers.

    Args:
        sync: What is asked.
        name: Of the file, or ``builtin``.
        among: The scopes that there are.
        k: Depth of the recall.
        seed: Of the samples for intervals and p values.
        compared: Each a system to be compared with what serves and the settings ask for:
            ``generation=COLLECTION``, and what ``with_changes`` reads.

    Raises:
        LabelsError: lines that cannot be used; nothing was asked.
        ConfigurationError: no such file, a system that there cannot be, nothing synced yet, or
            nothing to be found.
    """
    from sync_pipeline.engine.questions.evaluate import System, evaluate
    from sync_pipeline.engine.roles import require_serving

    serving = require_serving(sync)
    others = [
        System(name=changes, sync=_changed(serving, changes)) for changes in dict.fromkeys(compared)
    ]
    queries = read_queries(name, among=among)
    return evaluate([System(name=BASELINE, sync=serving), *others], queries, k=k, seed=seed)


def read_queries(name: str, *, among: ScopeDirectory) -> list[LabelledQuery]:
    """The labelled queries of a file, every line of which can be asked.

    Raises:
        LabelsError: naming every line that cannot.
        ConfigurationError: the file cannot be read; or, of the built-in queries, the sample
            catalogue is not there.
    """
    from sync_pipeline.engine.questions.query_file import read_query_file

    queries, mistakes = read_query_file(
        _path(name),
        remedy="Name a file of labelled queries, one JSON object per line, or `builtin`.",
    )
    mistakes |= _unaskable(queries) | _of_nobody(queries, among=among)
    if mistakes and name == BUILTIN:
        raise ConfigurationError(
            "the built-in queries are asked of the sample catalogue, whose tenants are not here.",
            remedy="Where they may be: `sync-pipeline sample load builtin`, then "
            "`sync-pipeline sync all`.",
        )
    if mistakes:
        raise LabelsError(origin=name, mistakes=mistakes)
    if not queries:
        raise LabelsError(
            origin=name,
            mistakes={
                1: 'there is no query; fix: write e.g. {"query": "drywall", "scope": '
                '"global", "relevant": {"global-material-1": 3}}'
            },
        )
    return list(queries.values())


def with_changes(fusion: Fusion, changes: str, *, views: Sequence[str]) -> Fusion:
    """A fusion with some of its settings changed.

    Args:
        fusion: What the settings ask for.
        changes: ``KEY=VALUE`` of the section ``search``, several after commas, e.g.
            ``fusion=rrf,rrf_k=60,weights.bm25=2``.
        views: Those that may have a weight.

    Raises:
        ConfigurationError: no such key, or a value that the settings would refuse.
    """
    from pydantic import ValidationError

    from sync_pipeline.core.point import BM25_VECTOR
    from sync_pipeline.settings import SearchSettings
    from sync_pipeline.settings.mistakes import mistakes_of

    values: dict[str, Any] = asdict(fusion)
    values["fusion"] = values.pop("method")
    values[_WEIGHTS] = dict(fusion.weights)
    rankings = (*views, BM25_VECTOR)
    keys = [key for key in SearchSettings.model_fields if key != _WEIGHTS]
    keys += [f"{_WEIGHTS}.{name}" for name in rankings]
    for change in changes.split(","):
        key, sign, value = (part.strip() for part in change.partition("="))
        if key not in keys or not sign:
            raise ConfigurationError(
                f"{change!r} is no KEY=VALUE of a search; the keys are "
                f"{', '.join((*keys, _GENERATION))}"
            )
        section, _, name = key.partition(".")
        (values[_WEIGHTS] if name else values)[name or section] = value
    try:
        return SearchSettings.model_validate(values).as_fusion()
    except ValidationError as error:
        raise ConfigurationError("; ".join(mistakes_of(error, variables={}))) from None


def _changed(sync: SyncContext, changes: str) -> SyncContext:
    """Another system: maybe of another generation, maybe with another fusion."""
    from sync_pipeline.engine.roles import generation_called

    rest = []
    for change in changes.split(","):
        key, _, value = change.partition("=")
        if key.strip() == _GENERATION:
            sync = generation_called(sync, value.strip())
        else:
            rest.append(change)
    if not rest:
        return sync
    return replace(sync, fusion=with_changes(sync.fusion, ",".join(rest), views=sync.views))


def evaluation_answer(evaluation: Evaluation) -> Mapping[str, object]:
    """What came of it, for programs."""
    from sync_pipeline.core.evaluation import CONFIDENCE

    return {"ok": True, "confidence": CONFIDENCE, **asdict(evaluation)}


def _path(name: str) -> Path:
    if name != BUILTIN:
        return Path(name)
    from sync_pipeline.sample.queries import QUERIES

    return QUERIES


def _unaskable(queries: Mapping[int, LabelledQuery]) -> dict[int, str]:
    """Per line what keeps its text from being searched for."""
    from sync_pipeline.engine.questions.search import SearchRequest

    mistakes = {}
    for line, query in queries.items():
        try:
            SearchRequest(text=query.text)
        except ValueError as error:
            mistakes[line] = f"{error}; fix: shorten or correct the query"
    return mistakes


def _of_nobody(queries: Mapping[int, LabelledQuery], *, among: ScopeDirectory) -> dict[int, str]:
    """Per line a tenant that there is not."""
    scopes = dict.fromkeys(query.scope for query in queries.values())
    unknown = set(among.unknown_scopes([scope for scope in scopes if not scope.is_global]))
    return {
        line: f"there is no tenant {query.scope.key!r}; fix: write global, or one that "
        "`sync-pipeline tenants` lists"
        for line, query in queries.items()
        if query.scope in unknown
    }
