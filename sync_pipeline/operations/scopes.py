"""From the names that somebody says to the scopes that there are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Protocol

from sync_pipeline.core.errors import ConfigurationError, UnknownScopeError
from sync_pipeline.core.scope import (
    GLOBAL,
    GLOBAL_KEY,
    TENANT_PREFIX,
    Scope,
    why_not_a_tenant_id,
)

if TYPE_CHECKING:
    from sync_pipeline.engine.context import SyncContext
    from sync_pipeline.engine.questions.status import ScopeStatusReport


class ScopeDirectory(Protocol):
    """What can be asked about the scopes that there are."""

    def unknown_scopes(self, scopes: Sequence[Scope]) -> list[Scope]:
        """Those that neither the source, our record nor the index knows; looks at no other."""

    def scope_statuses(self) -> Sequence[ScopeStatusReport]:
        """Every scope that one of them knows; looks at all of them."""

    def in_run_order(self, rows: Mapping[Scope, int]) -> list[Scope]:
        """These scopes in the order in which they are synced, by how many rows each has."""


@dataclass(slots=True)
class InstalledScopes:
    """The scopes of an installation, all of them looked at once at most for several questions."""

    sync: SyncContext
    _statuses: list[ScopeStatusReport] | None = None

    def unknown_scopes(self, scopes: Sequence[Scope]) -> list[Scope]:
        """Those that neither the source, our record nor the index knows; looks at no other."""
        from sync_pipeline.engine.questions.status import unknown_scopes
        from sync_pipeline.engine.roles import serving_by_record

        return unknown_scopes(serving_by_record(self.sync), scopes=scopes)

    def scope_statuses(self) -> list[ScopeStatusReport]:
        """Every scope that one of them knows; nothing is counted per view."""
        from sync_pipeline.engine.questions.status import scope_statuses
        from sync_pipeline.engine.roles import serving_by_record

        if self._statuses is None:
            self._statuses = scope_statuses(serving_by_record(self.sync), by_view=False)
        return self._statuses

    def in_run_order(self, rows: Mapping[Scope, int]) -> list[Scope]:
        """These scopes in the order in which they are synced, by how many rows each has."""
        from sync_pipeline.engine.questions.due import in_run_order

        return in_run_order(self.sync, rows)


_MEANINGS: Final = {"all": "every scope", "tenants": "every tenant"}


class ScopeWord(StrEnum):
    """Which scopes an operation is about."""

    ALL = "all"
    GLOBAL = "global"
    TENANTS = "tenants"
    TENANT = "tenant"


@dataclass(frozen=True, slots=True)
class ScopeChoice:
    """What SCOPES says: a word, and after ``tenant`` at least one id."""

    word: ScopeWord
    tenant_ids: tuple[str, ...] = ()


def read_choice(words: Sequence[str]) -> ScopeChoice:
    """Read ``all``, ``global``, ``tenants``, ``tenant ID...`` or ``tenant:ID...``.

    Raises:
        ConfigurationError: anything else.
    """
    first, *ids = words
    if first == ScopeWord.TENANT and ids:
        return ScopeChoice(ScopeWord.TENANT, tuple(dict.fromkeys(ids)))
    if first in (ScopeWord.ALL, ScopeWord.GLOBAL, ScopeWord.TENANTS) and not ids:
        return ScopeChoice(ScopeWord(first))
    named = [word.removeprefix(TENANT_PREFIX) for word in words if word.startswith(TENANT_PREFIX)]
    if len(named) == len(words) and all(named):
        return ScopeChoice(ScopeWord.TENANT, tuple(dict.fromkeys(named)))
    raise ConfigurationError(
        f"SCOPES is all, global, tenants, tenant ID, or tenant:ID, not {' '.join(words)!r}; "
        "`sync-pipeline tenants` lists the ids"
    )


def tenant_named(name: str, *, among: ScopeDirectory) -> str:
    """The id of the tenant that a name means: an id, or ``tenant:ID``.

    Nobody else has to know that a tenant's id may be one of the words above: ``tenant:ID`` always
    means the tenant ID, if there is one. Only where there is none it is an id as a whole.

    Args:
        name: It, or what can be none: then it is returned as it is.
        among: What there is; asked only about a name with the prefix.
    """
    tenant_id = name.removeprefix(TENANT_PREFIX)
    if tenant_id == name or why_not_a_tenant_id(tenant_id) is not None:
        return name
    if why_not_a_tenant_id(name) is not None or not among.unknown_scopes([Scope(tenant_id)]):
        return tenant_id
    return tenant_id if among.unknown_scopes([Scope(name)]) else name


def likened_to_words(tenant_ids: Iterable[str]) -> list[str]:
    """For people: of tenants whose id is a word that means several scopes, what to call them."""
    return [
        f"The tenant {tenant_id!r} is called `{Scope(tenant_id).name}` where scopes are named: "
        f"`{tenant_id}` means {_MEANINGS[tenant_id]} there."
        for tenant_id in tenant_ids
        if tenant_id in _MEANINGS
    ]


def choose_scopes(choice: ScopeChoice, *, among: ScopeDirectory) -> list[Scope]:
    """Name the scopes that are meant.

    Args:
        choice: What was asked for.
        among: What there is; of named tenants only these are looked up.

    Returns:
        In the order in which they are synced (``core.run_order``): unless the settings say
        otherwise, the global scope first, then tenants, those with most rows first, so that
        the longest work is under way early. Tenants named one by one keep their order.

    Raises:
        UnknownScopeError: a tenant that is not among the known.
    """
    if choice.word is ScopeWord.TENANT:
        return known_tenants(choice.tenant_ids, among=among)
    if choice.word is ScopeWord.GLOBAL:
        return [GLOBAL]
    rows = {
        Scope.from_key(status.scope_key): status.source_rows
        for status in among.scope_statuses()
        if status.scope_key != GLOBAL_KEY and _exists(status)
    }
    everybody = {} if choice.word is ScopeWord.TENANTS else {GLOBAL: 0}
    return among.in_run_order(everybody | rows)


def known_tenants(tenant_ids: Sequence[str], *, among: ScopeDirectory) -> list[Scope]:
    """The scopes of tenants that have rows, documents or a record.

    Only where one is unknown are all others looked at, for the names spelled alike.

    Raises:
        UnknownScopeError: naming the first unknown one, and tenants that are spelled alike.
    """
    impossible = [name for name in tenant_ids if why_not_a_tenant_id(name) is not None]
    scopes = [Scope(name) for name in tenant_ids if name not in impossible]
    unknown = {scope.key for scope in among.unknown_scopes(scopes)} | {*impossible}
    for name in tenant_ids:
        if name in unknown:
            keys = [
                status.scope_key
                for status in among.scope_statuses()
                if status.scope_key != GLOBAL_KEY
            ]
            raise UnknownScopeError(
                scope_key=name, tenant_count=len(keys), similar=get_close_matches(name, keys)
            )
    return scopes


def tenant_ids(sync: SyncContext) -> list[str]:
    """Every tenant that has rows, by id; asks the source alone."""
    return [scope.key for scope in sync.source.list_scopes(sync.entities) if not scope.is_global]


def known_tenant(tenant_id: str, *, among: ScopeDirectory) -> Scope:
    """The same for one."""
    (scope,) = known_tenants([tenant_id], among=among)
    return scope


def vanished(scopes: Sequence[Scope], *, statuses: Sequence[ScopeStatusReport]) -> dict[Scope, int]:
    """Those tenants of ``scopes`` that have points and no row any more, with their points.

    Syncing one would empty it, which the limit on deletes refuses below a fraction of 1.
    """
    by_key = {status.scope_key: status for status in statuses}
    return {
        scope: by_key[scope.key].points
        for scope in scopes
        if not scope.is_global
        and scope.key in by_key
        and by_key[scope.key].points
        and not by_key[scope.key].source_rows
    }


def _exists(status: ScopeStatusReport) -> bool:
    """Whether there is anything to sync; a scope of which only the memory is left has not."""
    return bool(status.source_rows or status.points or status.documents or status.failed)
