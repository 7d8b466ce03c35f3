"""Asking what embedding took."""

from __future__ import annotations

import calendar
from dataclasses import asdict
from datetime import date
from typing import TYPE_CHECKING, Final

from sync_pipeline.core.errors import ConfigurationError
from sync_pipeline.core.spending import BudgetKind, CostGroup

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sync_pipeline.core.spending import BudgetState, Taken
    from sync_pipeline.engine.context import SyncContext
    from sync_pipeline.engine.questions.cost import CostReport

GROUPS: Final = (CostGroup.MONTH, CostGroup.SCOPE, CostGroup.MODEL)
"""What a line is for where nobody says otherwise."""


def cost(
    sync: SyncContext, *, month: str | None = None, by: Sequence[CostGroup] = GROUPS
) -> CostReport:
    """What was taken in a month.

    Args:
        sync: The ports.
        month: Such as ``2026-11``; None for this one, ``all`` for every one.
        by: What a line is for.

    Raises:
        ConfigurationError: no month.
    """
    from sync_pipeline.engine.questions.cost import cost_report

    first, last = days_of(month, today=sync.now().date())
    return cost_report(sync, first=first, last=last, by=by)


def watched_budgets(sync: SyncContext, *, most: int = 10) -> list[BudgetState]:
    """The budget of this month, and of tenants those of which the greatest share is spent.

    Args:
        sync: The ports.
        most: Most tenants.
    """
    from sync_pipeline.engine.questions.cost import budget_states

    states = budget_states(sync)
    of_all = [state for state in states if state.budget.kind is BudgetKind.MONTH]
    others = [state for state in states if state.budget.kind is not BudgetKind.MONTH]
    return [*of_all, *sorted(others, key=lambda it: -it.fraction)[:most]]


def unasked_providers(sync: SyncContext) -> list[str]:
    """Which providers of the chain are left alone for a while, and why."""
    from sync_pipeline.engine.questions import providers

    return providers.unasked_providers(sync)


def days_of(month: str | None, *, today: date) -> tuple[date, date]:
    """The first and the last day of a month, as ``cost`` takes it.

    Raises:
        ConfigurationError: no month.
    """
    if month == "all":
        return date.min, date.max
    try:
        first = today.replace(day=1) if month is None else date.fromisoformat(f"{month}-01")
    except ValueError as error:
        raise ConfigurationError(
            f"{month!r} is no month.", remedy=f"Write it as {today:%Y-%m}, or all."
        ) from error
    return first, first.replace(day=calendar.monthrange(first.year, first.month)[1])


def cost_answer(report: CostReport) -> dict[str, object]:
    """What ``cost --json`` prints and the service sends."""
    return {
        "first": report.first.isoformat(),
        "last": report.last.isoformat(),
        "lines": [{**line.group, **taken_answer(line.taken)} for line in report.lines],
        "total": taken_answer(report.total),
        "budgets": [budget_answer(state) for state in report.budgets],
    }


def taken_answer(taken: Taken) -> dict[str, object]:
    """Numbers, with costs as numbers too."""
    return {
        name: float(value) if name.endswith("cost") else value
        for name, value in asdict(taken).items()
    }


def budget_answer(state: BudgetState) -> dict[str, object]:
    """How much of a budget is spent."""
    limit = state.budget.limit
    return {
        "kind": str(state.budget.kind),
        "key": state.budget.key,
        "spent_tokens": state.spent.tokens,
        "spent_cost": float(state.spent.cost),
        "limit_tokens": limit.tokens,
        "limit_cost": None if limit.cost is None else float(limit.cost),
        "spent_fraction": round(state.fraction, 4),
        "is_alerting": state.is_alerting,
    }
