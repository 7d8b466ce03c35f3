"""Answering searches as one scope."""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Final, Literal, Protocol, TypeVar

from sync_pipeline.core.batching import batched
from sync_pipeline.core.conditions import plan_conditions
from sync_pipeline.core.errors import (
    CollectionMissingError,
    ConfigurationError,
    NoProviderError,
    TransientError,
)
from sync_pipeline.core.filters import EVERY_DATE, EVERY_NUMBER, Filters, FilterValue, Range
from sync_pipeline.core.json_path import format_path, parse_path
from sync_pipeline.core.payload import ENTITY_TYPE, RESERVED_FIELDS, shown
from sync_pipeline.core.point import (
    BM25_VECTOR,
    BestPassage,
    Hit,
    SearchQuery,
    StoredPoint,
    Vector,
)
from sync_pipeline.core.ports import IndexReader
from sync_pipeline.core.scope import Scope
from sync_pipeline.engine.questions.passages import best_passages
from sync_pipeline.engine.questions.sight import (
    Present,
    leaving_out_departed,
    read_sight,
    require_own,
    snapshots,
)
from sync_pipeline.engine.reading import Reading
from sync_pipeline.engine.roles import require_serving
from sync_pipeline.engine.telling import span_facts

_log: Final = logging.getLogger(__name__)

MAX_LIMIT: Final = 100
"""Most hits of one search."""
MAX_QUERY_CHARACTERS: Final = 2_000
"""Longest search text."""

_UNANSWERED: Final = (
    CollectionMissingError,
    ConfigurationError,
    NoProviderError,
    TransientError,
)
"""Why a generation that stands by cannot be searched."""

Ranked = list[tuple[float, StoredPoint]]
"""Hits as the store gives them, best first."""

SearchMode = Literal["hybrid", "dense", "text"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchRequest:
    """What a caller may ask for; whose documents it sees is not among it.

    Raises:
        ValueError: out of range, a filter on a field of our own, or one that asks for what
            no payload can hold, see ``Filters``.
    """

    text: str
    limit: int = 10
    entity_type: str | None = None
    views: tuple[str, ...] = ()
    """Views to search; all of them where empty."""
    filters: Mapping[str, Sequence[FilterValue]] = field(default_factory=dict)
    """Per configured payload field, or path into one, the accepted values."""
    ranges: Mapping[str, Sequence[Range]] = field(default_factory=dict)
    """The same with ranges, each of which has to hold a value."""
    excluded: Mapping[str, Sequence[FilterValue]] = field(default_factory=dict)
    """The same with values that must not be there."""
    mode: SearchMode = "hybrid"
    """By meaning and by words, or by one of them alone."""
    score_threshold: float | None = None
    """Hits below it are left out. Scores of one mode compare, those of different modes do not."""
    explain: bool = False
    """Whether to say at which place each ranking has the hits; costs a query per ranking."""
    passages: bool = False
    """Whether to say which passage of a long text is meant; reads the vectors of the hits."""

    def __post_init__(self) -> None:
        if not self.text.strip() or len(self.text) > MAX_QUERY_CHARACTERS:
            raise ValueError(f"a search text has 1 to {MAX_QUERY_CHARACTERS} characters")
        if any("\ud800" <= character <= "\udfff" for character in self.text):
            raise ValueError("the search text is not Unicode: it has a lone surrogate")
        if not 1 <= self.limit <= MAX_LIMIT:
            raise ValueError(f"limit lies between 1 and {MAX_LIMIT}")
        own = sorted(RESERVED_FIELDS & self.filtered_fields)
        if own:
            raise ValueError(f"cannot filter on {', '.join(own)}: the pipeline's own fields")
        plan_conditions(self.wanted)

    @property
    def wanted(self) -> Filters:
        """All that it asks of payload values."""
        return Filters(equals=self.filters, ranges=self.ranges, excluded=self.excluded)

    @property
    def filtered_fields(self) -> set[str]:
        """The payload fields that it filters on."""
        return {str(parse_path(path)[0]) for path in self.wanted.names}


class Ahead(Protocol):
    """Does what needs no model while the model works."""

    def begin(self, key: Hashable, work: Callable[[], T]) -> Callable[[], T]:
        """Begin work, or join work of the same key that was asked for and has not begun.

        Returns:
            Waits for it and gives its answer, or raises what it raised.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Sharing:
    """How searches of one process that come at the same time share what they ask."""

    turn: Callable[[], AbstractContextManager[object]] = nullcontext
    """Entered once the texts are embedded, for as long as the index is asked; anew where it is
    asked again."""
    ahead: Ahead | None = None
    """Asks source and record while the texts are embedded; None to ask them afterwards."""

    def begin(self, key: Hashable, work: Callable[[], T]) -> Callable[[], T]:
        """See ``Ahead``."""
        return work if self.ahead is None else self.ahead.begin(key, work)


ALONE: Final = Sharing()
"""Of a process that answers one search."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchResult:
    """Hits, best first, and the state of the source they reflect."""

    hits: list[Hit]
    in_sync_by_scope: Mapping[str, datetime | None]
    """Per scope key that was searched: every change made before this is visible; None where it was
    never synced, or rows of it land and no landing of them was ever complete."""
    rankings: Mapping[str, Mapping[str, int]] | None = None
    """Where asked for: per document id the place, from 1, that each ranking gives it, by view, or
    ``bm25`` for the ranking by words. A hit is in at least one of them."""
    degraded: str | None = None
    """How else than asked for it was searched, and why, while no provider of embeddings answers."""

    @property
    def in_sync_to(self) -> datetime | None:
        """The oldest of them; None where one of them is None."""
        moments = [moment for moment in self.in_sync_by_scope.values() if moment is not None]
        return min(moments) if len(moments) == len(self.in_sync_by_scope) else None


def build_query(
    sync: Reading, *, scope: Scope, request: SearchRequest, vectors: Mapping[str, Vector]
) -> SearchQuery:
    """The one place where a search is made: what the scope may see, and inside it the request.

    Args:
        sync: Names the fields that may be filtered on, and weighs the words.
        scope: The authenticated scope; nothing in ``request`` can widen it.
        request: What the caller asks for.
        vectors: Of its text, by view; empty where it is not searched by meaning.
    """
    equals: dict[str, Sequence[FilterValue]] = _by_path(request.filters)
    equals[ENTITY_TYPE] = _searched_entities(sync, request)
    return SearchQuery(
        scope_keys=scope.visible_keys,
        vectors=vectors,
        sparse=sync.sparse.encode_query(request.text) if request.mode != "dense" else None,
        limit=request.limit,
        equals=equals,
        ranges=_by_path(request.ranges),
        excluded=_by_path(request.excluded),
        fusion=sync.fusion,
    )


def search(sync: Reading, *, scope: Scope, request: SearchRequest) -> SearchResult:
    """Search the documents of ``scope`` and the global ones, by meaning and by words.

    Raises:
        ConfigurationError: nothing has been synced yet, an unknown view or field, or a range of
            a field that holds nothing with an order, such as texts.
        IsolationError: the index returned a document of another scope; no hit is returned.
    """
    (result,) = search_batch(sync, scope=scope, requests=[request])
    return result


def search_batch(
    sync: Reading,
    *,
    scope: Scope,
    requests: Sequence[SearchRequest],
    sharing: Sharing = ALONE,
) -> list[SearchResult]:
    """Several searches as one scope: one pass of the model, one request to the index.

    While no provider of the model can be asked, a generation that stands by is searched, or
    words alone; the results say so.

    Every hit is checked against the scope once more before it is returned. Where the change
    feed is installed, rows that were moved out of the scope's sight or deleted before this was
    called are left out, though the index still has them; so there may be fewer hits than asked
    for.

    Args:
        sync: Where to look.
        scope: Whose documents, together with the global ones.
        requests: What to look for.
        sharing: With other searches of this process.

    Raises:
        ConfigurationError: see ``search``; none of them is answered then.
        IsolationError: likewise.
    """
    facts = span_facts(scope=scope.key, searches=len(requests))
    with sync.tracer.span("search", facts) as span:
        while True:
            served = require_serving(sync)
            try:
                results = search_generation(served, scope=scope, requests=requests, sharing=sharing)
            except NoProviderError as error:
                results = _degraded(
                    served, scope=scope, requests=requests, sharing=sharing, why=error
                )
            except CollectionMissingError:
                # Another generation went live meanwhile, and this one was dropped.
                if require_serving(sync).spec.collection == served.spec.collection:
                    raise
                continue
            span.note(span_facts(hits=sum(len(result.hits) for result in results)))
            return results


def _degraded(
    sync: Reading,
    *,
    scope: Scope,
    requests: Sequence[SearchRequest],
    sharing: Sharing,
    why: NoProviderError,
) -> list[SearchResult]:
    """What can be answered without the model: with another one's index, or by words.

    Scores are others than asked for, so no threshold is kept.
    """
    free = [replace(request, score_threshold=None) for request in requests]
    for standby in sync.standbys:
        other = sync.over(standby)
        if None in snapshots(other, scope=scope).values():
            continue
        try:
            results = search_generation(other, scope=scope, requests=free, sharing=sharing)
        except _UNANSWERED as error:
            _log.warning("%s, which stands by, cannot be asked: %s", other.spec.model_id, error)
            continue
        what = "vectors without meaning of" if standby.has_no_meaning else "the model"
        return _marked(results, f"with {what} {other.spec.model_id}, which stands by", why)
    by_words = [replace(request, mode="text") for request in free]
    results = search_generation(sync, scope=scope, requests=by_words, sharing=sharing)
    return _marked(results, "by words alone", why)


def _marked(results: list[SearchResult], how: str, why: NoProviderError) -> list[SearchResult]:
    said = f"searched {how}: none of {len(why.providers)} providers of embeddings can be asked now"
    _log.warning("%s", said)
    return [replace(result, degraded=said) for result in results]


def search_generation(
    sync: Reading,
    *,
    scope: Scope,
    requests: Sequence[SearchRequest],
    sharing: Sharing = ALONE,
) -> list[SearchResult]:
    """The same in the generation of ``sync``, whether it serves or not.

    Raises:
        CollectionMissingError: it is not there.
    """
    for request in requests:
        _check_names(sync, request)
    sight_read = sharing.begin((sync.spec.collection, scope.key), partial(read_sight, sync, scope))
    with sync.tracer.span("encode"):
        queries = _queries(sync, scope=scope, requests=requests)
    parts = [
        _single_rankings(query) if request.explain else {}
        for request, query in zip(requests, queries, strict=True)
    ]
    extra = [ranking for rankings in parts for ranking in rankings.values()]
    sight = sight_read()
    with (
        sharing.turn(),
        sync.tracer.span("index"),
        leaving_out_departed(sync, scope, sight=sight) as present,
    ):
        with sync.index() as index:
            answers = _ask(index, [*queries, *extra])
            require_own(scope, [point for ranked in answers for _, point in ranked])
            for query, ranked in zip(queries, answers, strict=False):
                if not ranked:
                    _check_ranges(index, query)
            passages = [
                best_passages(sync, index, [point for _, point in ranked], vectors=query.vectors)
                if request.passages
                else None
                for request, query, ranked in zip(requests, queries, answers, strict=False)
            ]
        answers = _without_departed(answers, present)
    explained = iter(answers[len(queries) :])
    return [
        SearchResult(
            hits=_hits(ranked, request, passages=found),
            in_sync_by_scope=sight.in_sync_by_scope,
            rankings=_places({name: next(explained) for name in rankings})
            if request.explain
            else None,
        )
        for request, rankings, ranked, found in zip(
            requests, parts, answers, passages, strict=False
        )
    ]


def _without_departed(answers: Sequence[Ranked], present: Present) -> list[Ranked]:
    """The answers without rows that were moved away or deleted before the index was asked."""
    every = {point.point_id: point for ranked in answers for _, point in ranked}
    shown_ids = {point.point_id for point in present(list(every.values()))}
    return [
        [(score, point) for score, point in ranked if point.point_id in shown_ids]
        for ranked in answers
    ]


def _queries(
    sync: Reading, *, scope: Scope, requests: Sequence[SearchRequest]
) -> list[SearchQuery]:
    """The authorised queries, each different text embedded once."""
    vectors = _embed_texts(sync, [request for request in requests if request.mode != "text"])
    return [
        build_query(
            sync,
            scope=scope,
            request=request,
            vectors={}
            if request.mode == "text"
            else {
                view: vectors[sync.spec.view(view).model_id, request.text]
                for view in request.views or sync.views
            },
        )
        for request in requests
    ]


def _embed_texts(sync: Reading, requests: Sequence[SearchRequest]) -> dict[tuple[str, str], Vector]:
    """The vectors of search texts by model id and text, of the models of the views searched."""
    texts: dict[str, set[str]] = {}
    for request in requests:
        for view in request.views or sync.views:
            texts.setdefault(sync.spec.view(view).model_id, set()).add(request.text)
    embedders = sync.embedders
    return {
        (model_id, text): vector
        for model_id, found in texts.items()
        for part in batched(sorted(found), embedders[model_id].max_batch)
        for text, vector in zip(part, embedders[model_id].embed_queries(part).vectors, strict=True)
    }


def _single_rankings(query: SearchQuery) -> dict[str, SearchQuery]:
    """Each ranking that a search fuses as a search of its own, as deep as the fusion looks."""
    bare = replace(query, limit=query.fusion.candidates_for(query.limit))
    rankings = {
        view: replace(bare, vectors={view: vector}, sparse=None)
        for view, vector in query.vectors.items()
    }
    if query.sparse is not None:
        rankings[BM25_VECTOR] = replace(bare, vectors={})
    return rankings


def _ask(index: IndexReader, queries: Sequence[SearchQuery]) -> list[Ranked]:
    if len(queries) == 1:
        return [index.query(queries[0])]
    return index.query_batch(queries)


def _hits(
    ranked: Sequence[tuple[float, StoredPoint]],
    request: SearchRequest,
    *,
    passages: Mapping[str, tuple[BestPassage, ...]] | None,
) -> list[Hit]:
    return [
        Hit(
            document_id=point.document_id,
            score=score,
            text=point.text,
            payload=shown(point.payload),
            passages=None if passages is None else passages.get(point.point_id, ()),
        )
        for score, point in ranked
        if request.score_threshold is None or score >= request.score_threshold
    ]


def _places(
    rankings: Mapping[str, Sequence[tuple[float, StoredPoint]]],
) -> dict[str, dict[str, int]]:
    """Per document id the place, from 1, that each ranking gives it."""
    places: dict[str, dict[str, int]] = {}
    for name, ranked in rankings.items():
        for place, (_, point) in enumerate(ranked, start=1):
            places.setdefault(point.document_id, {})[name] = place
    return places


def _check_names(sync: Reading, request: SearchRequest) -> None:
    """Refuse views and payload fields that are not configured.

    Raises:
        ConfigurationError: naming those that are.
    """
    unknown = sorted(set(request.views) - set(sync.views))
    if unknown:
        raise ConfigurationError(
            f"no view {', '.join(unknown)}; the configured ones are {', '.join(sync.views)}"
        )
    fields = {name for entity in sync.entities for name, _ in entity.payload}
    strange = sorted(request.filtered_fields - fields)
    if strange:
        raise ConfigurationError(
            f"cannot filter on {', '.join(strange)}; "
            f"the configured payload fields are {', '.join(sorted(fields))}"
        )
    _searched_entities(sync, request)


def _searched_entities(sync: Reading, request: SearchRequest) -> list[str]:
    """Entities of the settings, or the one asked for.

    Raises:
        ConfigurationError: the settings do not name it; documents of such an entity may
            be left in the index.
    """
    names = list(sync.entity_names)
    if request.entity_type is None:
        return names
    if request.entity_type not in names:
        raise ConfigurationError(
            f"no entity {request.entity_type!r}; the configured ones are {', '.join(names)}"
        )
    return [request.entity_type]


def _check_ranges(index: IndexReader, query: SearchQuery) -> None:
    """Refuse a range that can find nothing: no silence where a text is taken for a number.

    Raises:
        ConfigurationError: the visible documents have values in the field, all of other kinds.
    """
    for path, ranges in query.ranges.items():
        is_of_dates = any(wanted.is_of_dates for wanted in ranges)
        every = EVERY_DATE if is_of_dates else EVERY_NUMBER
        plain = replace(
            query,
            limit=1,
            equals={ENTITY_TYPE: query.equals[ENTITY_TYPE]},
            ranges={},
            excluded={},
        )
        if index.query(replace(plain, ranges={path: [every]})):
            continue
        if index.query(replace(plain, excluded={path: [None]})):
            raise ConfigurationError(
                f"no range of {'dates' if is_of_dates else 'numbers'} can find anything by {path}: "
                f"its values are of another kind. Compare them with {path}=VALUE"
            )


def _by_path(named: Mapping[str, Sequence[T]]) -> dict[str, Sequence[T]]:
    """The same with one spelling of each path, so that none hides another."""
    spelled: dict[str, Sequence[T]] = {}
    for name, values in named.items():
        path = format_path(parse_path(name))
        spelled[path] = (*spelled.get(path, ()), *values)
    return spelled
