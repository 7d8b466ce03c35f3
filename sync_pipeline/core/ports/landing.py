"""Where records of other systems come from (``origins``) and where they land (``database``)."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Protocol

from sync_pipeline.core.landing.absence import AbsentRows, DeletionVerdict
from sync_pipeline.core.landing.completions import Completion
from sync_pipeline.core.landing.passes import (
    OriginTraits,
    Page,
    PassState,
    PassSurvey,
    Position,
)
from sync_pipeline.core.landing.records import MappedPage
from sync_pipeline.core.landing.spec import Landing, LandingMode

OWNER_SEPARATOR: Final = "|"
"""In the name of whoever lands: after its process, before what that works on."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """What became of one record that was asked for."""

    key: str
    record: object | None
    """None: the origin does not have it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeHints:
    """Some changes that an origin tells of: keys whose records have to be read again."""

    keys: AbstractSet[str]
    token: Position
    """What ``follow`` is given to go on after these; never an older one than before."""
    needs_full_pass: str | None = None
    """Why what happened can only be found by a full pass, e.g. a collection was dropped."""


class RecordOrigin(Protocol):
    """Records of one landing's origin, e.g. of a REST system. Opened for one pass; reads only.

    Every wait inside is stoppable (``core.waiting``), and longer ones than the connection
    allows raise ``RateLimitedError`` with the time that was asked for.
    """

    @property
    def traits(self) -> OriginTraits:
        """What it can promise."""

    def pages(self, *, since: datetime | None, start: Position | None) -> Generator[Page]:
        """The records, page by page, in the origin's order; requests may run ahead of them.

        Args:
            since: Those alone that changed at or after this moment; None: all.
            start: ``Page.resume`` of the last page that was taken; None: from the beginning.

        Yields:
            At least one page, which may be empty; the last one says that it is.

        Raises:
            RateLimitedError: asked to wait for longer than the connection allows.
            OriginUnavailableError: no answer, or no usable one, after several attempts.
            OriginConfigurationError: credentials, paths or names do not fit.
            ShortAnswerError: the list ended before the number that it states.
        """

    def look_up(self, keys: Sequence[str]) -> Iterator[Sighting]:
        """Ask for single records by what the origin calls them; one answer for each.

        Only where ``traits.looks_up``.

        Raises:
            OriginUnavailableError: one could not be asked for, so nothing is known of it.
        """

    def follow(
        self, token: Position | None, *, wait_seconds: float
    ) -> AbstractContextManager[Iterator[ChangeHints]]:
        """Changes as the origin tells them, from a token or from now on.

        Only where ``traits.follows``. Without a token the first hints come without keys, with a
        token of now. Then some at a time; where none comes for ``wait_seconds`` hints without
        keys are given, whose token is as new as the origin allows.

        Raises:
            OriginUnavailableError: it cannot be reached.
        """

    def examine(self, landing: Landing) -> Iterator[str]:
        """Log in, read one page, and say what was found, for people; see ``doctor``.

        Raises:
            SyncPipelineError: what is wrong, as a pass would meet it.
        """

    def close(self) -> None:
        """End connections; twice is no error."""


@dataclass(frozen=True, slots=True)
class LandingFence:
    """The right to land in one table: valid while nobody has a higher token."""

    landing: str
    owner: str
    token: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LandingRecord:
    """What is recorded of a landing, whether or not anything ever landed."""

    landing: str
    rows: int
    """Of its table, as the last apply counted them."""
    mapping_digest: str | None = None
    """Of the last full pass that was applied."""
    complete_at: datetime | None = None
    """When the last complete full pass that was applied began: what the table is at least as new
    as."""
    completions: tuple[Completion, ...] = ()
    """Which complete pass the table was the result of, and since when; oldest first."""
    applied_at: datetime | None = None
    """When anything was last applied."""
    changed_at: datetime | None = None
    """Newest time of change among applied records, never later than their pass began."""
    token: Position | None = None
    """Where following goes on."""
    needs_full_pass: str | None = None
    """Why nothing but a full pass helps."""
    failed_at: datetime | None = None
    error: str | None = None
    """Of the last run, if it failed."""
    not_before: datetime | None = None
    """Until when the origin asked to be left alone."""
    open_pass: PassState | None = None
    rejected: int = 0
    """Things that were wrong in the last applied full pass and since."""
    views: frozenset[tuple[str, str]] = frozenset()
    """Schema and name of every view that reads its table, however deep, as far as the database
    knows: what a function reads is not among it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectedRecord:
    """One thing that was wrong with one record, as it is kept."""

    landing: str
    pass_id: str
    page: int
    place: int
    source_key: str | None
    reason: str
    field: str | None
    detail: str
    rejected_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class AbsentRow:
    """A row of a landing table whose record did not come."""

    id: str
    source_key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What one apply did."""

    new: int = 0
    changed: int = 0
    unchanged: int = 0
    deleted: int = 0
    absent: int = 0
    """Rows without a record, before any went."""
    waiting: int = 0
    """Those of them that stay until they are confirmed."""
    table_rows: int = 0
    """Afterwards."""
    refused: DeletionVerdict | None = None
    """Set where deletes were too many: none was done, everything else was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplyOrder:
    """What one apply may do."""

    absent: AbsentRows = AbsentRows.STAY
    looked_up: AbstractSet[str] = field(default_factory=frozenset)
    """Ids that the origin does not have; for ``AbsentRows.LOOKED_UP``."""
    is_complete: bool = False
    """Whether the pass counts as the last complete one."""
    judge: Callable[[int, int], DeletionVerdict]
    """Of rows to delete and rows of the table."""
    token: Position | None = None
    """Where following goes on after this."""


class LandingReader(Protocol):
    """What is recorded of landings, to be read."""

    def get(self, landing: Landing) -> LandingRecord:
        """What is recorded of one landing; of one that never ran nothing."""

    def iter_rejected(self, landing: str) -> Iterator[RejectedRecord]:
        """What was wrong in the last full pass that was applied and since, oldest first."""


class LandingStore(LandingReader, Protocol):
    """Tables that records land in, and the record of passes, in one database.

    A table is made by us and marked as ours. Everything that a page brings, and where the
    pass goes on after it, is committed together; so is everything that an apply does.
    """

    def prepare(self, landings: Sequence[Landing]) -> list[str]:
        """Make tables and columns that are missing; what was made, for people.

        Raises:
            ConfigurationError: a table of this name is somebody else's, a column has another
                type, or the role may not.
        """

    def acquire(self, landing: str, *, owner: str, ttl_seconds: float) -> LandingFence:
        """Take or renew the right to land, by the database's clock.

        Raises:
            LandingBusyError: another owner has it.
        """

    def renew(self, fence: LandingFence, *, ttl_seconds: float) -> None:
        """Keep it.

        Raises:
            LandingSupersededError: another owner has it now.
        """

    def release(self, fence: LandingFence) -> None:
        """Give it back; one that is lost already is not an error."""

    def open_pass(
        self,
        fence: LandingFence,
        landing: Landing,
        *,
        mode: LandingMode,
        since: datetime | None,
        resumes: bool,
    ) -> PassState:
        """Go on with the open pass of this mode, or begin one.

        An open pass is dropped, with what it staged, where it cannot be gone on with: its
        origin does not resume or is asked otherwise, the mapping has changed, it is older than
        ``max_pass_age_seconds``, or staged rows were lost in a crash of the server.
        """

    def drop_pass(self, fence: LandingFence, landing: Landing, state: PassState) -> None:
        """Forget a pass and what it staged."""

    def commit_page(
        self,
        fence: LandingFence,
        landing: Landing,
        state: PassState,
        page: Page,
        mapped: MappedPage,
    ) -> PassState:
        """Keep what a page brought, and where the pass goes on, in one transaction.

        Done again after its answer was lost, it is done once.

        Raises:
            LandingSupersededError: another owner has the landing now.
        """

    def stage_gone(
        self, fence: LandingFence, landing: Landing, state: PassState, keys: Sequence[str]
    ) -> PassState:
        """Stage that what the origin called by these keys is gone.

        Raises:
            LandingSupersededError: another owner has the landing now.
        """

    def survey(self, landing: Landing, state: PassState) -> PassSurvey:
        """Count what is staged against the table.

        Raises:
            StagedRowsLostError: fewer are staged than were: the server has crashed.
        """

    def list_absent(self, landing: Landing, state: PassState, *, limit: int) -> list[AbsentRow]:
        """Rows without a record, by id; those that were landed since the pass began are none."""

    def apply(
        self, fence: LandingFence, landing: Landing, state: PassState, order: ApplyOrder
    ) -> Applied:
        """Make the table what was staged, in one transaction, and end the pass.

        Of several records with one id the one that changed last counts, and of those the one
        that came last. A row that is as it should be is neither written nor locked. A row that
        was landed since the pass began, from a newer record, stays as it is.

        Raises:
            LandingSupersededError: another owner has the landing now; nothing was done.
            StagedRowsLostError: fewer rows are staged than were.
        """

    def note_failure(
        self, landing: str, error: str, *, retry_after_seconds: float | None = None
    ) -> None:
        """Record that the last run failed, and why; the next apply forgets it.

        Args:
            landing: Whose run.
            error: Without secrets.
            retry_after_seconds: For how long the origin asked to be left alone.
        """

    def note_token(
        self, fence: LandingFence, token: Position, *, needs_full_pass: str | None = None
    ) -> None:
        """Record where following goes on, where there was nothing to apply.

        Args:
            fence: Of the run.
            token: From where.
            needs_full_pass: Why changes were lost before it; passes that began earlier end, and
                the next one is a full one.
        """


class OpenOrigin(Protocol):
    """Opens the origin of a landing."""

    def __call__(self, landing: Landing) -> RecordOrigin:
        """Connects to nothing yet.

        Raises:
            ConfigurationError: what it needs is not installed or not set.
        """
