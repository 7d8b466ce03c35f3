"""One pass through an origin: its pages, what it has seen so far, and whether it saw everything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, TypeAlias

from sync_pipeline.core.landing.records import MAX_UNKNOWN_FIELDS, MappedPage
from sync_pipeline.core.landing.spec import Confirmation, Landing, LandingMode

Position: TypeAlias = Mapping[str, Any]
"""Where an origin goes on, as JSON; only the origin reads it."""


class Order(StrEnum):
    """How the pages of an origin hang together."""

    KEY = "key"
    """Each begins after the last key of the one before: what lives throughout is in one of
    them, as long as keys do not change."""
    SEAMS = "seams"
    """By position, with seams that are compared."""
    POSITION = "position"
    """By position alone: what stands on a seam while something before it goes is missed."""
    SNAPSHOT = "snapshot"
    """All of one moment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OriginTraits:
    """What an origin can promise; the engine asks this instead of knowing adapters."""

    order: Order
    signals_end: bool
    """Whether its end is a statement of its own, and no page that happens to be empty."""
    resumes: bool
    """Whether a pass that was cut off goes on where it was; otherwise it begins anew."""
    vouches_for_absence: bool = True
    """Whether anything ever says that what came is all that there is; otherwise nothing is
    deleted, and a pass that has come to its end is as complete as one can be."""
    looks_up: bool = False
    """Whether single records can be asked for."""
    tells_changes: bool = False
    """Whether it gives those that changed since a moment."""
    follows: bool = False
    """Whether it tells of changes by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Some records of an origin, in its order."""

    records: Sequence[object]
    """As ``records.map_records`` takes them."""
    resume: Position | None
    """What ``RecordOrigin.pages`` is given to go on after this page; None where nothing can be."""
    is_last: bool = False
    total: int | None = None
    """How many records there are, as this page says."""
    doubt: str | None = None
    """Why what is absent from this pass may be there all the same; nothing is deleted then."""
    overlapping: int = 0
    """How many of them stood at the end of the page before too."""
    mended_seams: int = 0
    """How often the walk went back before this page."""
    requests: int = 1
    """What this page has cost, failed attempts and logins among them."""
    waited_seconds: float = 0.0
    """What was waited for because the origin asked for it, or a limit of the settings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PassState:
    """A pass as it is recorded."""

    pass_id: str
    landing: str
    mode: LandingMode
    mapping_digest: str
    started_at: datetime
    """By the database's clock, before anything was asked for."""
    since: datetime | None = None
    """Of an incremental pass: from when on changes are asked for, overlap included."""
    position: Position | None = None
    is_fetched: bool = False
    """Whether the last page is in."""
    pages: int = 0
    records: int = 0
    staged: int = 0
    """Rows that were made of them."""
    overlapping: int = 0
    without_id: int = 0
    refused: int = 0
    rejected: Mapping[str, int] = field(default_factory=dict)
    """Per ``records.Reason`` how often."""
    fields_seen: Mapping[str, int] = field(default_factory=dict)
    unknown_fields: AbstractSet[str] = frozenset()
    first_total: int | None = None
    last_total: int | None = None
    doubt: str | None = None
    """Why nothing that is absent may go, as its origin says."""
    mended_seams: int = 0
    requests: int = 0
    waited_seconds: float = 0.0
    resumed: int = 0
    """How often another process went on with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PassSurvey:
    """What is staged of a pass, beside what its table holds."""

    staged: int
    distinct_ids: int
    """Tombstones among them."""
    table_rows: int
    absent: int
    """Rows of the table, none of them landed since the pass began, that no staged row names."""
    filled_columns: AbstractSet[str] = frozenset()
    """Mapped columns in which the table holds a value."""


@dataclass(frozen=True, slots=True)
class CompletePass:
    """Every record that lived throughout is in it: only this can lead to deletes.

    Attributes:
        doubt: Why what is absent has to be confirmed one by one; None where it need not be.
    """

    doubt: str | None = None


@dataclass(frozen=True, slots=True)
class IncompletePass:
    """Something is missing, or may be.

    Attributes:
        why: In words, with numbers.
    """

    why: str


def judge_pass(
    state: PassState, survey: PassSurvey, *, traits: OriginTraits, landing: Landing
) -> CompletePass | IncompletePass:
    """Whether the absence of a record in a fetched pass says anything, and how much.

    Args:
        state: Of a full pass whose last page is in.
        survey: What it staged.
        traits: Of its origin.
        landing: Says how absences are confirmed.
    """
    if state.mode != "full":
        return IncompletePass("it asked for changes only")
    if not state.is_fetched:
        return IncompletePass("its last page is not in")
    if state.doubt is not None:
        return IncompletePass(state.doubt)
    doubt = _doubt(state, survey, traits=traits)
    if doubt is not None and landing.deletions.confirm is Confirmation.NONE:
        return IncompletePass(f"{doubt}, and deletes.confirm is none")
    return CompletePass(doubt)


def _doubt(state: PassState, survey: PassSurvey, *, traits: OriginTraits) -> str | None:
    if state.without_id:
        return f"{state.without_id:,} records had no id, and any of them may be an absent one"
    if traits.order is Order.SNAPSHOT or (traits.order is Order.KEY and traits.signals_end):
        return None
    if traits.order is Order.POSITION:
        return "its pages are cut by position and their seams are not compared"
    first, last = state.first_total, state.last_total
    if last is None:
        return "the origin does not say how many records it has"
    if first != last:
        return f"the origin had {first:,} records at the start and {last:,} at the end"
    if survey.distinct_ids != last:
        return f"{survey.distinct_ids:,} records came of {last:,} that the origin says it has"
    return None


def why_refused(state: PassState, survey: PassSurvey, *, landing: Landing) -> str | None:
    """Why nothing of a fetched pass may be landed; None where it may.

    A value here and there is told and set aside; where much is wrong, the mapping or the
    origin is.
    """
    if state.records and state.refused > landing.max_rejected_fraction * state.records:
        counts = ", ".join(f"{reason} {n:,}" for reason, n in sorted(state.rejected.items()))
        return (
            f"{state.refused:,} of {state.records:,} records cannot be used as the settings say "
            f"({counts}); at most {landing.max_rejected_fraction:g} of them may be"
        )
    if state.mode == "full" and state.records > state.without_id:
        gone = [
            rule
            for rule in landing.columns
            if not rule.is_optional and not state.fields_seen.get(rule.name, 0)
        ]
        if gone:
            names = ", ".join(rule.name for rule in gone)
            filled = [rule.name for rule in gone if rule.name in survey.filled_columns]
            emptied = f"; the table has values of {', '.join(filled)}" if filled else ""
            return (
                f"none of {state.records:,} records has the field of {names}{emptied}. Fields that "
                f"they have and the settings do not name: {_named(state.unknown_fields)}"
            )
    return None


def _named(names: AbstractSet[str]) -> str:
    return ", ".join(sorted(names)) or "none"


def after_page(state: PassState, page: Page, mapped: MappedPage) -> PassState:
    """The state of a pass after one more page."""
    rejected = Counter(state.rejected) + Counter(str(it.reason) for it in mapped.rejections)
    return replace(
        state,
        position=page.resume,
        is_fetched=page.is_last,
        pages=state.pages + 1,
        records=state.records + mapped.records,
        staged=state.staged + len(mapped.rows),
        overlapping=state.overlapping + page.overlapping,
        without_id=state.without_id + mapped.without_id,
        refused=state.refused + mapped.refused,
        rejected=dict(rejected),
        fields_seen=dict(Counter(state.fields_seen) + Counter(mapped.fields_seen)),
        unknown_fields=frozenset(
            sorted(state.unknown_fields | mapped.unknown_fields)[:MAX_UNKNOWN_FIELDS]
        ),
        first_total=page.total if state.pages == 0 else state.first_total,
        last_total=page.total,
        doubt=state.doubt or page.doubt,
        mended_seams=state.mended_seams + page.mended_seams,
        requests=state.requests + page.requests,
        waited_seconds=state.waited_seconds + page.waited_seconds,
    )
