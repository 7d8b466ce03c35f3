"""What can be done about an error, as values: a terminal shows their commands, a page buttons.

::

    SyncScopes         bring a scope in step, or all of them
    ApproveDeletions   let the next sync delete exactly what the last one refused to
    RetryDocument      try one failed document again
    VerifyScopes       compare a scope with its source
    SwitchIndex        let the generation of the settings serve
    RollBackIndex      let the generation serve that did so before
    LandRecords        bring the records of another system into their table
    Migrate            bring the tables of the state up to date
    Show               look at something before deciding
    ChangeSetting      write another value into the settings

Each is something that the program does, with the arguments that it takes there. To add one,
write it here, and where a page can do it a button in ``service.buttons``.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Final, Literal, TypeAlias

from sync_pipeline.core.scope import Scope

Argument: TypeAlias = str | int | bool | list[str]

_PROGRAM: Final = "sync-pipeline"


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncScopes:
    """Bring a scope in step, or all of them."""

    name: ClassVar[Literal["sync"]] = "sync"

    scope_key: str | None = None
    """None: all."""
    force: bool = False
    """Also where nothing seems to have changed."""

    @property
    def words(self) -> str:
        """The command."""
        scope = "all" if self.scope_key is None else Scope.from_key(self.scope_key).words
        return f"{_PROGRAM} sync {scope}{' --force' if self.force else ''}"

    @property
    def arguments(self) -> dict[str, Argument]:
        """As ``POST /api/sync/run`` takes them."""
        scope = "all" if self.scope_key is None else Scope.from_key(self.scope_key).name
        return {"scopes": [scope], "mode": "full", "force": self.force}


@dataclass(frozen=True, slots=True, kw_only=True)
class ApproveDeletions:
    """Let the next sync of a scope delete exactly what the last one refused to."""

    name: ClassVar[Literal["approve_deletions"]] = "approve_deletions"

    scope_key: str
    deletions: int

    @property
    def words(self) -> str:
        """The command."""
        scope = Scope.from_key(self.scope_key).words
        return f"{_PROGRAM} sync {scope} --approve-deletions {self.deletions}"

    @property
    def arguments(self) -> dict[str, Argument]:
        """As ``POST /api/sync/approve`` takes them."""
        return {"scope": self.scope_key, "deletions": self.deletions}


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryDocument:
    """Try a failed document again at once."""

    name: ClassVar[Literal["retry_document"]] = "retry_document"

    document_id: str
    scope_key: str
    entity_type: str
    db_id: str

    @property
    def words(self) -> str:
        """The command."""
        row = f"{shlex.quote(self.entity_type)} {shlex.quote(self.db_id)}"
        return f"{_PROGRAM} failed retry {row} --now"

    @property
    def arguments(self) -> dict[str, Argument]:
        """What ``POST /api/sync/documents/ID/retry`` names."""
        return {"document_id": self.document_id}


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyScopes:
    """Compare a scope with its source, document by document, or all of them."""

    name: ClassVar[Literal["verify"]] = "verify"

    scope_key: str | None = None
    """None: all."""

    @property
    def words(self) -> str:
        """The command."""
        scope = "all" if self.scope_key is None else Scope.from_key(self.scope_key).words
        return f"{_PROGRAM} verify {scope}"

    @property
    def arguments(self) -> dict[str, Argument]:
        """Which ones."""
        scope = "all" if self.scope_key is None else Scope.from_key(self.scope_key).name
        return {"scopes": [scope]}


@dataclass(frozen=True, slots=True)
class SwitchIndex:
    """Let the generation of the settings serve."""

    name: ClassVar[Literal["switch_index"]] = "switch_index"

    @property
    def words(self) -> str:
        """The command."""
        return f"{_PROGRAM} index switch"

    @property
    def arguments(self) -> dict[str, Argument]:
        """None."""
        return {}


@dataclass(frozen=True, slots=True)
class RollBackIndex:
    """Let the generation serve that did so before."""

    name: ClassVar[Literal["roll_back_index"]] = "roll_back_index"

    @property
    def words(self) -> str:
        """The command."""
        return f"{_PROGRAM} index rollback"

    @property
    def arguments(self) -> dict[str, Argument]:
        """None."""
        return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class LandRecords:
    """Bring the records of another system into their table."""

    name: ClassVar[Literal["land"]] = "land"

    landing: str
    approve_deletions: int | None = None
    """How many rows this once may go: exactly so many."""

    @property
    def words(self) -> str:
        """The command."""
        approved = self.approve_deletions
        more = "" if approved is None else f" --approve-deletions {approved}"
        return f"{_PROGRAM} land {self.landing}{more}"

    @property
    def arguments(self) -> dict[str, Argument]:
        """Which one, and what is approved."""
        approved = self.approve_deletions
        return {
            "landing": self.landing,
            **({} if approved is None else {"approve_deletions": approved}),
        }


@dataclass(frozen=True, slots=True)
class Migrate:
    """Bring the tables of the state up to date."""

    name: ClassVar[Literal["migrate"]] = "migrate"

    @property
    def words(self) -> str:
        """The command."""
        return f"{_PROGRAM} migrate"

    @property
    def arguments(self) -> dict[str, Argument]:
        """None."""
        return {}


@dataclass(frozen=True, slots=True)
class Show:
    """Look at something before deciding."""

    name: ClassVar[Literal["show"]] = "show"

    what: Literal[
        "tenants",
        "quarantine list",
        "failed list",
        "index status",
        "cache stats",
        "doctor",
        "land status",
    ]

    @property
    def words(self) -> str:
        """The command."""
        return f"{_PROGRAM} {self.what}"

    @property
    def arguments(self) -> dict[str, Argument]:
        """At what."""
        return {"what": self.what}


@dataclass(frozen=True, slots=True)
class ChangeSetting:
    """Write another value into the settings."""

    name: ClassVar[Literal["change_setting"]] = "change_setting"

    setting: str
    """Its path, or the variable of the environment that has it."""

    @property
    def words(self) -> str:
        """The setting."""
        return self.setting

    @property
    def arguments(self) -> dict[str, Argument]:
        """Which one."""
        return {"setting": self.setting}


Action: TypeAlias = (
    SyncScopes
    | ApproveDeletions
    | RetryDocument
    | VerifyScopes
    | SwitchIndex
    | RollBackIndex
    | LandRecords
    | Migrate
    | Show
    | ChangeSetting
)


@dataclass(frozen=True, slots=True)
class Remedy:
    """What to do about something: sentences, and among their words the actions that they name.

    Its text has each action as a terminal shows it, between backticks.
    """

    parts: tuple[str | Action, ...] = ()

    @classmethod
    def of(cls, *parts: str | Action) -> Remedy:
        """A remedy of these parts, one after the other."""
        return cls(tuple(part for part in parts if part))

    @property
    def actions(self) -> tuple[Action, ...]:
        """Those that can be done."""
        return tuple(part for part in self.parts if not isinstance(part, str))

    def __str__(self) -> str:
        return "".join(part if isinstance(part, str) else f"`{part.words}`" for part in self.parts)

    def __bool__(self) -> bool:
        return bool(self.parts)


NOTHING: Final = Remedy()
"""Where nothing can be done, or what happened says it all."""

_SETTINGS_OF: Final[Mapping[str, tuple[str, ...]]] = {
    "SourceSchemaError": ("entities",),
    "ModelUnavailableError": ("embedding.model",),
    "ModelChangedError": ("embedding.model", "embedding.revision"),
    "IndexMismatchError": ("index.alias", "index.url"),
    "TooManyQuarantinedError": ("sync.max_quarantined_fraction",),
}
"""What is set wrong where a run fails with these errors."""


def actions_after(
    code: str | None, *, scope_key: str, facts: Mapping[str, object]
) -> tuple[Action, ...]:
    """What can be done about a run that has failed, from what is kept of it.

    Args:
        code: Class name of its error; None where it left none, as one that was killed.
        scope_key: Whose run it was.
        facts: What the error carried, by name.
    """
    if code == "MassDeletionRefusedError":
        total = facts.get("total")
        # Syncing again is refused again.
        return (
            (ApproveDeletions(scope_key=scope_key, deletions=total),)
            if isinstance(total, int)
            else ()
        )
    if code == "CollectionMissingError":
        return (SyncScopes(),)
    settings = tuple(ChangeSetting(name) for name in _SETTINGS_OF.get(code or "", ()))
    looks = (Show("quarantine list"),) if code == "TooManyQuarantinedError" else ()
    return (*looks, *settings, SyncScopes(scope_key=scope_key, force=True))
