"""What the tools of AI assistants take and answer; their schemas are what a model reads."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final, Literal

from pydantic import BaseModel, Field

from sync_pipeline.service.models import (
    MAX_HITS,
    Conditions,
    FieldName,
    Model,
    Scalar,
    TenantName,
    Text,
)
from sync_pipeline.service.sync_models import MAX_DOCUMENT_ID, ScopeWordOrName

MAX_SCOPES: Final = 50
"""Most scopes that one call names or one answer lists; totals count all."""


class Arguments(Model):
    """What every tool takes."""

    tenant_id: TenantName | None = None
    """Whose documents, instead of your own; `global` for the shared ones alone."""


DocumentId = Annotated[
    str,
    Field(
        min_length=1,
        max_length=MAX_DOCUMENT_ID,
        pattern=r"^[^\x00-\x1f\x7f]+$",
        description="The `document_id` of a hit, exactly as it was given.",
        examples=["tenant-material-17"],
    ),
]


class SearchArguments(Arguments):
    """What to look for."""

    query: Text = Field(
        description="What to look for, in plain words and any language of the catalogue: a name, "
        "a property, a size. Not a question and not a query language."
    )
    limit: int = Field(default=10, ge=1, le=MAX_HITS, description="Most hits.")
    entity: FieldName | None = Field(
        default=None, description="Only documents of this kind, e.g. `material` or `work`."
    )
    filters: dict[FieldName, Scalar | list[Scalar] | Conditions] = Field(
        default_factory=dict,
        max_length=32,
        description="Per payload field a value, a list of alternatives, or an object with `any`, "
        '`none`, `gt`, `gte`, `lt`, `lte`; all have to hold. For instance {"unit": "kg"} or '
        '{"price": {"lte": 100}}.',
    )


class DocumentArguments(Arguments):
    """Which document."""

    document_id: DocumentId


class StatusArguments(Model):
    """Which scopes."""

    tenant_id: TenantName | None = Field(
        default=None, description="This tenant alone, or `global` for the shared documents."
    )
    limit: int = Field(default=10, ge=1, le=MAX_SCOPES, description="Most scopes that are listed.")


class RunArguments(Model):
    """Which syncs."""

    scopes: list[ScopeWordOrName] = Field(
        min_length=1,
        max_length=MAX_SCOPES,
        description="`all`, `tenants`, `global`, ids of tenants, or `tenant:ID`, which means that "
        "tenant even where its id is one of these words.",
    )
    mode: Literal["full", "incremental"] = Field(
        default="full",
        description="`full` compares every row with the index; `incremental` looks at rows that "
        "may have changed.",
    )


class DocumentAnswer(BaseModel):
    """A document as the index has it."""

    document_id: str
    text: str
    payload: dict[str, object]


class ExplanationAnswer(BaseModel):
    """Why a document is searchable or not."""

    document_id: str
    searchable: bool
    outcome: str
    meaning: str
    in_sync_to: datetime | None = None
    """Changes that were committed before this moment are searchable."""
    reason: str | None = None
    """For operators: what is known of it."""
    next_step: str | None = None
    """For operators: what to do."""


class ScopeAnswer(BaseModel):
    """How one scope stands."""

    scope_key: str
    documents: int
    failed: int
    quarantined: int
    in_sync_to: datetime | None
    blocked_deletions: int | None


class ScopesAnswer(BaseModel):
    """How the scopes stand."""

    health_percent: float
    problems: list[str]
    scopes: int
    documents: int
    failed: int
    quarantined: int
    worst: list[ScopeAnswer]
