"""A line of products or works, from which the articles of the sample follow."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final, Literal

EntityName = Literal["material", "work"]

GLOBAL: Final = ("global",)
ACME: Final = ("acme",)
GLOBEX: Final = ("globex",)
SEVERSTROY: Final = ("severstroy",)
ACME_AND_GLOBEX: Final = ("acme", "globex")
ALL_TENANTS: Final = ("acme", "globex", "severstroy")

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
    options: Mapping[str, str] = field(default_factory=dict)
    """Per placeholder its values, separated by ``|``."""
    suppliers: str = ""
    """Separated by ``|``; empty for works."""
    entity: EntityName = "material"

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


def work(
    code: str,
    name: str,
    *,
    category: str,
    unit: str,
    price: str,
    owners: tuple[str, ...],
    **options: str,
) -> Line:
    """Describe a line of works."""
    return Line(
        code=code,
        name=name,
        category=category,
        unit=unit,
        price=price,
        owners=owners,
        options=options,
        entity="work",
    )


def material(
    code: str,
    name: str,
    *,
    category: str,
    unit: str,
    price: str,
    owners: tuple[str, ...],
    suppliers: str,
    **options: str,
) -> Line:
    """Describe a line of products."""
    return Line(
        code=code,
        name=name,
        category=category,
        unit=unit,
        price=price,
        owners=owners,
        suppliers=suppliers,
        options=options,
    )
