"""Removing for good what belongs to a tenant or an entity that is gone."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

from sync_pipeline.core.errors import ConfigurationError

if TYPE_CHECKING:
    from sync_pipeline.core.scope import Scope
    from sync_pipeline.engine.context import SyncContext
    from sync_pipeline.engine.questions.entities import EntityReport
    from sync_pipeline.engine.questions.status import ScopeStatusReport
    from sync_pipeline.engine.removal.entities import EntityRemoval
    from sync_pipeline.engine.removal.offboard import Removal


def tenant_status(sync: SyncContext, scope: Scope) -> ScopeStatusReport:
    """What there is of a tenant, looking at no other scope."""
    from sync_pipeline.engine.questions.status import scope_status

    return scope_status(sync, scope=scope)


def remove_tenant(sync: SyncContext, scope: Scope, *, even_with_rows: bool) -> Removal:
    """Remove everything of a tenant but its rows.

    Raises:
        ScopeHasRowsError: the source has rows of it, and that was not allowed.
        ScopeBusyError: another run is writing it.
    """
    from sync_pipeline.engine.removal.offboard import offboard_tenant

    return offboard_tenant(
        sync, scope=scope, owner=_owner("tenants remove"), even_with_rows=even_with_rows
    )


def left_entity(sync: SyncContext, name: str) -> EntityReport:
    """What there is of an entity that left the settings.

    Raises:
        ConfigurationError: the settings name it, or nothing is left of it.
    """
    from sync_pipeline.engine.questions.entities import entity_reports
    from sync_pipeline.engine.removal.entities import require_left

    require_left(sync, name)
    for report in entity_reports(sync):
        if report.entity_type == name:
            return report
    raise ConfigurationError(
        f"nothing is left of an entity {name!r}; `sync-pipeline entities` lists those that there "
        "are"
    )


def remove_left_entity(sync: SyncContext, name: str) -> EntityRemoval:
    """Remove everything of an entity that the settings do not name any more.

    Raises:
        ConfigurationError: they do name it.
    """
    from sync_pipeline.engine.removal.entities import remove_entity

    return remove_entity(sync, entity_type=name, owner=_owner("entities remove"))


def _owner(doing: str) -> str:
    """Who holds the leases meanwhile."""
    return f"{doing} on {socket.gethostname()}:{os.getpid()}"
