"""From the words on the command line to scopes; pure functions over what is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from sync_pipeline.core.errors import ConfigurationError, UnknownScopeError
from sync_pipeline.core.scope import GLOBAL, GLOBAL_KEY, Scope, in_run_order, why_not_a_tenant_id

if TYPE_CHECKING:
    from sync_pipeline.engine.questions.status import ScopeStatusReport

    ScopeStatuses = Sequence[ScopeStatusReport]
    """Every scope that the source, our record or the index knows."""


class KnownScopes(Protocol):
    """What can be asked about scopes; ``Invocation`` answers."""

    def unknown_scopes(self, scopes: Sequence[Scope]) -> list[Scope]:
        """Those that neither the source, our record nor the index knows; looks at no other."""

    def scope_statuses(self) -> ScopeStatuses:
        """Every scope that one of them knows; looks at all of them."""


class ScopeWord(StrEnum):
    """Which scopes a command is about."""

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
    """Read ``all``, ``global``, ``tenants`` or ``tenant ID...``.

    Raises:
        ConfigurationError: anything else.
    """
    first, *ids = words
    if first == ScopeWord.TENANT and ids:
        return ScopeChoice(ScopeWord.TENANT, tuple(dict.fromkeys(ids)))
    if first in (ScopeWord.ALL, ScopeWord.GLOBAL, ScopeWord.TENANTS) and not ids:
        return ScopeChoice(ScopeWord(first))
    raise ConfigurationError(
        f"SCOPES is all, global, tenants, or tenant ID, not {' '.join(words)!r}; "
        "`sync-pipeline tenants` lists the ids"
    )


def choose_scopes(choice: ScopeChoice, *, known_scopes: KnownScopes) -> list[Scope]:
    """Name the scopes that are meant.

    Args:
        choice: What was asked for.
        known_scopes: What exists; of named tenants only these are looked up.

    Returns:
        The global scope first, then tenants, those with most rows first, so that
        the longest work is under way early. Tenants named one by one keep their order.

    Raises:
        UnknownScopeError: a tenant that is not among the known.
    """
    if choice.word is ScopeWord.TENANT:
        return known_tenants(choice.tenant_ids, known_scopes=known_scopes)
    if choice.word is ScopeWord.GLOBAL:
        return [GLOBAL]
    rows = {
        Scope.from_key(status.scope_key): status.source_rows
        for status in known_scopes.scope_statuses()
        if status.scope_key != GLOBAL_KEY and _exists(status)
    }
    tenants = in_run_order(rows)
    return tenants if choice.word is ScopeWord.TENANTS else [GLOBAL, *tenants]


def known_tenants(tenant_ids: Sequence[str], *, known_scopes: KnownScopes) -> list[Scope]:
    """The scopes of tenants that have rows, documents or a record.

    Only where one is unknown are all others looked at, for the names spelled alike.

    Raises:
        UnknownScopeError: naming the first unknown one, and tenants that are spelled alike.
    """
    impossible = [name for name in tenant_ids if why_not_a_tenant_id(name) is not None]
    scopes = [Scope(name) for name in tenant_ids if name not in impossible]
    unknown = {scope.key for scope in known_scopes.unknown_scopes(scopes)} | {*impossible}
    for name in tenant_ids:
        if name in unknown:
            keys = [
                status.scope_key
                for status in known_scopes.scope_statuses()
                if status.scope_key != GLOBAL_KEY
            ]
            raise UnknownScopeError(
                scope_key=name, tenant_count=len(keys), similar=get_close_matches(name, keys)
            )
    return scopes


def known_tenant(tenant_id: str, *, known_scopes: KnownScopes) -> Scope:
    """The same for one."""
    (scope,) = known_tenants([tenant_id], known_scopes=known_scopes)
    return scope


def one_scope(*, tenant: str | None, is_global: bool) -> Scope | None:
    """The scope that ``--tenant ID`` or ``--global`` names, None for neither.

    Raises:
        ConfigurationError: both, or an id that no tenant can have.
    """
    if tenant is None:
        return GLOBAL if is_global else None
    if is_global:
        raise ConfigurationError("--tenant and --global exclude each other")
    try:
        return Scope(tenant)
    except ValueError as error:
        raise ConfigurationError(str(error)) from error


def vanished(scopes: Sequence[Scope], *, statuses: ScopeStatuses) -> dict[Scope, int]:
    """Those tenants of ``scopes`` that have points and no row any more, with their points.

    Syncing one would empty it, which the limit on deletes refuses below a fraction of 1.
    """
    status_by_key = {status.scope_key: status for status in statuses}
    return {
        scope: status_by_key[scope.key].points
        for scope in scopes
        if not scope.is_global
        and scope.key in status_by_key
        and status_by_key[scope.key].points
        and not status_by_key[scope.key].source_rows
    }


def _exists(status: ScopeStatusReport) -> bool:
    """Whether there is anything to sync; a scope of which only the memory is left has not."""
    return bool(status.source_rows or status.points or status.documents or status.failed)
