"""Requests and answers about running syncs; their docstrings are the OpenAPI description."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from sync_pipeline.service.models import MAX_SCOPE, FieldName, Model

MAX_NAMED_SCOPES = 1_000
MAX_DOCUMENT_ID = 1_024
MAX_COUNT = 2**53 - 1
"""Largest number that every JSON reader takes as it is."""

ScopeWordOrName = Annotated[str, Field(min_length=1, max_length=MAX_SCOPE)]
ScopeKey = Annotated[
    str,
    Field(
        min_length=1,
        max_length=MAX_SCOPE,
        description="`global`, the id of a tenant, or `tenant:ID`.",
        examples=["acme"],
    ),
]


class RunBody(Model):
    """Which scopes to sync."""

    scopes: list[ScopeWordOrName] = Field(
        min_length=1, max_length=MAX_NAMED_SCOPES, examples=[["all"], ["global", "acme"]]
    )
    """`all`, `global`, `tenants`, ids of tenants, or `tenant:ID`, which means that tenant even
    where its id is one of these words."""
    mode: Literal["full", "incremental"] = "full"
    """Compare every row, or only those that may have changed."""
    force: bool = False
    """Run scopes too that are as they were synced last."""


class ApproveBody(Model):
    """A deletion that a run refused."""

    scope: ScopeKey
    deletions: int = Field(ge=1, le=MAX_COUNT, strict=True)
    """Exactly as many as the refusal says: another number is refused again."""
    confirm_environment: str | None = Field(default=None, min_length=1, max_length=64)
    """The name of the environment, which a protected one asks for."""


class RetryBody(Model):
    """Which documents to do again."""

    status: Literal["failed", "pending"]
    """`failed`: try documents that failed again. `pending`: sync scopes that are not in step, for
    operators."""
    scope: ScopeKey | None = None
    """Only of this scope. A tenant's own is the only one that it can name."""
    entity: FieldName | None = None
    """Only failed documents of this entity."""


class RequestAnswer(BaseModel):
    """A sync that was asked for; whoever runs syncs takes it within seconds."""

    id: str
    status: Literal["pending", "started", "done", "failed"]
    """Not begun; every scope has a run; all of them succeeded; one did not."""
    scopes: int
    """How many get a run."""
    left_out: int = 0
    """Scopes that were meant and get none: they are as they were synced, or have no rows."""
    reasons: dict[str, str] = {}
    """Why, of at most 100 of them, by scope key."""


class RequestRun(BaseModel):
    """One scope of a request."""

    scope_key: str
    run_id: str | None
    """In Dagster; null while it has none."""
    status: Literal["waiting", "running", "success", "failed", "skipped"]
    finished_at: datetime | None = None
    counts: dict[str, int] | None = None
    """What the run did, once it has ended."""
    error: str | None = None


class FollowAnswer(BaseModel):
    """How far a request is."""

    id: str
    status: Literal["pending", "started", "done", "failed"]
    requested_at: datetime
    requested_by: str | None
    """For operators."""
    mode: str
    force: bool
    approve_deletions: int | None
    updated_at: datetime
    error: str | None
    scopes: int
    started: int
    """Scopes with a run."""
    runs: list[RequestRun]
    """A page of its scopes, in the order in which they are run."""


class DocumentModel(BaseModel):
    """What is recorded of one document; never its text."""

    document_id: str
    scope_key: str
    entity: str
    db_id: str
    status: str
    """`synced`, `failed`, or `pending`: it waits for vectors, and is found by its words."""
    views: list[str]
    """Views with a text, as last synced."""
    failed_views: list[str]
    """Views that the error is about; none where it is about the whole document."""
    error_code: str | None
    error: str | None
    attempts: int
    """Failures since the last success."""
    next_retry_at: datetime | None
    last_synced_at: datetime | None
    last_attempt_at: datetime | None


class DocumentsAnswer(BaseModel):
    """A page of documents, by id."""

    documents: list[DocumentModel]
    next_cursor: str | None
    """`cursor` of the next page; null on the last one."""


class VerdictModel(BaseModel):
    """What it comes to, and what to do."""

    outcome: str
    reason: str
    next_step: str | None


class ExplanationAnswer(BaseModel):
    """Why a document is searchable or not."""

    entity_type: str
    db_id: str
    searchable: bool
    verdict: VerdictModel
    documents: list[dict[str, Any]]
    """What source, record and index have of it; of its text the beginning."""


class PlanAnswer(BaseModel):
    """What a sync of a scope would do."""

    version: int
    database: str
    collection: str
    scopes: list[dict[str, Any]]


class TakenModel(BaseModel):
    """What calls of a model took."""

    calls: int
    """That were answered with vectors."""
    texts: int
    tokens: int
    cost: float
    unconfirmed_calls: int
    """Whose end nobody knows: time-outs, lost connections, killed processes."""
    unconfirmed_tokens: int
    """At most, of those: the provider may charge them."""
    unconfirmed_cost: float


class BudgetModel(BaseModel):
    """How much of a budget is spent."""

    kind: Literal["run", "month", "tenant"]
    key: str
    """A month, or of a tenant a month, `/` and its scope key."""
    spent_tokens: int
    spent_cost: float
    limit_tokens: int | None
    limit_cost: float | None
    spent_fraction: float
    is_alerting: bool


class CostAnswer(BaseModel):
    """What embedding took, and the budgets of this month."""

    first: str
    last: str
    lines: list[dict[str, Any]]
    """What a line is for, by the names of `by`, and then as in `total`."""
    total: TakenModel
    budgets: list[BudgetModel]
