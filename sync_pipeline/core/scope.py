"""Whose rows: one tenant's, or the ones that every tenant shares."""

from __future__ import annotations

import shlex
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

GLOBAL_KEY: Final = "global"
"""Scope key of the shared rows; no tenant can have it."""

TENANT_PREFIX: Final = "tenant:"
"""Before a tenant's id in its scope's name."""

MAX_KEY_LENGTH: Final = 128
"""Most characters of a tenant id."""

FORBIDDEN_IN_KEYS: Final = ("...",)
"""Parts that Dagster refuses in a partition key, besides control characters."""


@lru_cache(maxsize=1024)
def why_not_a_tenant_id(value: str) -> str | None:
    """Say what is wrong with a tenant id, or None where nothing is.

    Remembered, for every row of a tenant is asked.
    """
    if not value or value != value.strip():
        return "it is empty or has spaces around it"
    if value.casefold() == GLOBAL_KEY:
        return f"{GLOBAL_KEY!r} names the shared rows"
    if len(value) > MAX_KEY_LENGTH:
        return f"it has {len(value)} characters, at most {MAX_KEY_LENGTH} are allowed"
    if any(part in value for part in FORBIDDEN_IN_KEYS):
        return "it contains '...'"
    if any(unicodedata.category(character)[0] == "C" for character in value):
        return "it contains control or invisible characters"
    if unicodedata.normalize("NFC", value) != value:
        return "it is not in Unicode normal form NFC"
    return None


@dataclass(frozen=True, slots=True, order=True)
class Scope:
    """One tenant's rows, or the rows that every tenant shares.

    A scope has exactly one spelling outside this module, its ``key``:
    ``"global"`` for shared rows and the tenant id for a tenant's own. Only among words that
    mean several scopes (``all``, ``tenants``), which a tenant's id may be too, it has its ``name``.

    Raises:
        ValueError: if ``tenant_id`` cannot be a partition key, or would be
            mistaken for the global scope.
    """

    tenant_id: str | None

    def __post_init__(self) -> None:
        if self.tenant_id is None:
            return
        reason = why_not_a_tenant_id(self.tenant_id)
        if reason is not None:
            raise ValueError(f"tenant id {self.tenant_id!r} cannot be used: {reason}")

    @classmethod
    def from_key(cls, key: str) -> Scope:
        """Read a scope key, the inverse of ``key``."""
        return GLOBAL if key == GLOBAL_KEY else cls(key)

    @property
    def is_global(self) -> bool:
        """Whether every tenant sees these rows."""
        return self.tenant_id is None

    @property
    def key(self) -> str:
        """The scope key: partition key, column and payload field."""
        return GLOBAL_KEY if self.tenant_id is None else self.tenant_id

    @property
    def kind(self) -> Literal["global", "tenant"]:
        """The first part of a document id and the payload field ``scope``."""
        return "global" if self.tenant_id is None else "tenant"

    @property
    def name(self) -> str:
        """What means this scope alone, whatever its id: ``global`` or ``tenant:ID``."""
        return GLOBAL_KEY if self.tenant_id is None else f"{TENANT_PREFIX}{self.tenant_id}"

    @property
    def words(self) -> str:
        """How a command line names it: ``global`` or ``tenant ID``, quoted for a shell."""
        return GLOBAL_KEY if self.tenant_id is None else f"tenant {shlex.quote(self.tenant_id)}"

    @property
    def visible_keys(self) -> tuple[str, ...]:
        """Scope keys whose documents a search as this scope may return."""
        return (GLOBAL_KEY,) if self.tenant_id is None else (GLOBAL_KEY, self.tenant_id)


GLOBAL: Final = Scope(None)
"""The rows that every tenant shares."""
