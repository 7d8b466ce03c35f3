"""``demo --source rest``: records of a small ERP land, are synced, change, and go."""

from __future__ import annotations

import shlex
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import typer

from sync_pipeline.cli import render
from sync_pipeline.cli.failures import FAILED
from sync_pipeline.cli.invocation import Invocation
from sync_pipeline.cli.land import run_landings
from sync_pipeline.cli.sync import run_sync
from sync_pipeline.core.errors import ConfigurationError, SettingsError
from sync_pipeline.core.scope import GLOBAL
from sync_pipeline.operations.answers import all_done, sync_summary, totals
from sync_pipeline.operations.asking import search_as
from sync_pipeline.operations.landing import iter_rejected, landing_answer, rejected_answer
from sync_pipeline.operations.scopes import ScopeChoice, ScopeWord, choose_scopes
from sync_pipeline.operations.syncing import unchanged_scopes

if TYPE_CHECKING:
    from sync_pipeline.core.landing.report import LandingReport
    from sync_pipeline.core.landing.spec import LandingMode
    from sync_pipeline.core.point import Hit
    from sync_pipeline.core.ports import RejectedRecord
    from sync_pipeline.core.reports import Counts, ScopeReport
    from sync_pipeline.sample.erp import Erp
    from sync_pipeline.settings import Settings

FOLDER: Final = "demo-rest"
"""Below the home of the settings."""
FILE: Final = "sync_pipeline.yaml"
LANDING: Final = "products"
HITS_SHOWN: Final = 3
HITS_SEARCHED: Final = 20
"""A deleted document must not be among so many."""
_SAVED: Final = frozenset({"DAGSTER_HOME"})
"""Variables that would have its runs recorded in somebody's own history."""

# Articles of the catalogue that the demo tells of, and what becomes of them.
GOES: Final = "Lime putty plaster with goat hair"
GOES_ASKED: Final = "plaster with animal hair for a historic house"
RENAMED: Final = "Gypsum plaster Rotband for walls and ceilings 30 kg"
RENAMED_TO: Final = "Acoustic plaster with wool fibres, absorbs echo, 30 kg"
RENAMED_ASKED: Final = "acoustic plaster against echo"
REPRICED: Final = "Gypsum plaster Rotband for walls and ceilings 10 kg"
ADDED_ID: Final = "P-9001"
ADDED: Final = "Hempcrete building block 300 mm"


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """Something that must be so, and whether it is."""

    claim: str
    holds: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One search and what came of it."""

    text: str
    document_id: str
    outcome: str
    """``found``: it is the first hit; ``gone``: it is none."""
    hits: Sequence[Hit]

    @property
    def is_as_claimed(self) -> bool:
        """Whether the document is where it must be."""
        ids = [hit.document_id for hit in self.hits]
        return (
            ids[:1] == [self.document_id]
            if self.outcome == "found"
            else (self.document_id not in ids)
        )


def demo_rest(invocation: Invocation) -> None:
    """Run it, and tell what happens.

    Raises:
        ConfigurationError: its folder holds something else.
        typer.Exit: something was not as it must be.
    """
    from sync_pipeline.sample.erp import running_erp
    from sync_pipeline.wiring import stop_embedded_services

    home = invocation.settings.postgres_path.parent / FOLDER
    _clear(home)
    with running_erp() as erp:
        inside = _of_its_own(invocation, home=home, url=erp.url)
        invocation.say(
            f"A small ERP is there for the length of this demo, at {erp.url}: a list of "
            f"{len(erp.ids):,} products behind a login, in pages of 100."
        )
        invocation.say(f"The settings that land them are in {_told(home / FILE)}.")
        story = _Story(inside, erp)
        try:
            story.tell()
        finally:
            stop_embedded_services(inside.settings)
    inside.answer(story.answer())
    if not story.is_as_claimed:
        raise typer.Exit(FAILED)
    invocation.say(_next(invocation, inside, file=home / FILE))


def _of_its_own(invocation: Invocation, *, home: Path, url: str) -> Invocation:
    """The same call with settings of the demo; those of the user are neither read nor written."""
    from sync_pipeline.sample.erp import settings_text
    from sync_pipeline.settings import load_settings

    home.mkdir(parents=True)
    file = home / FILE
    file.write_text(settings_text(url=url, home=str(home)), encoding="utf-8")
    # Variables would lead to the user's own database and index.
    settings = load_settings(config=file, env={})
    for name in _SAVED:
        invocation.surroundings.environment.pop(name, None)

    def load(*_args: Any, **_options: Any) -> Settings:
        return settings

    surroundings = replace(invocation.surroundings, settings=load)
    return replace(invocation, surroundings=surroundings, config=None, environment=None)


def _clear(home: Path) -> None:
    """Remove what an earlier demo has left: it begins with nothing.

    Raises:
        ConfigurationError: no demo has made this folder.
    """
    from sync_pipeline.sample.erp import MARK
    from sync_pipeline.settings import Settings
    from sync_pipeline.wiring import stop_embedded_services

    if not home.exists():
        return
    file = home / FILE
    if not (file.is_file() and file.read_text(encoding="utf-8").startswith(MARK)):
        raise ConfigurationError(
            f"{home} is there, and no demo has made it. Nothing was changed.",
            remedy="Move it away, or choose another folder with SYNC_PIPELINE_HOME.",
        )
    stop_embedded_services(Settings(home=home))
    shutil.rmtree(home)


class _NotSoError(Exception):
    """Something is not as it must be: the rest would be misunderstood."""


@dataclass
class _Story:
    """What happens in the demo, step by step; it ends where something is not as it must be."""

    invocation: Invocation
    erp: Erp
    claims: list[Claim] = field(default_factory=list)
    landings: list[LandingReport] = field(default_factory=list)
    syncs: list[dict[str, object]] = field(default_factory=list)
    searches: list[Asked] = field(default_factory=list)
    rejected: list[RejectedRecord] = field(default_factory=list)
    ids: dict[str, str] = field(default_factory=dict)
    """Of the products that are told of."""

    @property
    def is_as_claimed(self) -> bool:
        """Whether everything was so far."""
        return all(claim.holds for claim in self.claims)

    def tell(self) -> None:
        """Do one step after the other."""
        self.ids = {name: str(self.erp.find(name)["ID"]) for name in (GOES, RENAMED, REPRICED)}
        steps: tuple[tuple[str, Callable[[], None]], ...] = (
            ("Everything lands: sync-pipeline land products", self._land_everything),
            ("It becomes searchable: sync-pipeline sync all", self._sync_everything),
            ("The ERP changes", self._change),
            (
                "What changed lands: sync-pipeline land products --mode incremental",
                self._land_changes,
            ),
            (
                "All of it once more, for what is gone: sync-pipeline land products",
                self._land_deletes,
            ),
            ("The index follows: sync-pipeline sync all", self._sync_changes),
            ("Nothing has changed since", self._do_nothing),
        )
        with suppress(_NotSoError):
            for number, (title, step) in enumerate(steps, start=1):
                self._say("")
                self._say(f"{number}. {title}")
                step()

    def answer(self) -> dict[str, object]:
        """The same for programs."""
        return {
            "ok": self.is_as_claimed,
            "source": "rest",
            "erp": {"url": self.erp.url, "products": len(self.erp.ids), "asked": self.erp.asked},
            "landings": [landing_answer(report) for report in self.landings],
            "rejected": [rejected_answer(it) for it in self.rejected],
            "syncs": self.syncs,
            "searches": [_asked_object(asked) for asked in self.searches],
            "claims": self.claims,
        }

    def _land_everything(self) -> None:
        report = self._land("full")
        asked = self.erp.asked
        self._say(
            f"{report.fetched:,} records came in {report.pages} pages, by {report.requests} "
            f"requests. Among them are {asked['login']} logins, for the token expires, "
            f"{asked['429']} answer that asked to wait, which cost "
            f"{report.waited_seconds:.0f} s, and {asked['500']} that was a failure."
        )
        self.rejected = [*iter_rejected(self.invocation.installation.sync, LANDING, limit=None)]
        self._say("What is wrong with records is set aside by name, and the rest lands:")
        for it in self.rejected:
            called = it.source_key or f"page {it.page}, record {it.place + 1}"
            self._say(f"  {called}: {it.reason}, field {it.field}. {it.detail}".rstrip(". "))
        self._claim(
            f"there are {report.rows:,} rows in landing.products, one per product; of one that "
            "came twice the newest counts",
            report.rows == len(self.erp.ids) and report.repeated == 1,
        )
        self._claim(
            "a record without an id and a price that is a text were set aside, and nothing else",
            report.rejected == {"no_id": 1, "wrong_type": 1},
        )

    def _sync_everything(self) -> None:
        counts = self._sync()
        self._say(f"{counts.new:,} documents, {counts.embedded_texts:,} texts embedded.")
        self._claim(
            "every row has become a document",
            counts.documents == counts.new == len(self.erp.ids),
        )
        self._search(GOES_ASKED, self.ids[GOES], outcome="found")

    def _change(self) -> None:
        renamed, repriced = self.ids[RENAMED], self.ids[REPRICED]
        self.erp.change(renamed, Name=RENAMED_TO)
        self.erp.change(repriced, Price=99.0)
        like = self.erp.find(REPRICED)
        self.erp.add(ADDED_ID, like, Name=ADDED, Category="Masonry", Tags=["Masonry"])
        self.erp.delete(self.ids[GOES])
        self._say(f'{renamed} is called "{RENAMED_TO}" now, and {repriced} has another price.')
        self._say(f'{ADDED_ID} is new: "{ADDED}".')
        self._say(f'{self.ids[GOES]}, "{GOES}", is deleted. Nothing says so: it is just not there.')

    def _land_changes(self) -> None:
        report = self._land("incremental")
        self._say(
            f"{report.fetched} records came: those that changed, and as many as may be written "
            f"late. {report.requests} requests instead of {self.landings[0].requests}."
        )
        self._claim(
            "two rows changed and one is new, and no row was deleted: a list of changes cannot "
            "say what is gone",
            (report.changed, report.new, report.deleted) == (2, 1, 0),
        )

    def _land_deletes(self) -> None:
        report = self._land("full")
        self._say(
            f"{report.fetched:,} records came, and {report.absent} row has no record. The ERP was "
            f"asked for that one and does not have it ({self.erp.asked['look-ups']} look-up, 404)."
        )
        self._claim(
            f"one row is deleted, and of {report.rows:,} others none was written",
            (report.deleted, report.changed, report.new) == (1, 0, 0),
        )

    def _sync_changes(self) -> None:
        counts = self._sync()
        self._say(
            f"{counts.embedded_texts} texts embedded, {counts.payload_changed} price written "
            f"without embedding, {counts.deleted} document deleted, {counts.unchanged:,} left as "
            "they are."
        )
        self._claim(
            "only what changed was embedded",
            (counts.embedded_texts, counts.payload_changed, counts.deleted) == (2, 1, 1),
        )
        self._search(RENAMED_ASKED, self.ids[RENAMED], outcome="found")
        self._search(GOES_ASKED, self.ids[GOES], outcome="gone")

    def _do_nothing(self) -> None:
        report = self._land("full")
        counts = self._sync()
        self._claim(
            "landing all of it again writes no row, and the sync finds nothing to do",
            (report.new, report.changed, report.deleted) == (0, 0, 0)
            and not (counts.new or counts.changed or counts.payload_changed or counts.deleted),
        )

    def _land(self, mode: LandingMode) -> LandingReport:
        from sync_pipeline.engine.landing.land import LandRequest

        (report,) = run_landings(self.invocation, [LANDING], LandRequest(mode=mode))
        self.landings.append(report)
        if report.status != "success":
            self._claim(f"the records have landed ({report.error})", holds=False)
        return report

    def _sync(self) -> Counts:
        began = time.perf_counter()
        reports = sync_all(self.invocation)
        seconds = time.perf_counter() - began
        self.syncs.append(sync_summary(reports, mode="full", duration_seconds=seconds))
        if not all_done(reports):
            told = "; ".join(str(report.error) for report in reports if report.error)
            self._claim(f"the index is in step ({told})", holds=False)
        # What a scope without a run reports is what its last one has found.
        return totals([report for report in reports if report.status != "skipped"])

    def _search(self, text: str, product_id: str, *, outcome: str) -> None:
        result = search_as(
            self.invocation.installation.sync, text, scope=GLOBAL, limit=HITS_SEARCHED
        )
        asked = Asked(
            text=text,
            document_id=f"global-product-{product_id}",
            outcome=outcome,
            hits=result.hits,
        )
        self.searches.append(asked)
        self._say(f'A search for "{text}":')
        self.invocation.show(render.hits_table(asked.hits[:HITS_SHOWN]))
        told = "is the first hit" if outcome == "found" else "is not found any more"
        self._claim(f"{product_id} {told}", asked.is_as_claimed)

    def _claim(self, claim: str, holds: bool) -> None:  # noqa: FBT001 - it says what it is about
        self.claims.append(Claim(claim=claim, holds=holds))
        self._say(f"{'' if holds else 'WRONG: '}{claim[:1].upper()}{claim[1:]}.")
        if not holds:
            raise _NotSoError

    def _say(self, line: str) -> None:
        self.invocation.say(line)


def sync_all(invocation: Invocation) -> list[ScopeReport]:
    """Sync every scope that is not as it was; what became of all of them."""
    from sync_pipeline.engine.context import RunOptions

    scopes = choose_scopes(ScopeChoice(ScopeWord.ALL), among=invocation.scopes)
    skipped = unchanged_scopes(invocation.installation.sync, scopes, are_all=True)
    due = [scope for scope in scopes if scope not in skipped]
    return [*skipped.values(), *run_sync(invocation, due, RunOptions())]


def _asked_object(asked: Asked) -> dict[str, object]:
    return {
        "text": asked.text,
        "document_id": asked.document_id,
        "outcome": asked.outcome,
        "as_claimed": asked.is_as_claimed,
        "hits": list(asked.hits[:HITS_SHOWN]),
    }


def _next(invocation: Invocation, inside: Invocation, *, file: Path) -> str:
    """What to do next; with what landed only where these settings lead there from outside, too."""
    own = "Your own system: docs/landing.md takes you from its documentation to a search."
    try:
        found: Settings = invocation.surroundings.settings(file)
    except SettingsError:
        return f"\n{own}"
    if found.fingerprint() != inside.settings.fingerprint():
        return f"\n{own}"
    program = f"  sync-pipeline --config {shlex.quote(_told(file))}"
    return "\n".join(
        (
            "",
            "What landed is still there. Try next:",
            f"{program} land status",
            f"{program} land rejected {LANDING}",
            f'{program} search "hemp" --global',
            own,
        )
    )


def _told(path: Path) -> str:
    """A path as short as it can be written here."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
