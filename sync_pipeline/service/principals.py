"""Who is asking, and as which scope they may."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from sync_pipeline.core.scope import GLOBAL, GLOBAL_KEY, Scope, why_not_a_tenant_id


class Role(StrEnum):
    """What a caller may do; each may what the one before may."""

    TENANT = "tenant"
    """Search and read its own documents and the global ones."""
    WORKER = "worker"
    """The same as any tenant; start syncs."""
    ADMIN = "admin"
    """Everything."""


class ForbiddenError(Exception):
    """The caller may not do this; the message says what they may."""


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller whose credential was checked."""

    subject: str
    role: Role
    tenant_id: str | None
    """Whose documents a tenant sees; never None for the role ``tenant``."""

    @property
    def is_operator(self) -> bool:
        """Whether they may name any tenant."""
        return self.role in (Role.WORKER, Role.ADMIN)

    def scope(self, named: str | None = None) -> Scope:
        """The scope to answer as.

        Args:
            named: The tenant that a request names, or ``global``; None for the caller's own.

        Raises:
            ForbiddenError: a tenant that names another one; whether that exists is not said.
            ValueError: an operator who names what can be no tenant.
        """
        if not self.is_operator:
            if self.tenant_id is None or named not in (None, self.tenant_id):
                raise ForbiddenError("a tenant's credential is good for its own documents alone")
            return Scope(self.tenant_id)
        wanted = self.tenant_id if named is None else named
        if wanted is None or wanted == GLOBAL_KEY:
            return GLOBAL
        reason = why_not_a_tenant_id(wanted)
        if reason is not None:
            raise ValueError(f"tenant id {wanted!r} cannot be used: {reason}")
        return Scope(wanted)

    def require(self, role: Role) -> None:
        """Refuse whoever has less than a role.

        Raises:
            ForbiddenError: they have.
        """
        order = list(Role)
        if order.index(self.role) < order.index(role):
            raise ForbiddenError(f"this needs the role {role.value}; yours is {self.role.value}")


LOCAL_OPERATOR: Final = Principal("local", Role.ADMIN, None)
"""Whoever calls a service that asks nobody, which listens on this machine alone."""
