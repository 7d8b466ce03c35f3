"""What changes of a catalogue with four views cost, counted at the provider of the model.

``python -m benchmarks.acceptance.tools_catalogue [PATH]`` loads the registry of software tools,
or made-up records of the same form, and changes it: the installed program is asked to sync, and
the service that has the real model counts the texts that it is sent. Exits 1 where another text
than expected was embedded, another payload written, or a view cannot be searched.
"""

from __future__ import annotations

import argparse
import http.client
import json
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg import sql
from psycopg.rows import dict_row
from rich.console import Console
from rich.markup import escape

from benchmarks.acceptance.ending import tell
from benchmarks.acceptance.kills import Ended, Running
from benchmarks.acceptance.provider import REFUSED, Provider, providing
from benchmarks.acceptance.tool_records import write_tools
from benchmarks.child import BenchmarkError
from benchmarks.home import Home, Server, require
from benchmarks.long_text_data import catalogue_file
from benchmarks.machine import machine_facts, package_versions
from benchmarks.results import Figure, Limit, Outcome, Results
from benchmarks.service import running
from benchmarks.shard import collection_folder, iter_payloads
from sync_pipeline.core.document import render_text
from sync_pipeline.core.ports import Embedder
from sync_pipeline.embedding.sentence_transformers import SentenceTransformersEmbedder

TITLE: Final = "Changes of a catalogue with four views, counted at the provider"
RECORDS: Final = 6_000
CHANGED: Final = 50
VIEWS: Final[Mapping[str, tuple[str, ...]]] = {
    "title": ("name",),
    "about": ("description",),
    "topics": ("functionality", "categories"),
    "terms": ("pricing_model", "license", "deployment"),
}
PAYLOAD: Final = ("website", "language")
STAMPS: Final = ("dbId", "website", "synced_at", "source_revision")
MOST: Final = "/most"
LEAST: Final = "/least"
"""How the two figures of a count that has to be exact end."""
_CHOSEN: Final = "SELECT id FROM tools ORDER BY md5(id || %s) LIMIT %s"

Rows = dict[str, dict[str, Any]]


@dataclass(slots=True, kw_only=True)
class Trial:
    """One installation whose provider counts."""

    home: Home
    provider: Provider
    say: Callable[[str], None]
    figures: list[Figure] = field(default_factory=list)

    def sync(self, *, fails: bool = False) -> Ended:
        """Sync everything.

        Raises:
            BenchmarkError: it ended otherwise than it should.
        """
        ended = Running(self.home, "sync", "all", "--force").wait()
        require(ended.code == (1 if fails else 0), f"the sync ends as it should: {ended.answer}")
        return ended

    def change(self, column: str, values: Mapping[str, str | None]) -> None:
        """Set a column of some rows, by id."""
        statement = sql.SQL("UPDATE tools SET {} = %s, updated_at = now() WHERE id = %s")
        with psycopg.connect(self.home.database_url) as connection:
            for row_id, value in values.items():
                connection.execute(statement.format(sql.Identifier(column)), [value, row_id])

    def rows(self) -> Rows:
        """The table by id."""
        with psycopg.connect(self.home.database_url, row_factory=dict_row) as connection:
            return {str(row["id"]): row for row in connection.execute("SELECT * FROM tools")}

    def choose(self, count: int, *, seed: str) -> list[str]:
        """Ids of rows of all owners, the same ones for the same seed."""
        with psycopg.connect(self.home.database_url) as connection:
            return [str(it) for (it,) in connection.execute(_CHOSEN, [seed, count])]

    def payloads(self) -> dict[str, Mapping[str, Any]]:
        """What the files of the index hold, by row id."""
        folder = collection_folder(self.home.index_folder)
        found = [payload for _, payload in iter_payloads(folder, list(STAMPS))]
        by_id = {str(payload["dbId"]): payload for payload in found}
        require(len(by_id) == len(found), "no document is there twice")
        return by_id

    def exactly(self, key: str, label: str, found: float, expected: float, unit: str = "") -> None:
        """Note a count that may be neither more nor less."""
        self.figures += [
            Figure(
                key=f"{key}{which}",
                label=label,
                unit=unit,
                samples=(found,),
                limit=Limit(value=expected, reason="promised", is_minimum=which == LEAST),
            )
            for which in ((MOST, LEAST) if expected else (MOST,))
        ]
        self.say(f"  {label}: {found:g}, expected {expected:g}")

    def count(self, key: str, label: str, value: float, unit: str = "") -> None:
        """Note a count."""
        self.figures.append(Figure(key=key, label=label, unit=unit, samples=(value,)))


def measure(
    home: Home,
    *,
    data: Path | None,
    records: int = RECORDS,
    changed: int = CHANGED,
    embedder: Embedder,
    say: Callable[[str], None],
) -> Outcome:
    """The whole run.

    Args:
        home: An installation with an empty database; its settings are made here.
        data: What ``sample load tools`` reads; None: records of the same form are made.
        records: How many, where they are made.
        changed: How many are changed.
        embedder: The real model.
        say: Told what happens.
    """
    home.folder.mkdir(parents=True, exist_ok=True)
    if data is None:
        data = home.folder / "tools.jsonl"
        write_tools(data, count=records)
        note = f"{records:,} made-up records"
    else:
        note = f"the registry's file {data.name}"
    with providing(embedder) as provider:
        config = home.folder / "sync_pipeline.yaml"
        config.write_text(settings_of(provider, dimension=embedder.dimension), encoding="utf-8")
        home = replace(home, provider="openai", settings={"SYNC_PIPELINE_CONFIG": str(config)})
        trial = Trial(home=home, provider=provider, say=say)
        loaded = Running(home, "sample", "load", "tools", str(data)).wait()
        require(loaded.code == 0, f"the catalogue is loaded: {loaded.answer}")
        failed = False
        try:
            first_sync(trial)
            change_prices(trial, count=changed)
            change_websites(trial, count=changed)
            refuse_a_text(trial)
        except BenchmarkError as error:
            failed = True
            say(f"failed: {error}")
        trial.count("canaries", "canary texts embedded beside them", provider.canaries, "texts")
    return Outcome(
        name="tools_catalogue",
        title=TITLE,
        figures=tuple(trial.figures),
        notes=(note,),
        has_failed=failed,
    )


def settings_of(provider: Provider, *, dimension: int) -> str:
    """A settings file; JSON is YAML."""
    return json.dumps(
        {
            "embedding": {
                "model": "counted",
                "base_url": provider.url,
                "dimension": dimension,
                "batch_size": 256,
            },
            "entities": [
                {
                    "name": "tool",
                    "table": "tools",
                    "id": "id",
                    "tenant": "tenant_id",
                    "is_global": "is_global",
                    "updated_at": "updated_at",
                    "views": {view: list(columns) for view, columns in VIEWS.items()},
                    "payload": {name: name for name in PAYLOAD},
                }
            ],
        }
    )


def view_text(row: Mapping[str, Any], view: str) -> str:
    """The text of one view of a row."""
    return render_text([row[column] for column in VIEWS[view]])


def first_sync(trial: Trial) -> None:
    """Everything is embedded once, and then never again."""
    trial.say("a first sync")
    began = time.monotonic()
    trial.sync()
    trial.count("seconds", "first sync", time.monotonic() - began, "s")
    texts, rows = trial.provider.taken(), trial.rows()
    trial.count("records", "records", len(rows), "records")
    trial.count("texts", "texts embedded by the first sync", len(texts), "texts")
    trial.exactly("twice", "texts embedded twice", len(texts) - len(set(texts)), 0)
    missing = {view_text(row, view) for row in rows.values() for view in VIEWS} - {*texts, ""}
    trial.exactly("missing", "texts of a view that were not embedded", len(missing), 0)
    trial.sync()
    again = len(trial.provider.taken())
    trial.exactly("again", "texts embedded where nothing changed", again, 0)


def change_prices(trial: Trial, *, count: int) -> None:
    """A column of one view: that view's texts are embedded, and nothing else."""
    trial.say(f"pricing_model of {count} records")
    ids = trial.choose(count, seed="prices")
    trial.change("pricing_model", {it: f"Plan {place}" for place, it in enumerate(ids, 1)})
    trial.sync()
    texts, rows = trial.provider.taken(), trial.rows()
    expected = [view_text(rows[it], "terms") for it in ids]
    trial.exactly("prices", f"texts embedded for {count} changes of pricing_model",
                  len(texts), count, "texts")  # fmt: skip
    trial.exactly("prices_other", "of them texts that are not of that view",
                  len(set(texts) - set(expected)), 0)  # fmt: skip
    trial.exactly("prices_missing", "texts of that view that were not embedded",
                  len(set(expected) - set(texts)), 0)  # fmt: skip


def change_websites(trial: Trial, *, count: int) -> None:
    """A column of no view: nothing is embedded, and these payloads alone are written."""
    trial.say(f"website of {count} records")
    before = trial.payloads()
    values = {it: f"https://moved.example.org/{it}" for it in trial.choose(count, seed="websites")}
    trial.change("website", dict(values))
    trial.sync()
    texts, after = trial.provider.taken(), trial.payloads()
    written = {it for it, payload in after.items() if payload != before.get(it)}
    right = {it for it, value in values.items() if after[it]["website"] == value}
    trial.exactly("websites", f"texts embedded for {count} changes of website", len(texts), 0)
    trial.exactly("payloads", "payloads written for them", len(written), count, "payloads")
    trial.exactly("payloads_right", "of them those of the changed records, with the new value",
                  len(written & right), count, "payloads")  # fmt: skip


def one_of_its_kind(rows: Rows) -> str:
    """The first record that shares the text of no view with another.

    A hundred others with the same text would keep it out of the hits of that view.
    """
    texts = {it: [view_text(row, view) for view in VIEWS] for it, row in rows.items()}
    often = Counter(text for of_views in texts.values() for text in of_views)
    return next(
        row_id
        for row_id, of_views in sorted(texts.items())
        if all(text and often[text] == 1 for text in of_views)
    )


def refuse_a_text(trial: Trial) -> None:
    """One view of one record is refused: the other three are searched as before."""
    trial.say("a description that the model refuses")
    row_id = one_of_its_kind(trial.rows())
    trial.change("description", {row_id: f"An {REFUSED} thing"})
    ended = trial.sync(fails=True)
    trial.exactly("refused", "documents that the sync reports as failed",
                  ended.answer["totals"]["failed"], 1)  # fmt: skip
    embedded = len(trial.provider.taken())
    trial.exactly("refused_texts", "other texts embedded with it", embedded, 0)
    row = trial.rows()[row_id]
    others = [view for view in VIEWS if view != "about"]
    mended = "A thing that can be said"
    with searching(trial) as found:
        hits = sum(row_id in found(row, view=view, text=view_text(row, view)) for view in others)
        trial.exactly("searchable", "other views that find it", hits, len(others), "views")
        seen = int(row_id in found(row, view="about", text="thing"))
        trial.exactly("unsearchable", "times that the refused view finds it", seen, 0)
        # Search texts are embedded by the same provider.
        trial.provider.taken()
        trial.change("description", {row_id: mended})
        trial.sync()
        texts = trial.provider.taken()
        trial.exactly("mended", "texts embedded once it is mended", len(texts), 1, "texts")
        trial.exactly("mended_text", "of them its new description", texts.count(mended), 1, "texts")
        seen = int(row_id in found(row, view="about", text=mended))
        trial.exactly("mended_found", "times that the mended view finds it", seen, 1)


@contextmanager
def searching(trial: Trial) -> Iterator[Callable[..., list[str]]]:
    """Ids that a search of one view by meaning finds, through the service."""
    with running(trial.home) as port:

        def found(row: Mapping[str, Any], *, view: str, text: str) -> list[str]:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            tenant = row["tenant_id"] or "global"
            # As many as there may be: texts of these views are alike.
            body = {"query": text, "tenant_id": tenant, "view": view, "mode": "dense", "limit": 100}
            connection.request(
                "POST", "/api/search", json.dumps(body), {"Content-Type": "application/json"}
            )
            answer = connection.getresponse()
            hits = json.loads(answer.read())
            connection.close()
            require(answer.status == 200, f"a search is answered, not {answer.status}: {hits}")
            return [str(hit["payload"]["dbId"]) for hit in hits["hits"]]

        yield found


def main(arguments: Sequence[str]) -> int:
    options = _parse(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    console = Console()
    results = Results(
        suite="tools-catalogue",
        date=datetime.now(UTC).date().isoformat(),
        scale=1.0,
        machine=machine_facts(),
        versions=package_versions(),
    )
    data = options.data or (catalogue_file() if catalogue_file().exists() else None)
    folder = Path(tempfile.mkdtemp(prefix="spt-", dir=options.work))
    server = Server(folder)
    began = time.monotonic()
    try:
        outcome = measure(
            Home(folder=folder / "home", database_url=server.create(), provider="openai"),
            data=data,
            records=options.records,
            embedder=SentenceTransformersEmbedder(),
            say=lambda text: console.print(f"[dim]{escape(text)}[/]", highlight=False),
        )
    finally:
        Running.kill_all()
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
    outcome = replace(outcome, seconds=round(time.monotonic() - began, 1))
    is_whole = data is not None and outcome.figure("records").value == RECORDS
    return tell(console, outcome, results=results, out=options.out, is_whole=is_whole)


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=TITLE)
    parser.add_argument(
        "data",
        type=Path,
        nargs="?",
        help="file or folder of the tools; by default that of the public catalogues, and made-up "
        "records where these are not",
    )
    parser.add_argument("--records", type=int, default=RECORDS, help="made-up records")
    parser.add_argument("--out", type=Path, help="folder of the results file")
    parser.add_argument("--work", type=Path, help="folder for the database and the index")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
