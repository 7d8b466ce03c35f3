"""What the index should hold, said in a few lines that share nothing with the pipeline."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from sync_pipeline_tests.fakes.row_source import Row

POISON: Final = "☠"
"""The model refuses texts with it."""
ODD: Final = "⚠"
"""The index refuses points whose text has it."""

TYPES: Final = {"materials": "material", "works": "work"}
"""Document types by table."""

ID_COLUMNS: Final = {"materials": ("id",), "works": ("shop_id", "sku")}
"""What says which row, by table."""


class Key(NamedTuple):
    """Which row."""

    table: str
    values: tuple[str, ...]
    """Of the id columns."""

    @property
    def row_id(self) -> str:
        """The values as one text that no other row has."""
        if len(self.values) == 1:
            return self.values[0]
        spelt = {"~": "~0", "/": "~1"}
        return "/".join("".join(spelt.get(sign, sign) for sign in value) for value in self.values)


@dataclass(frozen=True, slots=True)
class Expected:
    """A document as a reader of the table would describe it."""

    document_id: str
    scope_key: str
    text: str
    unit: object
    price: object

    @property
    def is_refused(self) -> bool:
        """Whether model or index will not have it."""
        return POISON in self.text or ODD in self.text


Rows = Mapping[Key, Row]


def owner_of(row: Row) -> str | None:
    """The scope key of a row; None where nobody owns it."""
    if row["is_global"]:
        return "global"
    return None if row["tenant_id"] is None else str(row["tenant_id"])


def describe(key: Key, row: Row) -> Expected | None:
    """The document of a row; None where nobody owns it, it does not count or it has no text."""
    scope_key = owner_of(row)
    if scope_key is None:
        return None
    if key.table == "works" and row["status"] not in ("active", None):
        return None
    kind = "global" if row["is_global"] else "tenant"
    columns = ("name", "unit") if key.table == "materials" else ("name",)
    text = " ".join(" ".join(str(row[name]).split()) for name in columns if row[name]).strip()
    if not text:
        return None
    return Expected(
        document_id=f"{kind}-{TYPES[key.table]}-{key.row_id}",
        scope_key=scope_key,
        text=text,
        unit=row["unit"],
        price=row["price"] if key.table == "materials" else None,
    )


def documents(rows: Rows, *, scope_key: str) -> dict[str, Expected]:
    """Every document of a scope, by id."""
    found = (describe(key, row) for key, row in rows.items())
    return {
        document.document_id: document
        for document in found
        if document is not None and document.scope_key == scope_key
    }


@dataclass(slots=True)
class Oracle:
    """The rows, and every document that each scope has ever owned."""

    rows: dict[Key, Row] = field(default_factory=dict)
    ever: set[tuple[str, str, str]] = field(default_factory=set)
    """``(scope key, document id, text)``."""

    def commit(self, changes: Mapping[Key, Row | None]) -> None:
        """Make changes visible at once; None deletes."""
        for key, row in changes.items():
            if row is None:
                self.rows.pop(key, None)
                continue
            self.rows[key] = dict(row)
            document = describe(key, row)
            if document is not None:
                self.ever.add((document.scope_key, document.document_id, document.text))

    def tables(self) -> dict[str, list[Row]]:
        """The rows as a source holds them."""
        found: dict[str, list[Row]] = {name: [] for name in TYPES}
        for key, row in self.rows.items():
            found[key.table].append(dict(row))
        return found

    def snapshot(self) -> dict[Key, Row]:
        """A copy of the rows."""
        return {key: dict(row) for key, row in self.rows.items()}

    def scope_keys(self) -> Iterator[str]:
        """Global and every tenant that owns a row."""
        yield "global"
        yield from sorted(
            {
                str(row["tenant_id"])
                for row in self.rows.values()
                if not row["is_global"] and row["tenant_id"] is not None
            }
        )
