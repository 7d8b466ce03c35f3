"""A landing with a real PostgreSQL, and an origin in memory or any other."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from operator import itemgetter
from typing import Any

from sqlalchemy import Engine, text

from sync_pipeline.core.cleanup import CleanupPolicy
from sync_pipeline.core.landing.fields import parse_field
from sync_pipeline.core.landing.report import LandingReport
from sync_pipeline.core.landing.spec import (
    ColumnRule,
    ColumnType,
    Confirmation,
    DeletionRules,
    FieldTest,
    Landing,
    LandingMode,
    Owner,
    TimeOfChange,
)
from sync_pipeline.core.ports import LandingRecord
from sync_pipeline.core.retrying import Retries
from sync_pipeline.database.landing import PostgresLandings
from sync_pipeline.engine.landing.context import LandingContext
from sync_pipeline.engine.landing.land import LandRequest, land
from sync_pipeline_tests.fakes.origin import FakeOrigin

PRODUCTS = Landing(
    name="products",
    connection="erp",
    table="landing.products",
    id=(parse_field("id"),),
    owner=Owner(),
    columns=(
        ColumnRule(name="name", fields=(parse_field("name"),)),
        ColumnRule(name="price", fields=(parse_field("price"),), type=ColumnType.NUMERIC),
        ColumnRule(
            name="tags", fields=(parse_field("tags"),), type=ColumnType.JSONB, is_optional=True
        ),
    ),
    gone_when=FieldTest(field=parse_field("gone"), accepted=(True,)),
    changed=TimeOfChange(field=parse_field("changed")),
    deletions=DeletionRules(confirm=Confirmation.NONE),
)


def product(number: int, **more: Any) -> dict[str, Any]:
    """A record."""
    return {
        "id": f"p{number:05}",
        "name": f"Product {number}",
        "price": "12.50",
        "changed": "2026-01-01T00:00:00Z",
        **more,
    }


def products(count: int) -> list[dict[str, Any]]:
    """Several."""
    return [product(number) for number in range(count)]


@dataclass(slots=True)
class LandingSite:
    """Lands, and looks at what landed."""

    engine: Engine
    origin: Any = field(default_factory=FakeOrigin)
    landing: Landing = PRODUCTS
    should_stop: Any = lambda: False

    @property
    def store(self) -> PostgresLandings:
        return PostgresLandings(self.engine, retries=Retries(attempts=1))

    @property
    def context(self) -> LandingContext:
        return LandingContext(
            store=self.store,
            open_origin=lambda _: self.origin,
            should_stop=self.should_stop,
        )

    def land(
        self, mode: LandingMode = "full", *, owner: str = "test", **asked: Any
    ) -> LandingReport:
        self.store.prepare([self.landing])
        request = LandRequest(mode=mode, **asked)
        return land(self.context, self.landing, request=request, owner=owner)

    def confirming(self, confirm: Confirmation, **policy: Any) -> None:
        """Confirm deletes so, within these limits."""
        rules = DeletionRules(confirm=confirm, policy=CleanupPolicy(**policy))
        self.landing = replace(self.landing, deletions=rules)

    def rows(self) -> list[dict[str, Any]]:
        with self.engine.connect() as connection:
            found = connection.execute(text(f"TABLE {self.landing.table}"))
            return sorted((dict(row) for row in found.mappings()), key=itemgetter("id"))

    def ids(self) -> list[str]:
        return [row["id"] for row in self.rows()]

    def sql(self, statement: str) -> list[dict[str, Any]]:
        with self.engine.begin() as connection:
            found = connection.execute(text(statement))
            return [dict(row) for row in found.mappings()] if found.returns_rows else []

    def record(self) -> LandingRecord:
        return self.store.get(self.landing)

    def marks(self) -> list[dict[str, Any]]:
        """Of each row who wrote and who locked it: what a write or a lock changes."""
        marks = "SELECT id, xmin::text, xmax::text FROM landing.products ORDER BY id"
        return self.sql(marks)
