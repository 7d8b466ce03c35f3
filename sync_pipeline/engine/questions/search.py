"""Answering searches as one scope."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final, TypeVar

from sync_pipeline.core.conditions import plan_conditions
from sync_pipeline.core.errors import ConfigurationError, IsolationError
from sync_pipeline.core.filters import EVERY_DATE, EVERY_NUMBER, Filters, FilterValue, Range
from sync_pipeline.core.json_path import format_path, parse_path
from sync_pipeline.core.payload import ENTITY_TYPE, RESERVED_FIELDS, shown
from sync_pipeline.core.point import Hit, SearchQuery
from sync_pipeline.core.ports import VectorStore
from sync_pipeline.core.scope import Scope
from sync_pipeline.engine.context import SyncContext
from sync_pipeline.engine.index import check_index
from sync_pipeline.engine.records import read_records

MAX_LIMIT: Final = 100
"""Most hits of one search."""
MAX_QUERY_CHARACTERS: Final = 2_000
"""Longest search text."""

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

    def __post_init__(self) -> None:
        if not self.text.strip() or len(self.text) > MAX_QUERY_CHARACTERS:
            raise ValueError(f"a search text has 1 to {MAX_QUERY_CHARACTERS} characters")
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


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchResult:
    """Hits, best first, and the state of the source they reflect."""

    hits: list[Hit]
    in_sync_to: datetime | None
    """Every change committed before this is visible; None where a scope was never synced."""


def build_query(sync: SyncContext, *, scope: Scope, request: SearchRequest) -> SearchQuery:
    """The one place where a search is made: what the scope may see, and inside it the request.

    Args:
        sync: Names the fields that may be filtered on, and embeds the text.
        scope: The authenticated scope; nothing in ``request`` can widen it.
        request: What the caller asks for.
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
    equals: dict[str, Sequence[FilterValue]] = _by_path(request.filters)
    equals[ENTITY_TYPE] = _searched_entities(sync, request)
    vector = sync.embedder.embed_query(request.text)
    return SearchQuery(
        scope_keys=scope.visible_keys,
        vectors=dict.fromkeys(request.views or sync.views, vector),
        sparse=sync.sparse.encode_query(request.text),
        limit=request.limit,
        equals=equals,
        ranges=_by_path(request.ranges),
        excluded=_by_path(request.excluded),
    )


def search(sync: SyncContext, *, scope: Scope, request: SearchRequest) -> SearchResult:
    """Search the documents of ``scope`` and the global ones, by meaning and by words.

    Every hit is checked against the scope once more before it is returned.

    Raises:
        ConfigurationError: nothing has been synced yet, an unknown view or field, or a range of
            a field that holds nothing with an order, such as texts.
        IsolationError: the index returned a document of another scope; no hit is returned.
    """
    query = build_query(sync, scope=scope, request=request)
    with sync.store() as store:
        collection = check_index(sync, store)
        if collection is None:
            raise ConfigurationError(
                f"there is no index behind {sync.alias!r} yet; run `sync-pipeline sync all` first"
            )
        scored_points = store.query(collection, query)
        if not scored_points:
            _check_ranges(store, collection, query)
    foreign = [
        point.document_id for _, point in scored_points if point.scope_key not in scope.visible_keys
    ]
    if foreign:
        raise IsolationError(scope_key=scope.key, document_ids=foreign)
    hits = [
        Hit(
            document_id=point.document_id,
            score=score,
            text=point.text,
            payload=shown(point.payload),
        )
        for score, point in scored_points
    ]
    return SearchResult(hits=hits, in_sync_to=in_sync_to(sync, scope=scope))


def in_sync_to(sync: SyncContext, *, scope: Scope) -> datetime | None:
    """The oldest snapshot among the scopes and entities that a search as ``scope`` sees."""
    visible = [Scope.from_key(key) for key in scope.visible_keys]
    taken = [record.in_sync_to for record in read_records(sync, scopes=visible).values()]
    moments = [moment for moment in taken if moment is not None]
    return min(moments) if len(moments) == len(visible) else None


def _searched_entities(sync: SyncContext, request: SearchRequest) -> list[str]:
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


def _check_ranges(store: VectorStore, collection: str, query: SearchQuery) -> None:
    """Refuse a range that can find nothing: no silence where a text is taken for a number.

    Raises:
        ConfigurationError: the visible documents have values in the field, all of other kinds.
    """
    for path, ranges in query.ranges.items():
        is_of_dates = any(interval.is_of_dates for interval in ranges)
        every = EVERY_DATE if is_of_dates else EVERY_NUMBER
        plain = replace(
            query,
            limit=1,
            equals={ENTITY_TYPE: query.equals[ENTITY_TYPE]},
            ranges={},
            excluded={},
        )
        if store.query(collection, replace(plain, ranges={path: [every]})):
            continue
        if store.query(collection, replace(plain, excluded={path: [None]})):
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
