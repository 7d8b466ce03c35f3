"""Requests and answers of the API; their docstrings are the OpenAPI description."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from sync_pipeline.core.filters import (
    MAX_FILTER_VALUES,
    Bound,
    Filters,
    FilterValue,
    Range,
    read_bound,
)
from sync_pipeline.core.scope import TENANT_PREFIX
from sync_pipeline.service.problems import BadRequestError

MAX_TEXT = 2_000
MAX_HITS = 100
MAX_BATCH = 100
MAX_TENANT = 128
MAX_SCOPE = MAX_TENANT + len(TENANT_PREFIX)
MAX_CHANGE_ID = 2**63 - 1

Text = Annotated[str, Field(min_length=1, max_length=MAX_TEXT, examples=["gypsum plaster 30 kg"])]
TenantName = Annotated[
    str,
    Field(
        min_length=1,
        max_length=MAX_TENANT,
        description="Whose documents; workers and admins alone may name another than their own. "
        "`global`: the shared ones only.",
    ),
]
FieldName = Annotated[str, Field(min_length=1, max_length=256)]
Scalar = str | bool | int | float | None


class Model(BaseModel):
    """Unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class Conditions(Model):
    """What a payload value has to be; all of it has to hold."""

    any: list[Scalar] | None = Field(default=None, max_length=MAX_FILTER_VALUES)
    """One of these values."""
    none: list[Scalar] | None = Field(default=None, max_length=MAX_FILTER_VALUES)
    """Not one of these; a document without the field passes."""
    gt: float | int | str | None = None
    """Greater: a number, a day like 2026-01-02 or a moment like 2026-01-02T10:00:00Z."""
    gte: float | int | str | None = None
    lt: float | int | str | None = None
    lte: float | int | str | None = None


class SearchBody(Model):
    """What to look for."""

    query: Text
    limit: int = Field(default=10, ge=1, le=MAX_HITS)
    entity: FieldName | None = None
    """Only documents of this entity, e.g. `material`."""
    view: FieldName | list[FieldName] | None = None
    """Only these views; all of them by default."""
    mode: Literal["hybrid", "dense", "text"] = "hybrid"
    """By meaning and by words, or by one of them alone."""
    filters: dict[FieldName, Scalar | list[Scalar] | Conditions] = Field(
        default_factory=dict, max_length=32
    )
    """Per payload field a value, a list of alternatives, or conditions."""
    score_threshold: float | None = None
    """Hits below it are left out."""
    explain: bool = False
    """Say at which place each ranking has the hits."""
    passages: bool = False
    """Say which passage of a long text each hit is about."""
    tenant_id: TenantName | None = None
    min_change_id: int | None = Field(default=None, ge=0, le=MAX_CHANGE_ID)
    """Wait a little until this change of the feed (`change_event.id`) is searchable."""


class BatchBody(Model):
    """Several searches as one caller."""

    searches: list[SearchBody] = Field(min_length=1, max_length=MAX_BATCH)
    tenant_id: TenantName | None = None


class PassageModel(BaseModel):
    """The passage of a long text that is nearest to the search."""

    view: str
    start: int
    """Place of its first character in the document's text."""
    stop: int
    """Place behind its last one."""
    text: str
    score: float


class HitModel(BaseModel):
    """One document found."""

    document_id: str
    score: float
    text: str
    payload: dict[str, object]
    rankings: dict[str, int] | None = None
    """With `explain`: the place, from 1, that each ranking gives it, by view, or `bm25`."""
    passages: list[PassageModel] | None = None
    """With `passages`: of each long view that was searched the best one."""


class SearchAnswer(BaseModel):
    """Hits, best first."""

    hits: list[HitModel]
    in_sync_to: dict[str, datetime | None]
    """Per scope searched: every change made before this is visible. Rows that land from another
    system are known to the last complete pass through it; null where there was none."""
    degraded: str | None = None
    """How else than asked for it was searched, and why: no provider of embeddings answers."""


class BatchAnswer(BaseModel):
    """One answer per search, in their order."""

    results: list[SearchAnswer]


class SuggestAnswer(BaseModel):
    """Texts of documents, those that begin as typed first."""

    suggestions: list[str]


class ViewStatus(BaseModel):
    """One view of one entity of one scope."""

    entity: str
    view: str
    state: Literal["synced", "stale", "failed", "pending"]
    documents: int
    """Documents of the entity in step, as its last sync recorded them."""
    failed: int
    quarantined: int
    error: str | None
    """The latest error of a failed document."""


class BlockedModel(BaseModel):
    """A deletion that a run refused, for it was too much; it waits for approval."""

    deletions: int
    """What `POST /api/sync/approve` has to name."""
    points: int
    """Points that the scope had then."""
    since: datetime


class ScopeStatus(BaseModel):
    """One scope, as the last syncs recorded it."""

    scope_key: str
    rows: int
    documents: int
    """In step."""
    coverage: float
    """Share of the rows that can become documents: 1.0 only where all are in step."""
    failed: int
    quarantined: int
    in_sync_to: datetime | None
    """Every change made before is searchable; null while an entity was never synced, or a landing
    of it never complete."""
    last_success_at: datetime | None
    last_full_at: datetime | None
    is_running: bool
    is_cut_off: bool
    """Whether a run began to write and never finished: the next one compares everything."""
    blocked: BlockedModel | None
    views: list[ViewStatus]


class WorkerModel(BaseModel):
    """Whether syncs are being run, as far as their records tell."""

    is_running: bool
    last_run_at: datetime | None
    last_run_failed: bool


class ActionModel(BaseModel):
    """Something that can be done about an error."""

    action: Literal[
        "sync",
        "approve_deletions",
        "retry_document",
        "verify",
        "switch_index",
        "roll_back_index",
        "land",
        "migrate",
        "show",
        "change_setting",
    ]
    arguments: dict[str, str | int | bool | list[str]]
    """Of `sync` the body of `POST /api/sync/run`, of `approve_deletions` that of
    `POST /api/sync/approve`."""


class RunModel(BaseModel):
    """What became of one run of one scope."""

    run_id: str
    scope_key: str
    mode: str
    status: Literal["success", "failed", "skipped"]
    started_at: datetime
    finished_at: datetime
    counts: dict[str, int]
    seconds: dict[str, float]
    error: str | None
    remedy: list[ActionModel] = []
    """What can be done, where its scope's last run is this one and failed."""


class OpenPassModel(BaseModel):
    """A pass through an origin that has begun and is not applied."""

    mode: Literal["full", "incremental"]
    started_at: datetime
    pages: int
    records: int
    total: int | None
    """Records that there are, where the origin says it."""


class LandingModel(BaseModel):
    """How records of another system have landed."""

    name: str
    table: str
    connection: str
    rows: int
    complete_at: datetime | None
    """When the last complete pass began: nothing of its table is in sync beyond it."""
    age_seconds: float | None
    is_fresh: bool
    applied_at: datetime | None
    changed_at: datetime | None
    """The newest time of change among its records."""
    failed_at: datetime | None
    error: str | None
    """Of the last run, if it failed."""
    not_before: datetime | None
    """Until when the origin asked to be left alone."""
    needs_full_pass: str | None
    rejected: int
    """Things that were wrong with records."""
    open_pass: OpenPassModel | None


class MeasuredScope(BaseModel):
    """One scope, counted in source, record and index just now."""

    scope_key: str
    source_rows: int
    documents: int
    points: int
    coverage: float
    failed: int
    quarantined: int
    pending: int
    surplus: int
    other_points: int
    last_success_at: datetime | None
    oldest_unsynced_seconds: float | None


class StatusAnswer(BaseModel):
    """How everything that the caller may see stands."""

    at: datetime
    environment: str | None = None
    """Name of the environment of the settings file; null where none is chosen."""
    health_percent: float
    """Share of documents in step: 100 only where none is missing."""
    problems: list[str]
    """What is wrong, in words, the worst first."""
    total_scopes: int
    """Scopes that match, on all pages."""
    scopes: list[ScopeStatus]
    worker: WorkerModel
    runs: list[RunModel]
    """The last runs, the one that ended last first."""
    landings: list[LandingModel] = []
    """For operators: how old what landed from other systems is."""
    measured: list[MeasuredScope] | None = None
    """With `measured=true` the same page of scopes by their key, counted."""


class Problem(BaseModel):
    """A problem document (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str | None = None
    request_id: str
    remedy: list[ActionModel] = []
    """What can be done, as far as the caller may know or do it."""


def read_filters(conditions: dict[str, Scalar | list[Scalar] | Conditions]) -> Filters:
    """The filters of a request.

    Raises:
        BadRequestError: a bound that is no number and no date, or too many values.
    """
    equals: dict[str, list[FilterValue]] = {}
    excluded: dict[str, list[FilterValue]] = {}
    ranges: dict[str, list[Range]] = {}
    try:
        for name, value in conditions.items():
            if isinstance(value, Conditions):
                bounds = _bounds(value)
                if value.any is not None:
                    equals[name] = list(value.any)
                if value.none is not None:
                    excluded[name] = list(value.none)
                if bounds:
                    ranges[name] = [Range(**bounds)]
            else:
                equals[name] = list(value) if isinstance(value, list) else [value]
        return Filters(equals=equals, ranges=ranges, excluded=excluded)
    except ValueError as error:
        raise BadRequestError(f"filters: {error}") from error


def _bounds(conditions: Conditions) -> dict[str, Bound]:
    named = {name: getattr(conditions, name) for name in ("gt", "gte", "lt", "lte")}
    return {
        name: read_bound(bound) if isinstance(bound, str) else bound
        for name, bound in named.items()
        if bound is not None
    }
