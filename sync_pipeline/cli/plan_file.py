"""Saved plans: what ``plan --out`` writes and ``sync --plan`` holds a sync to."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sync_pipeline.core.errors import ConfigurationError

if TYPE_CHECKING:
    from sync_pipeline.cli.invocation import Invocation
    from sync_pipeline.core.scope import Scope
    from sync_pipeline.engine.questions.plan import ScopePlan

VERSION: Final = 1


def write_plan_file(path: Path, invocation: Invocation, *, plans: Sequence[ScopePlan]) -> None:
    """Save plans together with where they were made.

    Raises:
        ConfigurationError: the file cannot be written.
    """
    content = {
        "version": VERSION,
        **_origin(invocation),
        "scopes": [asdict(plan) for plan in plans],
    }
    try:
        path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(
            f"the plan cannot be saved to {path}: {error.strerror}. Name a file in a folder that "
            "exists and that you may write."
        ) from error


def read_plan_file(
    path: Path, invocation: Invocation, *, scopes: Sequence[Scope]
) -> dict[str, str]:
    """Per scope key the digest of the planned changes.

    Raises:
        ConfigurationError: no plan, a plan of another installation, or without one of the scopes.
    """
    content = _read(path)
    for name, here in _origin(invocation).items():
        if content.get(name) != here:
            raise ConfigurationError(
                f"the plan {path} was made for {name} {content.get(name)!r}, but the settings lead "
                f"to {here!r}. Make a new one with `sync-pipeline plan ... --out FILE`. "
                "Nothing was written."
            )
    planned = {plan["scope_key"]: str(plan["change_digest"]) for plan in content["scopes"]}
    absent = [scope.key for scope in scopes if scope.key not in planned]
    if absent:
        raise ConfigurationError(
            f"the plan {path} says nothing about {', '.join(absent)}; it is about "
            f"{', '.join(planned)}. Name those scopes, or make a new plan."
        )
    return planned


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["version"] == VERSION and isinstance(content["scopes"], list):
            return dict(content)
    except OSError as error:
        raise ConfigurationError(f"the plan {path} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError):
        pass
    raise ConfigurationError(
        f"{path} is not a plan of this version; make one with `sync-pipeline plan ... --out FILE`"
    )


def _origin(invocation: Invocation) -> dict[str, str]:
    """What a plan depends on besides rows and points."""
    sync = invocation.installation.sync
    return {"database": sync.source.database, "collection": sync.spec.collection}
