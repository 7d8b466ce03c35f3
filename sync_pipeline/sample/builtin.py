"""The built-in sample catalogue: a small building materials trade with three tenants.

``acme`` (timber and heritage) and ``globex`` (electricity and solar) sell in
English and have many articles in common; ``severstroy`` sells in Russian. All
of it follows from the product lines in ``vocabulary``; nothing is random.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from sync_pipeline.sample.lines import Article, EntityName, read_lines
from sync_pipeline.sample.loading import Catalogue, owner, row_id
from sync_pipeline.sample.schema import MATERIALS, WORKS

NAME: Final = "builtin"

TABLES: Final[tuple[tuple[str, EntityName], ...]] = (
    ("materials_english", "material"),
    ("materials_russian", "material"),
    ("works_english", "work"),
    ("works_russian", "work"),
)
"""Tables of lines, and what they are lines of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoSearch:
    """A search that shows what a tenant sees."""

    text: str
    tenant_id: str
    claim: str
    """What it shows, for people."""
    outcome: Literal["found", "hidden"]
    """Whether ``document_id`` must be among the first ten hits, or must never be a hit."""
    owner: str
    """Scope key of that document."""
    article: str
    """Article number of that document."""

    @property
    def document_id(self) -> str:
        """The document that the claim is about."""
        kind = "global" if self.owner == "global" else "tenant"
        row = row_id(catalogue=NAME, scope_key=self.owner, article=self.article)
        return f"{kind}-material-{row}"


GOAT_HAIR_PLASTER: Final = "LIME/Lime putty plaster with goat hair"
ROTBAND: Final = "GP/Gypsum plaster Rotband for walls and ceilings/30"

DEMO_SEARCHES: Final = (
    DemoSearch(
        text="plaster with animal hair for a historic house",
        tenant_id="acme",
        claim="a tenant finds its own article",
        outcome="found",
        owner="acme",
        article=GOAT_HAIR_PLASTER,
    ),
    DemoSearch(
        text="Knauf Rotband plaster, bag of 30 kg",
        tenant_id="globex",
        claim="every tenant finds what is shared",
        outcome="found",
        owner="global",
        article=ROTBAND,
    ),
    DemoSearch(
        text="lime putty plaster with goat hair",
        tenant_id="globex",
        claim="another tenant does not find it, whatever it asks",
        outcome="hidden",
        owner="acme",
        article=GOAT_HAIR_PLASTER,
    ),
)


def iter_articles() -> Iterator[Article]:
    """Yield every article of every line."""
    for name, entity in TABLES:
        for line in read_lines(name, entity=entity):
            yield from line.iter_articles()


def read_builtin() -> Catalogue:
    """The whole catalogue: one row per article and owner."""
    catalogue = Catalogue(NAME)
    for article in iter_articles():
        for scope_key in article.owners:
            row = {
                "id": row_id(catalogue=NAME, scope_key=scope_key, article=article.number),
                **owner(scope_key),
                "name": article.name,
                "category": article.category,
                "unit": article.unit,
                "price": article.price,
            }
            if article.entity == "material":
                catalogue.add(MATERIALS, {**row, "supplier": article.supplier}, key=article.number)
            else:
                catalogue.add(WORKS, row, key=article.number)
    return catalogue
