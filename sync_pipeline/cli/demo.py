"""``demo``: the whole pipeline once, with the sample catalogue."""

from __future__ import annotations

import time
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Final

import typer

from sync_pipeline.cli import render
from sync_pipeline.cli.command import command
from sync_pipeline.cli.demo_rest import demo_rest, sync_all
from sync_pipeline.cli.failures import FAILED
from sync_pipeline.cli.invocation import Invocation
from sync_pipeline.cli.options import ConfirmEnv, Mode
from sync_pipeline.cli.sample import Catalogue, load_catalogue, load_remarks, report_object
from sync_pipeline.cli.sync import show_reports
from sync_pipeline.core.errors import ConfigurationError
from sync_pipeline.core.scope import Scope
from sync_pipeline.operations.answers import all_done, sync_summary, totals
from sync_pipeline.operations.asking import search_as

if TYPE_CHECKING:
    from sync_pipeline.core.point import Hit
    from sync_pipeline.sample.builtin import DemoSearch
    from sync_pipeline.settings import Settings

app = typer.Typer()

HITS_SHOWN: Final = 3
HITS_SEARCHED: Final = 20
"""A hidden document must not be among so many."""

NEXT: Final = """
Look at it in Dagster: `sync-pipeline dev`, then open http://127.0.0.1:3000.
Try next:
  sync-pipeline search "gypsum plaster 30 kg" --tenant acme
  sync-pipeline status
  sync-pipeline verify all
Your own database: set DATABASE_URL, then `sync-pipeline init` writes settings for its tables."""


class Source(StrEnum):
    """Where the rows of the demo come from."""

    BUILTIN = "builtin"
    REST = "rest"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """One search of the demo and what came of it."""

    search: DemoSearch
    hits: list[Hit]

    @property
    def is_as_claimed(self) -> bool:
        """Whether the document is the first hit, or no hit, as it must be."""
        document_ids = [hit.document_id for hit in self.hits]
        if self.search.outcome == "found":
            return document_ids[:1] == [self.search.document_id]
        return self.search.document_id not in document_ids


@command(app, "demo")
def demo(
    invocation: Invocation,
    *,
    source: Annotated[
        Source,
        typer.Option(
            "--source",
            metavar="builtin|rest",
            help="builtin: rows of the sample catalogue. rest: records of a small ERP with a REST "
            "interface, that land, change and go.",
        ),
    ] = Source.BUILTIN,
    yes: Annotated[
        bool, typer.Option("--yes", help="Also write the sample rows into your own DATABASE_URL.")
    ] = False,
    confirm_env: ConfirmEnv = None,
) -> None:
    """Load a sample catalogue, sync it, and show with three searches who sees what.

    Everything runs embedded, under .sync-pipeline/. A second run finds nothing
    to embed.

    With --source rest records of an ERP land first; it is in this process, and everything else in
    .sync-pipeline/demo-rest/, whatever your settings say. Each such run begins anew.
    """
    if source is Source.REST:
        demo_rest(invocation)
        return
    refuse_foreign_database(invocation.settings, is_allowed=yes)
    invocation.confirm("writing sample rows into the source", said=confirm_env)
    loaded = load_catalogue(invocation.installation.source_engine, Catalogue.BUILTIN)
    owners = ", ".join(loaded.rows)
    invocation.say(f"The sample catalogue of {owners}: {load_remarks(loaded)[0]}")
    began = time.perf_counter()
    reports = sync_all(invocation)
    seconds = time.perf_counter() - began
    show_reports(invocation, reports, duration_seconds=seconds)
    is_synced = all_done(reports)
    if is_synced and not totals(reports).embedded_texts:
        invocation.say("No text is new since the last run, so nothing had to be embedded.")
    shown = _search(invocation) if is_synced else []
    is_done = is_synced and all(search.is_as_claimed for search in shown)
    summary = sync_summary(reports, mode=Mode.FULL, duration_seconds=seconds)
    invocation.answer(
        {
            "ok": is_done,
            "loaded": report_object(loaded),
            "sync": summary,
            "searches": [_search_object(search) for search in shown],
        }
    )
    if not is_done:
        raise typer.Exit(FAILED)
    invocation.say(NEXT)


def refuse_foreign_database(settings: Settings, *, is_allowed: bool) -> None:
    """Keep sample rows out of a database that somebody configured.

    Raises:
        ConfigurationError: unless that was allowed.
    """
    if settings.source_url is not None and not is_allowed:
        raise ConfigurationError(
            "the demo would write sample rows into the tables `materials` and `works` of your own "
            "database (`source.url`, DATABASE_URL). Unset it to use the embedded one, or say "
            "--yes. Nothing was written."
        )


def _search(invocation: Invocation) -> list[Shown]:
    """Run the searches of the sample, telling of each what it shows."""
    from sync_pipeline.sample.builtin import DEMO_SEARCHES

    results = []
    for search in DEMO_SEARCHES:
        result = search_as(
            invocation.installation.sync,
            search.text,
            scope=Scope(search.tenant_id),
            limit=HITS_SEARCHED,
        )
        shown = Shown(search=search, hits=result.hits)
        results.append(shown)
        _show_search(invocation, shown)
    return results


def _show_search(invocation: Invocation, shown: Shown) -> None:
    search = shown.search
    invocation.say("")
    invocation.say(f'{search.tenant_id} searches "{search.text}": {search.claim}.')
    invocation.show(render.hits_table(shown.hits[:HITS_SHOWN]))
    invocation.say(_verdict(shown))


def _verdict(shown: Shown) -> str:
    """Say what is to be seen in the hits."""
    search, hits = shown.search, shown.hits
    if search.outcome == "found":
        which = "The first hit" if shown.is_as_claimed else "WRONG: not the first hit"
        return f"{which} is the article of {search.owner}: {search.document_id}."
    which = "None" if shown.is_as_claimed else "WRONG: one"
    return f"{which} of {len(hits)} hits is the article of {search.owner}: {search.document_id}."


def _search_object(shown: Shown) -> dict[str, object]:
    search = shown.search
    return {
        "text": search.text,
        "tenant_id": search.tenant_id,
        "claim": search.claim,
        "outcome": search.outcome,
        "document_id": search.document_id,
        "as_claimed": shown.is_as_claimed,
        "hits": shown.hits[:HITS_SHOWN],
    }
