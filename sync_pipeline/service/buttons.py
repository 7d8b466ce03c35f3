"""What a page can do about something, as buttons: for whoever may, and sentences for the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote

from sync_pipeline.core.ports import DocumentRecord, RecordedScope
from sync_pipeline.core.remedy import (
    Action,
    ApproveDeletions,
    Argument,
    RetryDocument,
    RollBackIndex,
    SwitchIndex,
    SyncScopes,
)
from sync_pipeline.service.principals import Principal, Role


@dataclass(frozen=True, slots=True, kw_only=True)
class Button:
    """Sends a request of ours when it is pressed."""

    label: str
    about: str
    """What it is about, for people who hear the page."""
    path: str
    said: str
    """What is told once it was sent."""
    body: Mapping[str, Argument] = field(default_factory=dict)
    repeat: int | None = None
    """A number that has to be typed first."""


def button_of(action: Action, principal: Principal) -> Button | None:
    """How a caller does this on a page; None where they may not, or no page can."""
    match action:
        case SyncScopes(scope_key=key) if principal.is_operator:
            name = "all scopes" if key is None else key
            return Button(
                label="Sync all" if key is None else "Sync now",
                about=name,
                path="/api/sync/run",
                body=action.arguments,
                said=f"Sync of {name} asked for",
            )
        case ApproveDeletions(scope_key=key, deletions=deletions) if principal.role is Role.ADMIN:
            return Button(
                label="Approve",
                about=f"the deletion in {key}",
                path="/api/sync/approve",
                body=action.arguments,
                said=f"Deletion of {deletions} documents of {key} approved",
                repeat=deletions,
            )
        case RetryDocument() if principal.is_operator or action.scope_key == principal.tenant_id:
            name = f"{action.entity_type} {action.db_id}"
            return Button(
                label="Sync now",
                about=name,
                path=f"/api/sync/documents/{quote(action.document_id, safe='')}/retry",
                said=f"Sync of {name} asked for",
            )
        case SwitchIndex() if principal.role is Role.ADMIN:
            return Button(
                label="Let it serve",
                about="the index of the settings",
                path="/api/index/switch",
                said="Switch to the index of the settings asked for",
            )
        case RollBackIndex() if principal.role is Role.ADMIN:
            return Button(
                label="Go back to it",
                about="the index before",
                path="/api/index/rollback",
                said="The index before serves again",
            )
    return None


def sync_of(scope_key: str) -> SyncScopes:
    """Sync a scope, whatever it looks like."""
    return SyncScopes(scope_key=scope_key, force=True)


def retry_of(record: DocumentRecord) -> RetryDocument:
    """Try a failed document again."""
    return RetryDocument(
        document_id=record.document_id,
        scope_key=record.scope_key,
        entity_type=record.entity_type,
        db_id=record.db_id,
    )


def approval_of(scope: RecordedScope) -> ApproveDeletions:
    """Let a scope's next sync delete what waits for approval."""
    return ApproveDeletions(scope_key=scope.scope_key, deletions=scope.blocked_deletions or 0)


def known_actions(actions: Sequence[Action], principal: Principal | None) -> list[Action]:
    """Those that a caller is told of: operators of all, others of what they may do themselves."""
    if principal is None:
        return []
    return [action for action in actions if principal.is_operator or button_of(action, principal)]
