"""Questions of applications and operators, asked of an opened installation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from sync_pipeline.core.errors import ConfigurationError
from sync_pipeline.core.filters import Filters
from sync_pipeline.core.scope import GLOBAL
from sync_pipeline.operations.repairing import require_entity_name

if TYPE_CHECKING:
    from sync_pipeline.core.document import Rejection
    from sync_pipeline.core.explanation import Explanation
    from sync_pipeline.core.point import StoredPoint
    from sync_pipeline.core.ports import DocumentRecord
    from sync_pipeline.core.reports import SyncMode
    from sync_pipeline.core.scope import Scope
    from sync_pipeline.engine.context import SyncContext
    from sync_pipeline.engine.landing.ages import LandingAge
    from sync_pipeline.engine.questions.entities import EntityReport
    from sync_pipeline.engine.questions.plan import ScopePlan
    from sync_pipeline.engine.questions.search import SearchRequest, SearchResult, Sharing
    from sync_pipeline.engine.questions.status import ScopeStatusReport
    from sync_pipeline.engine.questions.verify import Verification


def search_as(
    sync: SyncContext,
    text: str,
    *,
    scope: Scope,
    limit: int,
    entity: str | None = None,
    views: tuple[str, ...] = (),
    filters: Filters | None = None,
    **more: Any,
) -> SearchResult:
    """Search as ``scope``: its own documents and the global ones.

    Raises:
        ConfigurationError: a request that cannot be answered, or nothing synced yet.
    """
    from sync_pipeline.engine.questions.search import search

    request = search_request(
        sync, text, limit=limit, entity=entity, views=views, filters=filters, **more
    )
    return search(sync, scope=scope, request=request)


def search_many(
    sync: SyncContext,
    *,
    scope: Scope,
    requests: Sequence[SearchRequest],
    sharing: Sharing,
) -> list[SearchResult]:
    """Several searches as ``scope``: one pass of the model, one request to the index.

    Args:
        sync: Where to look.
        scope: Whose documents, together with the global ones.
        requests: What to look for.
        sharing: With other searches of this process.

    Raises:
        ConfigurationError: one of them cannot be answered, or nothing is synced yet.
    """
    from sync_pipeline.engine.questions.search import search_batch

    return search_batch(sync, scope=scope, requests=requests, sharing=sharing)


def suggest_as(sync: SyncContext, typed: str, *, scope: Scope, limit: int) -> list[str]:
    """Texts of documents of ``scope`` and global ones that complete what somebody types.

    Raises:
        ConfigurationError: the index was built with other settings.
    """
    from sync_pipeline.engine.questions.suggest import suggest

    return suggest(sync, scope=scope, typed=typed, limit=limit)


def prepare_suggestions(sync: SyncContext) -> None:
    """Make what ``suggest_as`` needs in the index, where it is missing.

    Raises:
        TransientError: the index cannot be written now.
    """
    from sync_pipeline.engine.index import index_words

    index_words(sync)


def search_request(
    sync: SyncContext,
    text: str,
    *,
    limit: int,
    entity: str | None = None,
    views: tuple[str, ...] = (),
    filters: Filters | None = None,
    **more: Any,
) -> SearchRequest:
    """What a caller asks for, checked.

    Args:
        sync: Names the entities.
        text: What to look for.
        limit: Most hits.
        entity: Only documents of this entity.
        views: Only these views.
        filters: Conditions on payload values.
        more: ``mode``, ``score_threshold``, ``explain`` and ``passages`` of ``SearchRequest``.

    Raises:
        ConfigurationError: it asks for what there is not, or for too much.
    """
    from sync_pipeline.engine.questions.search import SearchRequest

    if entity is not None:
        require_entity_name(sync, entity)
    wanted = filters or Filters()
    try:
        return SearchRequest(
            text=text,
            limit=limit,
            entity_type=entity,
            views=views,
            filters=wanted.equals,
            ranges=wanted.ranges,
            excluded=wanted.excluded,
            **more,
        )
    except ValueError as error:
        raise ConfigurationError(str(error)) from error


def statuses_by_view(sync: SyncContext) -> list[ScopeStatusReport]:
    """How every scope stands, each view counted by itself."""
    from sync_pipeline.engine.questions.status import scope_statuses
    from sync_pipeline.engine.roles import serving_by_record

    return scope_statuses(serving_by_record(sync))


def landing_ages(sync: SyncContext) -> list[LandingAge]:
    """How old what landed is; none where nothing lands.

    Raises:
        TransientError: the database cannot be reached.
    """
    from sync_pipeline.engine.landing.ages import read_landings

    return [*read_landings(sync).ages]


def kept_of_left_entities(
    sync: SyncContext, statuses: Sequence[ScopeStatusReport]
) -> dict[str, int]:
    """Documents of entities that the settings do not name, of each how many.

    Looked for only where a scope has points that are none of the settings' entities.
    """
    from sync_pipeline.engine.questions.entities import left_entities

    if any(status.other_points for status in statuses):
        return dict(left_entities(_served(sync)))
    return {}


def _served(sync: SyncContext) -> SyncContext:
    """The context of what is searched; that of the settings where nothing is yet."""
    from sync_pipeline.engine.roles import serving

    return serving(sync) or sync


def iter_plans(
    sync: SyncContext, scopes: Sequence[Scope], *, mode: SyncMode
) -> Iterator[ScopePlan]:
    """What a sync of each scope would do; writes nothing.

    Raises:
        StoppedError: asked to stop.
    """
    from sync_pipeline.engine.questions.plan import plan_scope

    for scope in scopes:
        yield plan_scope(sync, scope=scope, mode=mode)


def iter_verifications(sync: SyncContext, scopes: Sequence[Scope]) -> Iterator[Verification]:
    """Source, record and index of each scope, compared document by document.

    Raises:
        StoppedError: asked to stop.
    """
    from sync_pipeline.engine.questions.verify import verify_scope

    served = _served(sync)
    for scope in scopes:
        yield verify_scope(served, scope=scope)


def explain(sync: SyncContext, *, entity: str, row_id: str) -> Explanation:
    """Why a row is searchable or not, and what to do.

    Raises:
        ConfigurationError: no such entity.
    """
    from sync_pipeline.engine.questions.explain import explain_row

    return explain_row(sync, entity_type=entity, row_id=row_id)


def document_as(sync: SyncContext, document_id: str, *, scope: Scope) -> StoredPoint | None:
    """One document as the index has it; None where there is none that a search could find.

    Whether it does not exist or belongs to somebody else is not told apart. As in a search, a row
    that has left the scope's sight is gone, though the index still has it.

    Raises:
        ConfigurationError: the index was built with other settings.
    """
    from sync_pipeline.core.hashing import point_id
    from sync_pipeline.engine.questions.sight import leaving_out_departed
    from sync_pipeline.engine.roles import serving

    served = serving(sync)
    if served is None:
        return None
    with leaving_out_departed(served, scope) as present, served.index() as index:
        points = present(index.retrieve([point_id(document_id)], as_search=True))
    for point in points:
        is_visible = point.scope_key in scope.visible_keys
        if is_visible and point.entity_type in served.entity_names:
            return point
    return None


def explain_document(
    sync: SyncContext, document_id: str, *, scope: Scope | None = None
) -> Explanation | None:
    """The same about one document by its id, as far as ``scope`` may know.

    Returns:
        None where there is no such document, or it is none of ``scope``: the two look alike.
    """
    from sync_pipeline.engine.questions import explain as explaining

    return explaining.explain_document(sync, document_id=document_id, scope=scope)


def explain_as(sync: SyncContext, document_id: str, *, scope: Scope | None) -> Explanation | None:
    """The same about a document that a search as ``scope`` could find: its own, or a global one.

    Args:
        sync: Where to look.
        document_id: As ``core.document.document_id`` makes it.
        scope: Who asks; None for somebody who may know everything.
    """
    from sync_pipeline.core.document import split_document_id

    parts = split_document_id(document_id)
    if parts is None:
        return None
    is_shared = scope is not None and parts[0] == GLOBAL.kind
    return explain_document(sync, document_id, scope=GLOBAL if is_shared else scope)


def list_documents(
    sync: SyncContext,
    *,
    scope: Scope | None = None,
    status: str | None = None,
    entity: str | None = None,
    view: str | None = None,
    after: str | None = None,
    limit: int,
) -> tuple[list[DocumentRecord], str | None]:
    """A page of our record of documents, by id; arguments as in ``IndexState``.

    Returns:
        The documents, and after which id the next page begins; None where there is no other.

    Raises:
        ConfigurationError: no such entity or view.
    """
    from sync_pipeline.engine.roles import serving_by_record

    if entity is not None:
        require_entity_name(sync, entity)
    if view is not None and view not in sync.views:
        raise ConfigurationError(
            f"no view {view!r}; the configured ones are {', '.join(sync.views)}"
        )
    records = serving_by_record(sync).state.list_documents(
        scope=scope,
        status=status,
        entity_type=entity,
        view=view,
        after=after,
        limit=limit + 1,
    )
    page = records[:limit]
    return page, page[-1].document_id if len(records) > limit else None


def entities(sync: SyncContext) -> list[EntityReport]:
    """Entities of the settings, and those that left them and still have documents."""
    from sync_pipeline.engine.questions.entities import entity_reports

    return entity_reports(_served(sync))


def failed_documents(
    sync: SyncContext, *, scope: Scope | None, limit: int | None = None
) -> Sequence[DocumentRecord]:
    """Failed documents with their error and their next try; of all scopes where none is named."""
    from sync_pipeline.engine.roles import serving_by_record

    return serving_by_record(sync).state.list_failed(scope=scope, limit=limit)


def quarantined_rows(sync: SyncContext, *, scope: Scope | None) -> Sequence[tuple[str, Rejection]]:
    """Rows that cannot become documents, each with its scope key."""
    return sync.quarantine.list_all(scope=scope)
