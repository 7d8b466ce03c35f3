"""What embedding took, and how much of each budget is left."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date

from sync_pipeline.core.scope import Scope
from sync_pipeline.core.spending import (
    Amount,
    Budget,
    BudgetKind,
    BudgetState,
    CostGroup,
    CostLine,
    Taken,
    summed,
)
from sync_pipeline.engine.reading import Reading


@dataclass(frozen=True, slots=True, kw_only=True)
class CostReport:
    """What was taken between two days, both included, and the budgets of this month."""

    first: date
    last: date
    lines: Sequence[CostLine]
    total: Taken
    budgets: Sequence[BudgetState]


def cost_report(sync: Reading, *, first: date, last: date, by: Sequence[CostGroup]) -> CostReport:
    """Sum up the ledger.

    Args:
        sync: Where it is.
        first: From this day on, in UTC.
        last: Up to this day, included.
        by: What a line is for.
    """
    rows = sync.ledger.rows(first=first, last=last)
    return CostReport(
        first=first,
        last=last,
        lines=summed(rows, by=by),
        total=sum((row.taken for row in rows), Taken()),
        budgets=budget_states(sync),
    )


def spent_this_month(sync: Reading) -> Amount:
    """What counts against budgets this month, whether there is one or not."""
    month = f"{sync.now():%Y-%m}"
    budget = Budget(kind=BudgetKind.MONTH, key=month, limit=sync.options.budgets.month)
    return sync.ledger.spent([budget])[0]


def budget_states(sync: Reading) -> list[BudgetState]:
    """The budgets of this month that have a limit: of everything, then of tenants by name.

    Of tenants those that have spent anything, or have a limit of their own.
    """
    policy = sync.options.budgets
    today = sync.now().date()
    if not policy.has_limits:
        return []
    keys = {*policy.tenants}
    if policy.tenant.is_set:
        keys |= {*sync.ledger.spenders(f"{today:%Y-%m}")}
    budgets = _distinct(
        budget
        for key in [None, *sorted(keys)]
        for budget in policy.budgets(
            scope=None if key is None else Scope.from_key(key), run_id="", day=today
        )
        if budget.limit.is_set and budget.kind is not BudgetKind.RUN
    )
    return [
        BudgetState(budget=budget, spent=spent, alert_fraction=policy.alert_fraction)
        for budget, spent in zip(budgets, sync.ledger.spent(budgets), strict=True)
    ]


def _distinct(budgets: Iterable[Budget]) -> list[Budget]:
    return list({(budget.kind, budget.key): budget for budget in budgets}.values())
