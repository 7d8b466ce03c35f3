"""What embedding may cost."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

from pydantic import Field

from sync_pipeline.core.spending import BudgetPolicy, Limit
from sync_pipeline.settings.rules import NOT_A_BOOL
from sync_pipeline.settings.sections import ScopeKey, Section

Tokens = Annotated[int, Field(ge=0), NOT_A_BOOL]
Cost = Annotated[float, Field(ge=0, allow_inf_nan=False), NOT_A_BOOL]


class TenantBudget(Section):
    """What one scope may spend in a calendar month."""

    cost: Cost | None = None
    """In the currency of the prices. Null: no bound."""
    tokens: Tokens | None = None
    """Tokens. Null: no bound."""

    def as_limit(self) -> Limit:
        """The same for the engine."""
        return _limit(cost=self.cost, tokens=self.tokens)


class BudgetSettings(Section):
    """What embedding may cost; a run stops before the call that would exceed it.

    What is left is pending, found by its words meanwhile, and caught up later. Only services, and
    models with a price, count; searches never do.
    """

    cost_per_run: Cost | None = None
    """Most that one run may cost, in the currency of `price_per_million_tokens`. Null: no bound."""
    cost_per_month: Cost | None = None
    """Most that all runs of a calendar month (UTC) may cost."""
    cost_per_tenant: Cost | None = None
    """Most that the runs of one tenant may cost in a month; shared rows are not bound by it."""
    tokens_per_run: Tokens | None = None
    """Likewise in tokens. Where both are set, the first that is reached counts."""
    tokens_per_month: Tokens | None = None
    """Likewise, of a month."""
    tokens_per_tenant: Tokens | None = None
    """Likewise, of a tenant in a month."""
    tenants: dict[ScopeKey, TenantBudget] = Field(default={})
    """Other bounds for some, by tenant id or `global`, e.g. `{acme: {cost: 50}}`."""
    alert_at: Annotated[float, Field(gt=0, le=1), NOT_A_BOOL] = 0.8
    """From this share of a budget on people are told: in the log, by `cost`, on the page, in
    `/metrics`, and by `doctor`."""

    def as_policy(self) -> BudgetPolicy:
        """The same for the engine."""
        return BudgetPolicy(
            run=_limit(cost=self.cost_per_run, tokens=self.tokens_per_run),
            month=_limit(cost=self.cost_per_month, tokens=self.tokens_per_month),
            tenant=_limit(cost=self.cost_per_tenant, tokens=self.tokens_per_tenant),
            tenants={key: budget.as_limit() for key, budget in self.tenants.items()},
            alert_fraction=self.alert_at,
        )


def _limit(*, cost: float | None, tokens: int | None) -> Limit:
    return Limit(tokens=tokens, cost=None if cost is None else Decimal(str(cost)))
