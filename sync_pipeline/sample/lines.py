"""A line of products or works, from which the articles of the sample follow."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Final, Literal

EntityName = Literal["material", "work"]

FOLDER: Final = Path(__file__).with_name("vocabulary")
"""Tables of lines: tab-separated, one file per entity and language."""

PRICE_STEP: Final = Decimal("0.07")
"""How much dearer than the first each further article of a line is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Article:
    """One product or work, before it is given to its owners."""

    number: str
    """Article number, unique among all lines: the line's code and the options chosen."""
    owners: tuple[str, ...]
    """Scope keys that have a row of it."""
    entity: EntityName
    name: str
    category: str
    supplier: str | None
    unit: str
    price: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """Articles that differ in a few options: one per combination of them.

    Suppliers take turns from article to article.
    """

    code: str
    name: str
    """With a ``{placeholder}`` per option."""
    category: str
    unit: str
    price: str
    """Of the first article."""
    owners: tuple[str, ...]
    entity: EntityName
    options: Mapping[str, str] = field(default_factory=dict)
    """Per placeholder its values, separated by ``|``."""
    suppliers: str = ""
    """Separated by ``|``; empty for works."""

    def iter_articles(self) -> Iterator[Article]:
        """Yield every combination, in the order written."""
        suppliers = self.suppliers.split("|") if self.suppliers else [None]
        values = [listed.split("|") for listed in self.options.values()]
        for position, combination in enumerate(itertools.product(*values)):
            chosen = dict(zip(self.options, combination, strict=True))
            price = Decimal(self.price) * (1 + PRICE_STEP * position)
            yield Article(
                number="/".join((self.code, *combination)),
                owners=self.owners,
                entity=self.entity,
                name=self.name.format_map(chosen),
                category=self.category,
                supplier=suppliers[position % len(suppliers)],
                unit=self.unit,
                price=price.quantize(Decimal("0.01")),
            )


def read_lines(name: str, *, entity: EntityName) -> list[Line]:
    """Read a table of lines.

    Owners and suppliers are separated by ``|``. An option is ``placeholder=value|value``,
    and a semicolon stands between two.

    Args:
        name: Of the file, without its ending.
        entity: What its lines are.
    """
    with (FOLDER / f"{name}.tsv").open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        return [_line(row, entity=entity) for row in rows]


def _line(row: Mapping[str, str], *, entity: EntityName) -> Line:
    options = (option.partition("=") for option in row["options"].split(";") if option)
    return Line(
        code=row["code"],
        name=row["name"],
        category=row["category"],
        unit=row["unit"],
        price=row["price"],
        owners=tuple(row["owners"].split("|")),
        suppliers=row["suppliers"],
        options={placeholder: values for placeholder, _, values in options},
        entity=entity,
    )
