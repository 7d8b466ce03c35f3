"""Answers of the export, in the spelling that its readers know."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict


class ExportDocument(BaseModel):
    """One document as the source has it now."""

    id: str
    text: str
    metadata: dict[str, Any]
    """`tenantId`, `type`, `dbId`, `categoryId`, `supplierId`, `unit`, `isGlobal`, `scope`, and
    every other payload field; null where an entity has none."""


class ExportAnswer(BaseModel):
    """A page of documents. Of `all` there are also `total` and, per entity, `<name>sCount`."""

    model_config = ConfigDict(extra="allow")

    success: bool
    scope: str
    tenantId: str | None  # noqa: N815 - its readers know this name
    count: int
    """Documents of this page; `total` is the same number."""
    limit: int
    offset: int
    nextCursor: str | None  # noqa: N815
    """`cursor` of the next page; null on the last one."""
    documents: list[ExportDocument]


class TenantsAnswer(BaseModel):
    """Tenants that have rows."""

    success: bool
    count: int
    tenantIds: list[str]  # noqa: N815
