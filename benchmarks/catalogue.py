"""The catalogue that is measured: any number of rows, the same ones for the same seed.

Short construction texts of 5 to 14 words in English and Russian, made of the
articles of the built-in sample, a finish and an article number. Global rows come
first, then tenant after tenant; every eleventh row is a work, the others are
materials. A share of all rows, all of tenants, has the text of a row of another owner.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sync_pipeline.core.document import render_text
from sync_pipeline.sample.builtin import iter_articles
from sync_pipeline.sample.lines import Article, EntityName

WORK_EVERY: Final = 11
MAX_ARTICLE_WORDS: Final = 12
"""Longest article: a finish and a number make it 14 words."""
NUMBERS: Final = 9000

_CYRILLIC: Final = re.compile(r"[\u0400-\u04ff]")
_ENGLISH_FINISHES: Final = (
    "", "white", "grey", "black", "anthracite", "cream", "beige", "brown", "red", "blue", "green",
    "galvanised", "matt", "glossy", "primed", "reinforced", "premium", "standard", "economy",
    "outdoor", "indoor", "frost-resistant", "moisture-resistant", "refurbished",
)  # fmt: skip
_RUSSIAN_FINISHES: Final = (
    "", "белый", "серый", "чёрный", "антрацит", "кремовый", "бежевый", "коричневый", "красный",
    "синий", "зелёный", "оцинкованный", "матовый", "глянцевый", "грунтованный", "усиленный",
    "премиум", "стандарт", "эконом", "наружный", "внутренний", "морозостойкий", "влагостойкий",
    "восстановленный",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogueSize:
    """How many rows, of whom, and how alike.

    The defaults give 50,000 materials (40,000 global) and 5,000 works (4,000 global).
    """

    rows: int = 55_000
    tenants: int = 5
    global_share: float = 0.8
    copied_share: float = 0.15
    """Share of all rows whose text a row of another owner has already."""
    seed: int = 2026

    def __post_init__(self) -> None:
        if self.global_rows < WORK_EVERY or self.rows - self.global_rows < self.tenants:
            raise ValueError(f"{self.rows} rows are too few for {self.tenants} tenants")

    @property
    def global_rows(self) -> int:
        """Rows that every tenant shares."""
        return round(self.rows * self.global_share)

    @property
    def scopes(self) -> int:
        """Global and every tenant."""
        return self.tenants + 1


class SourceRow(NamedTuple):
    """One row of ``materials`` or ``works``."""

    entity: EntityName
    id: str
    tenant_id: str | None
    name: str
    category: str
    supplier: str | None
    unit: str
    price: str

    @property
    def text(self) -> str:
        """The text that is embedded for it."""
        return render_text([self.name, self.category, self.supplier, self.unit])


def iter_catalogue(size: CatalogueSize) -> Iterator[SourceRow]:
    """Yield every row, global ones first; the arrays behind it take 50 bytes a row."""
    random = np.random.default_rng(size.seed)
    text_of = _text_numbers(random, size)
    draws: dict[EntityName, NDArray[np.int64]] = {
        "material": _draw_texts(random, entity="material", count=size.rows),
        "work": _draw_texts(random, entity="work", count=size.rows // WORK_EVERY + 1),
    }
    prices = random.integers(50, 5_000_000, size.rows)
    ids = random.bytes(16 * size.rows)
    tenant_of = _tenant_numbers(size)
    for place in range(size.rows):
        entity = entity_at(place)
        text = int(text_of[place])
        draw = draws[entity][text // WORK_EVERY if entity == "work" else text]
        tenant = int(tenant_of[place])
        yield SourceRow(
            entity,
            str(uuid.UUID(bytes=ids[16 * place : 16 * place + 16], version=4)),
            None if tenant < 0 else tenant_name(tenant),
            *_render(entity, int(draw)),
            f"{prices[place] / 100:.2f}",
        )


def entity_at(place: int) -> EntityName:
    """What the row at a place is."""
    return "work" if place % WORK_EVERY == WORK_EVERY - 1 else "material"


def tenant_name(number: int) -> str:
    """The id of a tenant."""
    return f"tenant-{number:05d}"


def _tenant_numbers(size: CatalogueSize) -> NDArray[np.int64]:
    """Per row the number of its tenant, -1 for global."""
    owned = size.rows - size.global_rows
    tenants = np.arange(owned) * size.tenants // owned
    return np.concatenate([np.full(size.global_rows, -1, dtype=np.int64), tenants])


def _text_numbers(random: np.random.Generator, size: CatalogueSize) -> NDArray[np.int64]:
    """Per row the place of the row whose text it has: its own, or that of an earlier owner."""
    numbers = np.arange(size.rows)
    owned = size.rows - size.global_rows
    wanted = min(owned, round(size.rows * size.copied_share))
    copies = np.sort(random.choice(owned, wanted, replace=False)) + size.global_rows
    tenants = _tenant_numbers(size)[copies]
    starts = size.global_rows + -(-tenants * owned // size.tenants)
    # Same place within eleven rows, so that a work has the text of a work.
    sources = random.integers(0, starts // WORK_EVERY) * WORK_EVERY + copies % WORK_EVERY
    for tenant in np.unique(tenants):
        # A row of an earlier tenant can be a copy itself; tenants come in order.
        chosen = tenants == tenant
        numbers[copies[chosen]] = numbers[sources[chosen]]
    return numbers


def _draw_texts(
    random: np.random.Generator, *, entity: EntityName, count: int
) -> NDArray[np.int64]:
    """Distinct numbers of texts, each an article, a finish and a number."""
    possible = len(_articles(entity)) * len(_ENGLISH_FINISHES) * NUMBERS
    drawn = random.integers(0, possible, count + count // 20 + 100)
    _, first = np.unique(drawn, return_index=True)
    distinct: NDArray[np.int64] = drawn[np.sort(first)][:count]
    if len(distinct) < count:
        raise ValueError(f"{possible:,} texts are too few for {count:,} rows")
    return distinct


def _render(entity: EntityName, draw: int) -> tuple[str, str, str | None, str]:
    """Name, category, supplier and unit of a drawn text."""
    draw, number = divmod(draw, NUMBERS)
    draw, finish = divmod(draw, len(_ENGLISH_FINISHES))
    article = _articles(entity)[draw]
    is_russian = _CYRILLIC.search(article.name) is not None
    finishes = _RUSSIAN_FINISHES if is_russian else _ENGLISH_FINISHES
    letter = "АВКМ"[number % 4] if is_russian else "ABKM"[number % 4]
    parts = [article.name, finishes[finish], f"{letter}{1000 + number}"]
    return " ".join(filter(None, parts)), article.category, article.supplier, article.unit


@cache
def _articles(entity: EntityName) -> Sequence[Article]:
    """Articles of the sample that leave room for a finish and a number."""
    return [
        article
        for article in iter_articles()
        if article.entity == entity and _count_words(article) <= MAX_ARTICLE_WORDS
    ]


def _count_words(article: Article) -> int:
    columns = (article.name, article.category, article.supplier, article.unit)
    return len(" ".join(filter(None, columns)).split())
