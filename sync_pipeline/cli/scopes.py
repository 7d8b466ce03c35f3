"""From the words on the command line to scopes; pure functions over what is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum
from typing import TYPE_CHECKING

from sync_pipeline.core.errors import ConfigurationError, UnknownScopeError
from sync_pipeline.core.scope import GLOBAL, GLOBAL_KEY, Scope, in_run_order

if TYPE_CHECKING:
    from sync_pipeline.engine.status import ScopeStatusReport

    Known = Sequence[ScopeStatusReport]
    """Every scope that the source, our record or the index knows."""


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


def choose_scopes(choice: ScopeChoice, *, known: Known) -> list[Scope]:
    """Name the scopes that are meant.

    Args:
        choice: What was asked for.
        known: What exists.

    Returns:
        The global scope first, then tenants, those with most rows first, so that
        the longest work is under way early. Tenants named one by one keep their order.

    Raises:
        UnknownScopeError: a tenant that is not among the known.
    """
    if choice.word is ScopeWord.TENANT:
        return [known_tenant(tenant_id, known=known) for tenant_id in choice.tenant_ids]
    rows = {
        Scope.from_key(status.scope_key): status.source_rows
        for status in known
        if status.scope_key != GLOBAL_KEY and _exists(status)
    }
    tenants = in_run_order(rows)
    return {
        ScopeWord.ALL: [GLOBAL, *tenants],
        ScopeWord.GLOBAL: [GLOBAL],
        ScopeWord.TENANTS: tenants,
    }[choice.word]


def known_tenant(tenant_id: str, *, known: Known) -> Scope:
    """The scope of a tenant that has rows, documents or a record.

    Raises:
        UnknownScopeError: naming tenants that are spelled alike.
    """
    keys = [status.scope_key for status in known if status.scope_key != GLOBAL_KEY]
    if tenant_id not in keys:
        raise UnknownScopeError(
            scope_key=tenant_id, known=len(keys), similar=get_close_matches(tenant_id, keys)
        )
    return Scope.from_key(tenant_id)


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


def vanished(scopes: Sequence[Scope], *, known: Known) -> dict[Scope, int]:
    """Those tenants of ``scopes`` that have points and no row any more, with their points.

    Syncing one would empty it, which the limit on deletes refuses below a fraction of 1.
    """
    found = {status.scope_key: status for status in known}
    return {
        scope: found[scope.key].points
        for scope in scopes
        if not scope.is_global
        and scope.key in found
        and found[scope.key].points
        and not found[scope.key].source_rows
    }


def _exists(status: ScopeStatusReport) -> bool:
    """Whether there is anything to sync; a scope of which only the memory is left has not."""
    return bool(status.source_rows or status.points or status.documents or status.failed)
