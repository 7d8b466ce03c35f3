"""A configured source table and how its rows become documents."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

IDENTIFIER: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
"""SQL identifiers that a settings file may name; everything else is refused."""

RESERVED_PAYLOAD_FIELDS: Final = frozenset(
    {
        "tenantId",
        "type",
        "dbId",
        "isGlobal",
        "scope",
        "document_id",
        "scope_key",
        "text",
        "embed_hash",
        "payload_hash",
        "synced_at",
        "source_revision",
        "schema_version",
    }
)
"""Payload fields that the pipeline writes itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entity:
    """One source table: whose rows they are, what is embedded, what is payload.

    All names are validated SQL identifiers (``settings`` refuses others);
    whether they exist is checked against the database before anything is read.
    """

    name: str
    """Entity type (``material``): part of the document id, payload field ``type``."""
    table: str
    """Table, or ``schema.table``."""
    id: str = "id"
    tenant: str = "tenant_id"
    is_global: str = "is_global"
    updated_at: str | None = None
    """Time of the last change of a row; None where the table has none."""
    views: tuple[tuple[str, tuple[str, ...]], ...]
    """Per view its name and the columns joined to its text, in order."""
    payload: tuple[tuple[str, str], ...] = ()
    """Per payload field its name and its column."""

    @property
    def view_columns(self) -> tuple[str, ...]:
        """Every column that some view reads, each once, in order of first use."""
        return tuple(dict.fromkeys(column for _, columns in self.views for column in columns))

    @property
    def payload_columns(self) -> tuple[str, ...]:
        """Every column that some payload field reads, each once."""
        return tuple(dict.fromkeys(column for _, column in self.payload))

    @property
    def mapped_columns(self) -> tuple[str, ...]:
        """Every column whose change can change a document, each once."""
        return tuple(
            dict.fromkeys(
                (self.id, self.tenant, self.is_global, *self.view_columns, *self.payload_columns)
            )
        )
