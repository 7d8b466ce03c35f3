"""Saved plans: what a plan says of itself, and what a sync is held to by it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from sync_pipeline.core.errors import ConfigurationError, SyncPipelineError

if TYPE_CHECKING:
    from sync_pipeline.core.scope import Scope
    from sync_pipeline.engine.context import SyncContext
    from sync_pipeline.engine.questions.plan import ScopePlan
    from sync_pipeline.settings import Settings
    from sync_pipeline.wiring import Installation

VERSION: Final = 1


def known_scale(
    settings: Settings, installation: Callable[[], Installation]
) -> tuple[dict[str, float], str]:
    """What is known here for ``plan --scale``: numbers by key, and where they come from.

    Asks the installation only where its database is there already: on paper nothing is started.
    """
    known: dict[str, float] = {
        "connections": settings.source.max_connections,
        "retention_days": settings.schedule.run_retention_days,
        "views": max(len(entity.views) for entity in settings.entities),
    }
    if settings.state_url is not None and settings.state.url is not None:
        known["connections"] += settings.state.max_connections
    if settings.state_url is None and not (settings.postgres_path / "PG_VERSION").exists():
        return known, "Rates are those of the benchmarks: nothing is installed here yet."
    try:
        sync = installation().sync
        rate = sync.rates.texts_per_second(model_id=sync.models.main.model_id)
        known["dimension"] = sync.models.main.dimension
    except SyncPipelineError as error:
        return known, f"Rates are those of the benchmarks: {error.what}"
    if rate is None:
        return known, "Rates are those of the benchmarks: no model has embedded anything here yet."
    known["texts"] = rate
    return (
        known,
        f"This installation embedded {rate:,.0f} texts/s; other rates are the benchmarks'.",
    )


def saved_plan(sync: SyncContext, *, plans: Sequence[ScopePlan]) -> dict[str, object]:
    """Plans together with where they were made, to be kept as JSON."""
    return {"version": VERSION, **_origin(sync), "scopes": [asdict(plan) for plan in plans]}


def planned_changes(
    content: Any, sync: SyncContext, *, scopes: Sequence[Scope], name: str
) -> dict[str, str]:
    """Per scope key the digest of the planned changes (``RunOptions.change_digests``).

    Args:
        content: What ``saved_plan`` made, read from JSON.
        sync: The ports of the installation that it is to be carried out in.
        scopes: What it is asked about.
        name: How the plan is called, for messages.

    Raises:
        ConfigurationError: no plan, a plan of another installation, or without one of the scopes.
    """
    if not _is_plan(content):
        raise ConfigurationError(
            f"{name} is not a plan of this version; make one with "
            "`sync-pipeline plan ... --out FILE`"
        )
    for field, here in _origin(sync).items():
        if content.get(field) != here:
            raise ConfigurationError(
                f"the plan {name} was made for {field} {content.get(field)!r}, but the settings "
                f"lead to {here!r}. Make a new one with `sync-pipeline plan ... --out FILE`. "
                "Nothing was written."
            )
    planned = {plan["scope_key"]: str(plan["change_digest"]) for plan in content["scopes"]}
    absent = [scope.key for scope in scopes if scope.key not in planned]
    if absent:
        raise ConfigurationError(
            f"the plan {name} says nothing about {', '.join(absent)}; it is about "
            f"{', '.join(planned)}. Name those scopes, or make a new plan."
        )
    return planned


def _is_plan(content: Any) -> bool:
    try:
        return content["version"] == VERSION and isinstance(content["scopes"], list)
    except (KeyError, TypeError):
        return False


def _origin(sync: SyncContext) -> dict[str, str]:
    """What a plan depends on besides rows and points."""
    return {"database": sync.source.database, "collection": sync.spec.collection}
