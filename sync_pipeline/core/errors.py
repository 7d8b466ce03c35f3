"""Every error the pipeline raises, named by consequence.

::

    SyncPipelineError
    ├── ConfigurationError         someone has to change a setting; exit code 2
    │   ├── SettingsError          the settings file or the environment is wrong
    │   ├── EnvironmentNotNamedError  deleting in a protected environment takes its name
    │   ├── LabelsError            a file of labelled queries is wrong
    │   ├── SourceSchemaError      a configured table or column does not exist
    │   ├── UnknownScopeError      no such tenant
    │   ├── UnusableProxyError     a proxy that the environment names cannot be used
    │   ├── StateEncodingError     the state database cannot hold a character
    │   ├── ModelUnavailableError  the embedding model cannot be loaded
    │   ├── ModelChangedError      another model answers under the name of the known one
    │   ├── NothingSyncedError     there is no index to search yet
    │   ├── IndexMismatchError     the index was built with another model or views
    │   ├── NewerPayloadError      a newer program has written to the index
    │   ├── BoundToOneMachineError several machines would each look somewhere else
    │   ├── UnknownLandingError    the settings name no such landing
    │   ├── LandingTableError      a landing cannot have the table that it names
    │   └── OriginConfigurationError  credentials, paths or fields of an origin do not fit
    ├── TransientError             trying again later can help
    │   ├── RateLimitedError       the other side asked to wait; costs no attempt
    │   ├── SourceUnavailableError PostgreSQL cannot be reached
    │   ├── StoreUnavailableError  Qdrant cannot be reached or did not confirm a write
    │   ├── StoreLockedError       another process is using the embedded index
    │   ├── ScopeBusyError         another run is writing this scope
    │   ├── OriginUnavailableError another system does not answer, or not usably
    │   │   └── ShortAnswerError   its list ended before the number that it states
    │   ├── LandingBusyError       another run is landing the same records
    │   └── StagedRowsLostError    a crash of the server took what a pass had staged
    ├── PermanentError             trying again gives the same answer
    │   ├── CollectionMissingError the index has no such collection
    │   ├── OutOfStepError         a generation that is kept in step is not
    │   ├── GroupFailedError       scopes of a group failed; its others are in step
    │   ├── MassDeletionRefusedError
    │   ├── LandingRefusedError    the records of a pass cannot be used as the settings say
    │   ├── LandingDeletionsRefusedError  a pass wanted to delete too much of its table
    │   ├── LandingSupersededError a newer run lands these records
    │   ├── ScopeHasRowsError      a tenant that is to be removed still has rows
    │   ├── IncompleteExportError  an export ended early; nothing may be deleted from it
    │   ├── TooManyQuarantinedError  more rows are unusable than the settings accept
    │   ├── InvalidVectorError     not finite, not of this dimension, zero or not normalised
    │   ├── RejectedPointError     the store refuses this one point
    │   ├── DuplicateDocumentError two rows of one snapshot have the same document id
    │   ├── UnconfirmedSyncError   the index was measured and does not hold what it should
    │   ├── PlanOutdatedError      a saved plan does not describe what would be done now
    │   ├── SupersededError        a newer run has written this scope
    │   ├── IsolationError         a search result of another scope; never shown
    │   └── OutOfSpaceError        a disk or quota is full
    ├── PostponedError             texts have to wait; nothing is wrong with them
    │   ├── BudgetExceededError    a budget does not admit what they would take
    │   ├── NoProviderError        none of the providers of a chain can be asked now
    │   └── BatchUnderWayError     a service embeds them by the batch, within a day
    └── StoppedError               asked to stop; the batch in flight was finished

Messages say what happened, where, with which numbers, and what to do; the last is a value
too (``core.remedy``), so that a page shows a button where a terminal shows a command. They
never contain a document's text or a password.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from sync_pipeline.core.remedy import (
    NOTHING,
    ApproveDeletions,
    ChangeSetting,
    LandRecords,
    Remedy,
    Show,
    SyncScopes,
    VerifyScopes,
)
from sync_pipeline.core.reports import ASKED_TO_STOP, Counts
from sync_pipeline.core.shortening import beginning
from sync_pipeline.core.spending import Amount, Budget, BudgetKind, money

MESSAGE_PARTS: Final = frozenset({"what", "remedy"})
"""Attributes of every error that its text is made of; all others are its facts."""

_LINES_LISTED: Final = 100
"""Most lines of a file that one message names."""

_SCOPES_NAMED: Final = 10
"""Most scopes of a group that one message names."""

_ERROR_CHARACTERS: Final = 300
"""How much of the error of each it tells."""


class SyncPipelineError(Exception):
    """The root of everything the pipeline raises on purpose.

    Its text is ``what``, and after it ``remedy``.

    Attributes:
        what: What happened, where and with which numbers.
        remedy: What to do about it; empty where nothing can be, or ``what`` says it all.
    """

    def __init__(self, what: str, *, remedy: Remedy | str = NOTHING) -> None:
        self.what = what
        self.remedy = remedy if isinstance(remedy, Remedy) else Remedy.of(remedy)
        between = " " if self.remedy and not what.endswith("\n") else ""
        super().__init__(f"{what}{between}{self.remedy}")


class ConfigurationError(SyncPipelineError):
    """Someone has to change a setting before trying again."""


class SettingsError(ConfigurationError):
    """The settings are wrong; every mistake is listed, each with its path and fix."""

    def __init__(self, *, origin: str, mistakes: Sequence[str]) -> None:
        self.origin = origin
        self.mistakes = tuple(mistakes)
        count = len(self.mistakes)
        listed = "\n".join(f"  - {mistake}" for mistake in self.mistakes)
        noun = "mistake" if count == 1 else "mistakes"
        super().__init__(f"{count} {noun} in the settings ({origin}):\n{listed}")


class EnvironmentNotNamedError(ConfigurationError):
    """Something would be deleted in a protected environment, whose name was not said."""

    def __init__(self, *, environment: str | None, said: str | None, doing: str, how: str) -> None:
        """Where, which name was said instead, what was to be done, and how to say the name."""
        self.environment = environment
        self.said = said
        self.doing = doing
        where = "no environment" if environment is None else f"the environment {environment}"
        reason = "takes its name" if said is None else f"is not confirmed by the name {said!r}"
        super().__init__(f"{doing} in {where} {reason}; nothing was changed.", remedy=how)


class LabelsError(ConfigurationError):
    """Lines of a file of labelled queries are wrong; every one is listed, with its fix."""

    def __init__(self, *, origin: str, mistakes: Mapping[int, str]) -> None:
        """Of each line that is wrong, by its number, what is, and what to write instead."""
        self.origin = origin
        self.mistakes = dict(sorted(mistakes.items()))
        lines = [f"  - line {number}: {mistake}" for number, mistake in self.mistakes.items()]
        left = len(lines) - _LINES_LISTED
        listed = "\n".join(lines[:_LINES_LISTED] + ([f"  - and {left:,} more"] if left > 0 else []))
        noun = "line" if len(lines) == 1 else "lines"
        super().__init__(
            f"{len(lines):,} {noun} of {origin} cannot be used; nothing was evaluated:\n{listed}"
        )


class SourceSchemaError(ConfigurationError):
    """Configured tables or columns that the source database does not have."""

    def __init__(self, *, database: str, mistakes: Sequence[str]) -> None:
        self.database = database
        self.mistakes = tuple(mistakes)
        listed = "\n".join(f"  - {mistake}" for mistake in self.mistakes)
        super().__init__(
            f"the source database {database} does not match the configured entities:\n{listed}\n",
            remedy=Remedy.of(
                "Correct ",
                ChangeSetting("entities"),
                " in the settings, or the database; nothing was read or changed. To try things "
                "with sample rows first: `sync-pipeline demo`.",
            ),
        )


class UnknownScopeError(ConfigurationError):
    """A tenant that neither the source nor the index knows."""

    def __init__(self, *, scope_key: str, tenant_count: int, similar: Sequence[str] = ()) -> None:
        self.scope_key = scope_key
        hint = f"Did you mean {', '.join(map(repr, similar))}? " if similar else ""
        super().__init__(
            f"no tenant {scope_key!r} among the {tenant_count} that have rows or documents.",
            remedy=Remedy.of(hint, Show("tenants"), " lists them."),
        )


class UnusableProxyError(ConfigurationError):
    """A proxy that the environment names is none that can be used."""

    def __init__(self, *, host: str) -> None:
        super().__init__(
            f"the proxy that the environment names cannot be used on the way to {host}.",
            remedy="Name an http:// proxy in `ALL_PROXY`, `HTTP_PROXY` and `HTTPS_PROXY`, or unset "
            "them for this program; a SOCKS proxy needs `pip install 'httpx[socks]'`.",
        )


class StateEncodingError(ConfigurationError):
    """The state database has an encoding without some character that is to be kept there."""

    def __init__(self, what: str, *, setting: str = "`STATE_DATABASE_URL`") -> None:
        super().__init__(
            what,
            remedy=f"Set {setting} to a database made with `CREATE DATABASE NAME ENCODING 'UTF8' "
            "LOCALE 'C' TEMPLATE template0`; the source stays as it is.",
        )


class ModelUnavailableError(ConfigurationError):
    """The embedding model cannot be loaded as configured."""

    def __init__(self, *, model: str, reason: str) -> None:
        self.model = model
        super().__init__(
            f"the embedding model {model!r} cannot be loaded: {reason}.",
            remedy=Remedy.of(
                "Set ",
                ChangeSetting("embedding.model"),
                " to 'bundled', to a folder that holds a sentence-transformers model, or to a "
                "model name that this machine can download. Nothing was written.",
            ),
        )


class ModelChangedError(ConfigurationError):
    """A model gives other vectors under its name than it used to."""

    def __init__(
        self,
        *,
        model_id: str,
        lowest_cosine: float,
        tolerance: float,
        compared: int,
        with_what: str,
    ) -> None:
        self.model_id = model_id
        self.lowest_cosine = lowest_cosine
        self.tolerance = tolerance
        self.compared = compared
        super().__init__(
            f"the model {model_id!r} gives other vectors than it used to: of {compared} texts that "
            f"were embedded again, the lowest cosine to {with_what} is {lowest_cosine:.4f}, at "
            f"least {tolerance} is expected. Nothing was embedded or kept: vectors of two models "
            "cannot be mixed.",
            remedy=Remedy.of(
                "Put the model back that was behind this name, or give the new one a name of its "
                "own (",
                ChangeSetting("embedding.model"),
                ", or ",
                ChangeSetting("embedding.revision"),
                " for a service): its texts are embedded anew, into an index of their own.",
            ),
        )


class NothingSyncedError(ConfigurationError):
    """There is no index to search: no scope was ever synced with these settings."""

    def __init__(self, *, alias: str) -> None:
        self.alias = alias
        super().__init__(
            f"there is no index behind {alias!r} yet;",
            remedy=Remedy.of("run ", SyncScopes(), " first"),
        )


class IndexMismatchError(ConfigurationError):
    """The index was built with another model, other views or another text rendering."""

    def __init__(self, *, alias: str, serves: str, built_with: str, asked_for: str) -> None:
        self.alias = alias
        self.serves = serves
        super().__init__(
            f"the index behind {alias!r} (collection {serves!r}) was built with {built_with}, but "
            f"the settings ask for {asked_for}. Vectors of two models cannot be mixed.",
            remedy=Remedy.of(
                "Put the old settings back, or give the new index a name or place of its own (",
                ChangeSetting("index.alias"),
                ", ",
                ChangeSetting("index.url"),
                ") and run ",
                SyncScopes(),
                ". Nothing was written.",
            ),
        )


class NewerPayloadError(ConfigurationError):
    """Points whose payload a newer program wrote; this one would misread or undo them."""

    def __init__(self, *, points: int, read: int, newest: int, supported: int) -> None:
        self.points = points
        self.newest = newest
        super().__init__(
            f"{points} of {read} points that were read have payload schema version {newest}, and "
            f"this program knows versions up to {supported}: a newer one has written to this "
            "index. None of them was shown or changed.",
            remedy="Upgrade sync-pipeline here to the release that is in use elsewhere, then run "
            "this again.",
        )


class BoundToOneMachineError(ConfigurationError):
    """Several machines would each look somewhere else."""

    def __init__(self, *, keys: Sequence[str], executor: str, machine: str) -> None:
        self.keys = tuple(keys)
        named = ", ".join(f"`{key}`" for key in keys)
        super().__init__(
            f"`scale.executor` is {executor}, so several machines execute runs, and {named} "
            f"{'lead' if len(keys) > 1 else 'leads'} to a place of this machine ({machine}): each "
            "would fill its own and report success.",
            remedy=f"Set {named} to what all of them reach: a PostgreSQL server, a Qdrant server, "
            "an object store such as s3://BUCKET/PREFIX. A folder that all of them share needs "
            "`scale.shares_folders: true`.",
        )


class UnknownLandingError(ConfigurationError):
    """A landing that the settings do not name."""

    def __init__(self, *, name: str, known: Sequence[str]) -> None:
        self.name = name
        listed = ", ".join(known) if known else "none so far"
        super().__init__(
            f"the settings have no landing {name!r}; there are: {listed}.",
            remedy=Remedy.of("Name one of them, or add it to ", ChangeSetting("landings"), "."),
        )


class LandingTableError(ConfigurationError):
    """A landing cannot have the table that it names; nothing was changed."""

    def __init__(self, *, landing: str, table: str, reason: str, remedy: Remedy | str) -> None:
        self.landing = landing
        self.table = table
        super().__init__(
            f"the landing {landing!r} cannot have the table {table}: {reason}.", remedy=remedy
        )


class OriginConfigurationError(ConfigurationError):
    """Another system is reached and does not take what the settings say: no retry helps."""

    def __init__(self, what: str, *, landing: str, remedy: Remedy | str) -> None:
        self.landing = landing
        super().__init__(f"landing {landing!r}: {what}", remedy=remedy)


class TransientError(SyncPipelineError):
    """Trying again later can help.

    Attributes:
        retry_after_seconds: How long the other side asked to wait, if it did.
        unanswered_calls: Requests whose end nobody knows: what they asked for may be done, and
            charged.
    """

    unanswered_calls: int = 0

    def __init__(
        self,
        what: str,
        *,
        remedy: Remedy | str = NOTHING,
        retry_after_seconds: float | None = None,
        unanswered_calls: int = 0,
    ) -> None:
        self.retry_after_seconds = retry_after_seconds
        if unanswered_calls:
            self.unanswered_calls = unanswered_calls
        super().__init__(what, remedy=remedy)


class RateLimitedError(TransientError):
    """The other side asked to wait: a deferral that costs no document an attempt."""


class SourceUnavailableError(TransientError):
    """PostgreSQL cannot be reached, or cut the connection."""


class StoreUnavailableError(TransientError):
    """Qdrant cannot be reached, or did not confirm a write."""


class StoreLockedError(TransientError):
    """Another process holds the embedded index."""

    def __init__(self, *, path: str, holder: str, waited_seconds: float) -> None:
        self.path = path
        self.holder = holder
        super().__init__(
            f"the embedded index at {path} is in use by {holder}; waited {waited_seconds:.0f} s.",
            remedy=Remedy.of(
                "It admits one process at a time: wait until that one has finished or stop it, "
                "then try again. A Qdrant server (",
                ChangeSetting("QDRANT_URL"),
                ") has no such limit.",
            ),
        )


class ScopeBusyError(TransientError):
    """Another run holds the lease of this scope."""

    def __init__(self, *, scope_key: str, owner: str, seconds_left: float) -> None:
        self.scope_key = scope_key
        self.owner = owner
        super().__init__(
            f"scope {scope_key!r} is being written by {owner}; its lease ends in "
            f"{seconds_left:.0f} s unless it is renewed.",
            remedy="Wait for that run, or try again then.",
            retry_after_seconds=seconds_left,
        )


class OriginUnavailableError(TransientError):
    """Another system does not answer, or with what nobody can use."""

    def __init__(
        self, what: str, *, landing: str, retry_after_seconds: float | None = None
    ) -> None:
        self.landing = landing
        super().__init__(
            f"landing {landing!r}: {what}",
            remedy=Remedy.of(
                "What was fetched is kept, and nothing was landed or deleted: the next run goes on "
                "there. Or now: ",
                LandRecords(landing=landing),
                ".",
            ),
            retry_after_seconds=retry_after_seconds,
        )


class ShortAnswerError(OriginUnavailableError):
    """A list ended before the number of records that it states."""

    def __init__(self, *, landing: str, where: str, came: int, total: int) -> None:
        self.came = came
        self.total = total
        super().__init__(
            f"{where} answered an empty page at {came:,} of {total:,} records.", landing=landing
        )


class LandingBusyError(TransientError):
    """Another run is landing the same records."""

    def __init__(self, *, landing: str, owner: str, seconds_left: float) -> None:
        self.landing = landing
        self.owner = owner
        super().__init__(
            f"the records of {landing!r} are being landed by {owner}; its lease ends in "
            f"{seconds_left:.0f} s unless it is renewed.",
            remedy="Wait for that run, or try again then.",
            retry_after_seconds=seconds_left,
        )


class StagedRowsLostError(TransientError):
    """Fewer rows are staged than a pass has brought: the database server has crashed."""

    def __init__(self, *, landing: str, staged: int, expected: int) -> None:
        self.landing = landing
        self.staged = staged
        self.expected = expected
        super().__init__(
            f"landing {landing!r}: of {expected:,} staged rows {staged:,} are left, for the "
            "database server has crashed. Nothing was landed or deleted.",
            remedy=Remedy.of("The next run fetches them anew: ", LandRecords(landing=landing), "."),
        )


class PermanentError(SyncPipelineError):
    """Trying again gives the same answer.

    Attributes:
        charged_calls: Requests whose answers are of no use, or were never seen: they may be
            charged.
    """

    charged_calls: int = 0


class CollectionMissingError(PermanentError):
    """The index has no collection of this name."""

    def __init__(self, *, collection: str, store: str) -> None:
        self.collection = collection
        super().__init__(
            f"there is no collection {collection!r} in {store}.",
            remedy=Remedy.of(
                "Run ",
                SyncScopes(),
                ": it makes the collection and fills it from the embedding cache.",
            ),
        )


class OutOfStepError(PermanentError):
    """The generation of the settings is in step, another one that is kept for searches is not."""

    def __init__(self, *, collection: str, scope_key: str, reason: str) -> None:
        self.scope_key = scope_key
        super().__init__(
            f"scope {scope_key!r} is in step in {collection!r}, which the settings ask for, but "
            f"{reason}",
            remedy=Remedy.of(
                "Mend that; or, where that generation is not searched any more, remove it: ",
                Show("index status"),
                " shows them, `sync-pipeline index drop NAME` removes one.",
            ),
        )


class GroupFailedError(PermanentError):
    """Scopes of a group failed; every other one of it was brought in step.

    Attributes:
        failed: How many.
        names: Keys of the first of them, with the error of each.
    """

    def __init__(
        self, *, scopes: int, synced: int, skipped: int, errors: Mapping[str, str], not_begun: int
    ) -> None:
        self.scopes = scopes
        self.synced = synced
        self.skipped = skipped
        self.not_begun = not_begun
        self.failed = len(errors)
        named = list(errors.items())[:_SCOPES_NAMED]
        self.names = tuple(
            f"{key!r}: {beginning(error, length=_ERROR_CHARACTERS)}" for key, error in named
        )
        more = len(errors) - len(named)
        rest = f", {skipped} were busy" if skipped else ""
        rest += f", {not_begun} were not begun" if not_begun else ""
        listed = "".join(f"\n  - {name}" for name in self.names)
        super().__init__(
            f"{len(errors)} of {scopes} scopes of this group failed ({synced} are in step{rest}):"
            f"{listed}" + (f"\n  - and {more} more" if more > 0 else "") + "\n",
            remedy="Mend what they say, then re-execute this run from failure: only what is not "
            "in step runs again. `sync-pipeline sync ID` syncs one of them by itself.",
        )


class MassDeletionRefusedError(PermanentError):
    """A cleanup wanted to delete more of an entity of a scope than its policy allows."""

    def __init__(
        self,
        *,
        scope_key: str,
        entity_type: str,
        stale: int,
        indexed: int,
        allowed: int,
        total: int,
        total_indexed: int,
        approved: int | None = None,
    ) -> None:
        self.scope_key = scope_key
        self.entity_type = entity_type
        self.stale = stale
        self.indexed = indexed
        self.allowed = allowed
        self.total = total
        self.total_indexed = total_indexed
        self.approved = approved
        limit = (
            f"the policy allows {allowed} of them"
            if approved is None
            else f"approved {approved}, but {total} would go"
        )
        super().__init__(
            f"refused to delete {total} of {total_indexed} points in scope {scope_key!r}, among "
            f"them {stale} of {indexed} of entity {entity_type!r}: {limit}. "
            "New and changed documents were written, nothing was deleted.",
            remedy=Remedy.of(
                "Look at the source first. If the rows are really gone, approve exactly this "
                "once: ",
                ApproveDeletions(scope_key=scope_key, deletions=total),
                ".",
            ),
        )


class LandingRefusedError(PermanentError):
    """The records of a pass cannot be used as the settings say; nothing of it was landed."""

    def __init__(self, *, landing: str, reason: str) -> None:
        self.landing = landing
        super().__init__(
            f"landing {landing!r}: {reason}. Nothing was landed or deleted.",
            remedy=Remedy.of(
                "Compare the fields of ",
                ChangeSetting("landings"),
                " with what the other system sends now (`sync-pipeline doctor` shows it); a field "
                "that it may leave out everywhere takes optional: true.",
            ),
        )


class LandingDeletionsRefusedError(PermanentError):
    """A pass wanted to delete more of its table than its policy allows."""

    def __init__(
        self,
        *,
        landing: str,
        table: str,
        deletions: int,
        rows: int,
        allowed: int,
        approved: int | None,
        new: int = 0,
        changed: int = 0,
    ) -> None:
        self.landing = landing
        self.table = table
        self.deletions = deletions
        self.rows = rows
        self.allowed = allowed
        self.approved = approved
        self.new = new
        self.changed = changed
        limit = (
            f"deletes.max_deleted_fraction allows {allowed:,}"
            if approved is None
            else f"approved {approved:,}, but {deletions:,} would go"
        )
        super().__init__(
            f"landing {landing!r}: refused to delete {deletions:,} of {rows:,} rows of {table}: "
            f"{limit}. {new:,} new and {changed:,} changed records were landed, nothing was "
            "deleted.",
            remedy=Remedy.of(
                "Look at the other system first. If the records are really gone, approve exactly "
                "this once: ",
                LandRecords(landing=landing, approve_deletions=deletions),
                ".",
            ),
        )


class LandingSupersededError(PermanentError):
    """A newer run lands these records; this one stops."""

    def __init__(self, *, landing: str, holder: str) -> None:
        self.landing = landing
        super().__init__(
            f"this run of landing {landing!r} is out of date (its lease went to {holder}) and "
            "landed nothing.",
            remedy=Remedy.of("The newer run goes on with it: ", Show("land status"), "."),
        )


class ScopeHasRowsError(PermanentError):
    """A tenant that is to be removed still has rows in the source."""

    def __init__(self, *, scope_key: str, rows: int) -> None:
        self.scope_key = scope_key
        self.rows = rows
        super().__init__(
            f"tenant {scope_key!r} still has {rows} rows in the source; nothing was removed.",
            remedy="Delete the rows first: the next sync would make its documents again. To remove "
            "them all the same, say --even-with-rows.",
        )


class IncompleteExportError(PermanentError):
    """An export that did not read every row of its snapshot; nothing is deleted from it."""

    def __init__(self, *, scope_key: str, expected: int, read: int) -> None:
        self.scope_key = scope_key
        super().__init__(
            f"the export of scope {scope_key!r} read {read} rows where its snapshot holds "
            f"{expected}. Nothing was deleted.",
            remedy=Remedy.of(
                "Run the scope again: ", SyncScopes(scope_key=scope_key, force=True), "."
            ),
        )


class TooManyQuarantinedError(PermanentError):
    """More rows of a scope cannot become documents than the settings accept."""

    def __init__(self, *, scope_key: str, quarantined: int, rows: int, fraction: float) -> None:
        self.scope_key = scope_key
        self.quarantined = quarantined
        self.rows = rows
        super().__init__(
            f"{quarantined} of {rows} rows of scope {scope_key!r} cannot become documents, more "
            f"than `sync.max_quarantined_fraction` {fraction} accepts. The index was not touched.",
            remedy=Remedy.of(Show("quarantine list"), " names the rows and reasons."),
        )


class InvalidVectorError(PermanentError):
    """A vector that would spoil the collection: not finite, wrong length, not normalised."""


class RejectedPointError(PermanentError):
    """The store refuses this one point."""

    def __init__(self, *, document_id: str, reason: str) -> None:
        self.document_id = document_id
        self.reason = reason
        super().__init__(f"the index refuses document {document_id!r}: {reason}")


class DuplicateDocumentError(PermanentError):
    """Two rows of one snapshot have the same document id."""

    def __init__(self, *, scope_key: str, document_ids: Sequence[str]) -> None:
        self.scope_key = scope_key
        self.document_ids = tuple(document_ids)
        super().__init__(
            f"several rows of scope {scope_key!r} have the same id: "
            f"{', '.join(self.document_ids[:5])}. The `id` column of an entity must be unique in "
            "its table.",
            remedy="Choose another column or repair the rows; nothing was written.",
        )


class UnconfirmedSyncError(PermanentError):
    """After a sync the index was counted and does not hold what it should."""

    def __init__(
        self, *, scope_key: str, expected: int, points: int, entity_type: str | None = None
    ) -> None:
        self.scope_key = scope_key
        self.entity_type = entity_type
        self.expected = expected
        self.points = points
        of_entity = "" if entity_type is None else f" of entity {entity_type!r}"
        super().__init__(
            f"scope {scope_key!r} should have {expected} points{of_entity} after this sync, but "
            f"the index holds {points}.",
            remedy=Remedy.of(
                "It is not recorded as synced; run it again, a full sync repairs what differs: ",
                SyncScopes(scope_key=scope_key, force=True),
                ". If it stays, ",
                VerifyScopes(scope_key=scope_key),
                " names the documents concerned.",
            ),
        )


class PlanOutdatedError(PermanentError):
    """A sync was asked to apply a saved plan, but would do something else by now."""

    def __init__(self, *, scope_key: str) -> None:
        self.scope_key = scope_key
        super().__init__(
            f"scope {scope_key!r} has changed since the plan was made: a sync would now do "
            "something else than planned. Nothing was written.",
            remedy="Make a new plan with `sync-pipeline plan ... --out FILE`, or sync without "
            "`--plan`.",
        )


class SupersededError(PermanentError):
    """A newer run has written this scope; this one stops without writing."""

    def __init__(self, *, scope_key: str, detail: str) -> None:
        self.scope_key = scope_key
        super().__init__(
            f"this run of scope {scope_key!r} is out of date ({detail}) and wrote nothing more.",
            remedy=Remedy.of(
                "The newer run's result stands; to refresh the scope: ",
                SyncScopes(scope_key=scope_key, force=True),
                ".",
            ),
        )


class IsolationError(PermanentError):
    """A search returned a document of another scope; it was not shown to anybody."""

    def __init__(self, *, scope_key: str, document_ids: Sequence[str]) -> None:
        self.scope_key = scope_key
        super().__init__(
            f"a search as {scope_key!r} returned {len(document_ids)} documents of other scopes; "
            "none was shown.",
            remedy=Remedy.of("Run ", VerifyScopes(), " and report this: it must not happen."),
        )


class OutOfSpaceError(PermanentError):
    """A disk or a quota is full; retrying would only repeat it."""


class PostponedError(SyncPipelineError):
    """Texts cannot be embedded now, through no fault of theirs.

    Their documents are pending: found by their words meanwhile, and caught up later.

    Attributes:
        retry_after_seconds: When it is worth trying again.
    """

    def __init__(
        self, what: str, *, remedy: Remedy | str = NOTHING, retry_after_seconds: float
    ) -> None:
        self.retry_after_seconds = retry_after_seconds
        super().__init__(what, remedy=remedy)


class BudgetExceededError(PostponedError):
    """A budget does not admit what a call may take; the call was not made.

    Attributes:
        budget_kind: ``run``, ``month`` or ``tenant``.
        budget_key: Which one.
        tokens_left: How many tokens of this model it still admits.
        tokens_needed: How many the call may take.
    """

    def __init__(
        self, *, budget: Budget, spent: Amount, tokens_left: int, tokens_needed: int
    ) -> None:
        self.budget_kind = str(budget.kind)
        self.budget_key = budget.key
        self.tokens_left = tokens_left
        self.tokens_needed = tokens_needed
        is_of_run = budget.kind is BudgetKind.RUN
        next_one = "run" if is_of_run else "month"
        super().__init__(
            f"{budget.name} is used up: {spent.tokens:,} tokens, {money(spent.cost)} of "
            f"{budget.limit.told()}; the next call may take {tokens_needed:,} tokens, and "
            f"{tokens_left:,} are left. What is left over is pending and found by its words: "
            f"the next {next_one} has a budget of its own,",
            remedy=Remedy.of("or raise ", ChangeSetting(budget.setting), " and run it again"),
            retry_after_seconds=_RUN_AGAIN_SECONDS if is_of_run else _MONTH_AGAIN_SECONDS,
        )


class NoProviderError(PostponedError):
    """None of the providers of a chain can be asked now.

    Attributes:
        providers: Their names, in the order of the chain.
        unanswered_calls: Requests whose end nobody knows: they may be charged.
    """

    def __init__(
        self, *, providers: Sequence[str], reasons: Sequence[str], unanswered_calls: int = 0
    ) -> None:
        self.providers = tuple(providers)
        self.unanswered_calls = unanswered_calls
        super().__init__(
            f"none of {len(self.providers)} providers of embeddings can be asked now: "
            f"{'; '.join(reasons)}. What is left over is pending and found by its words; it is "
            "caught up once one of them answers:",
            remedy=Remedy.of("see ", Show("doctor"), " and ", ChangeSetting("embedding.fallbacks")),
            retry_after_seconds=_PROVIDER_AGAIN_SECONDS,
        )


class BatchUnderWayError(PostponedError):
    """A service embeds these texts by the batch, within a day."""

    def __init__(self, *, texts: int) -> None:
        self.texts = texts
        super().__init__(
            f"{texts:,} texts are being embedded by the batch, within a day. Their documents are "
            "pending and found by their words; they are caught up once it is done, and handed over "
            "only once.",
            retry_after_seconds=_BATCH_AGAIN_SECONDS,
        )


_BATCH_AGAIN_SECONDS: Final = 600.0
_PROVIDER_AGAIN_SECONDS: Final = 300.0
_RUN_AGAIN_SECONDS: Final = 60.0
_MONTH_AGAIN_SECONDS: Final = 3_600.0
"""Somebody may raise the budget before the month ends."""


class StoppedError(SyncPipelineError):
    """Asked to stop: the batch in flight was finished, the rest is left to the next run.

    Attributes:
        stopped_reason: As reports and Dagster's metadata have it.
        counts: What the run had done by then, in all steps; None where nobody counted.
    """

    def __init__(self, what: str, *, counts: Counts | None = None) -> None:
        self.stopped_reason = ASKED_TO_STOP
        self.counts = counts
        super().__init__(what)


OUTAGES: Final = (
    SourceUnavailableError,
    StoreUnavailableError,
    StoreLockedError,
    OutOfSpaceError,
    ModelChangedError,
)
"""Errors that the next scope would meet as well."""

MAX_OUTAGES: Final = 2
"""After so many scopes in a row that met an outage the rest is not tried: each costs minutes."""
