"""The source tables: which they are and how their rows become documents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final

from pydantic import AfterValidator, Field

from sync_pipeline.core.entity import Entity
from sync_pipeline.settings.rules import (
    Mistake,
    checked,
    refusal,
    repeated,
    why_not_a_column,
    why_not_a_payload_field,
    why_not_a_table,
    why_not_a_view_name,
    why_not_an_entity_name,
)
from sync_pipeline.settings.sections import Section

Column = Annotated[str, checked(why_not_a_column)]
Columns = Annotated[tuple[Column, ...], Field(min_length=1)]
Views = Annotated[
    Mapping[Annotated[str, checked(why_not_a_view_name)], Columns], Field(min_length=1)
]
Payload = Mapping[Annotated[str, checked(why_not_a_payload_field)], Column]


class EntitySettings(Section):
    """A source table and how its rows become documents."""

    name: Annotated[str, checked(why_not_an_entity_name)]
    """Entity type, e.g. `material`: part of every document id, and the payload field `type`."""
    table: Annotated[str, checked(why_not_a_table)]
    """Table, or `schema.table`."""
    id: Column = "id"
    """Column that is unique in the table."""
    tenant: Column = "tenant_id"
    """Column with the tenant that owns the row."""
    is_global: Column = "is_global"
    """Boolean column; true shares the row with every tenant."""
    updated_at: Column | None = None
    """Column with the time of the last change; null where there is none, then every sync of the
    table is a full one."""
    views: Views
    """Per view the columns that are joined to its text, in this order. Each view is one vector."""
    payload: Payload = Field(default_factory=dict)
    """Per payload field the column it is filled from."""

    def as_entity(self) -> Entity:
        """Convert to the value that the engine works with."""
        return Entity(
            name=self.name,
            table=self.table,
            id=self.id,
            tenant=self.tenant,
            is_global=self.is_global,
            updated_at=self.updated_at,
            views=tuple(self.views.items()),
            payload=tuple(self.payload.items()),
        )


DEFAULT_ENTITIES: Final = (
    EntitySettings(
        name="material",
        table="materials",
        updated_at="updated_at",
        views={"text": ("name", "category", "supplier", "unit")},
        payload={
            "categoryId": "category",
            "supplierId": "supplier",
            "unit": "unit",
            "price": "price",
        },
    ),
    EntitySettings(
        name="work",
        table="works",
        updated_at="updated_at",
        views={"text": ("name", "category", "unit")},
        payload={"categoryId": "category", "unit": "unit"},
    ),
)
"""A construction catalogue."""


def repeated_name(name: object) -> Mistake:
    """Say that two entities share a name."""
    return Mistake(f"has two entities called {name!r}", "give each table a name of its own")


def _distinct(entities: tuple[EntitySettings, ...]) -> tuple[EntitySettings, ...]:
    for name in repeated(entity.name for entity in entities):
        raise refusal(repeated_name(name))
    return entities


Entities = Annotated[tuple[EntitySettings, ...], Field(min_length=1), AfterValidator(_distinct)]
"""At least one table, each under a name of its own."""
