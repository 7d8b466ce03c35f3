"""What embedding costs: prices, budgets and the record of what was spent.

Money is exact: a price is a decimal number for a million tokens, a cost is tokens times price, and
nothing is rounded before it is shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Final

from sync_pipeline.core.scope import Scope

_MILLION: Final = Decimal(1_000_000)
NO_COST: Final = Decimal(0)


class Purpose(StrEnum):
    """What texts are embedded for."""

    DOCUMENTS = "documents"
    CANARIES = "canaries"
    """A few fixed texts that tell whether the model is still the same."""
    SEARCH = "search"


class BudgetKind(StrEnum):
    """What a budget is for."""

    RUN = "run"
    MONTH = "month"
    """Everything of a calendar month, in UTC."""
    TENANT = "tenant"
    """One scope in a calendar month."""


@dataclass(frozen=True, slots=True)
class Tariff:
    """What a provider charges for a model."""

    price_per_million_tokens: Decimal | None = None
    """None where nobody has said it; nothing costs nothing then."""
    is_service: bool = False
    """Whether somebody else computes it: only that counts against budgets of tokens."""

    def cost(self, tokens: int) -> Decimal:
        """What so many tokens cost."""
        price = self.price_per_million_tokens
        return NO_COST if price is None else tokens * price / _MILLION

    @property
    def is_limited(self) -> bool:
        """Whether budgets look at it."""
        return self.is_service or self.price_per_million_tokens is not None


FREE: Final = Tariff()


@dataclass(frozen=True, slots=True, kw_only=True)
class Amount:
    """Tokens and what they cost."""

    tokens: int = 0
    cost: Decimal = NO_COST

    def __add__(self, other: Amount) -> Amount:
        return Amount(tokens=self.tokens + other.tokens, cost=self.cost + other.cost)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """The most that may be spent; None bounds nothing."""

    tokens: int | None = None
    cost: Decimal | None = None

    @property
    def is_set(self) -> bool:
        """Whether it bounds anything."""
        return self.tokens is not None or self.cost is not None

    def admits(self, amount: Amount) -> bool:
        """Whether so much may be spent in all."""
        return (self.tokens is None or amount.tokens <= self.tokens) and (
            self.cost is None or amount.cost <= self.cost
        )

    def fraction(self, spent: Amount) -> float:
        """How much of it is spent: the greater share of the two; 1.0 and more is all."""
        shares = [
            float(part / limit) if limit else 1.0
            for part, limit in ((spent.tokens, self.tokens), (spent.cost, self.cost))
            if limit is not None
        ]
        return max(shares, default=0.0)

    def tokens_left(self, spent: Amount, *, tariff: Tariff) -> int | None:
        """How many tokens of a model may still be spent; None where nothing bounds them."""
        left = [] if self.tokens is None else [self.tokens - spent.tokens]
        price = tariff.price_per_million_tokens
        if self.cost is not None and price:
            left.append(int((self.cost - spent.cost) * _MILLION / price))
        return max(0, min(left)) if left else None

    def told(self) -> str:
        """For people."""
        parts = [] if self.tokens is None else [f"{self.tokens:,} tokens"]
        parts += [] if self.cost is None else [f"a cost of {money(self.cost)}"]
        return " and ".join(parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What one run, one month, or one tenant in one month may spend."""

    kind: BudgetKind
    key: str
    """Which one: a run id, a month such as ``2026-11``, or ``2026-11/`` and a scope key."""
    limit: Limit

    @property
    def name(self) -> str:
        """For people."""
        match self.kind:
            case BudgetKind.RUN:
                return "the budget of one run"
            case BudgetKind.MONTH:
                return f"the budget of {self.key}"
            case BudgetKind.TENANT:
                month, _, scope_key = self.key.partition("/")
                return f"the budget of {scope_key} in {month}"

    @property
    def setting(self) -> str:
        """The setting that bounds it."""
        unit = "cost" if self.limit.cost is not None else "tokens"
        return f"budget.{unit}_per_{self.kind}"


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetPolicy:
    """The budgets of an installation."""

    run: Limit = field(default_factory=Limit)
    month: Limit = field(default_factory=Limit)
    tenant: Limit = field(default_factory=Limit)
    tenants: Mapping[str, Limit] = field(default_factory=dict)
    """Per scope key, instead of ``tenant``."""
    alert_fraction: float = 0.8
    """From this share on people are told."""

    def budgets(self, *, scope: Scope | None, run_id: str, day: date) -> list[Budget]:
        """What a call for a scope and a run counts against, in one order for all.

        Those without a limit too: what was spent before somebody sets one counts.
        """
        month = f"{day:%Y-%m}"
        found = [Budget(kind=BudgetKind.MONTH, key=month, limit=self.month)]
        if run_id:
            found.append(Budget(kind=BudgetKind.RUN, key=run_id, limit=self.run))
        if scope is not None:
            found.append(
                Budget(
                    kind=BudgetKind.TENANT,
                    key=f"{month}/{scope.key}",
                    limit=self.of_scope(scope.key),
                )
            )
        return found

    @property
    def has_limits(self) -> bool:
        """Whether anything is bound in a month."""
        return any(limit.is_set for limit in (self.month, self.tenant, *self.tenants.values()))

    @property
    def bounds_anything(self) -> bool:
        """Whether anything is bound at all."""
        return self.run.is_set or self.has_limits

    def of_scope(self, scope_key: str) -> Limit:
        """What a scope may spend in a month: the shared rows are nobody's, unless named."""
        return self.tenants.get(
            scope_key, Limit() if Scope.from_key(scope_key).is_global else self.tenant
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """Who embeds what, and for whom: the key of a row of the ledger."""

    day: date
    """In UTC."""
    scope_key: str
    """Empty where it is nobody's: model canaries at a start."""
    model_id: str
    run_id: str
    """Empty outside of runs."""
    purpose: Purpose


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What calls took."""

    calls: int = 0
    """That were answered with vectors."""
    texts: int = 0
    tokens: int = 0
    cost: Decimal = NO_COST
    unconfirmed_calls: int = 0
    """Whose end nobody knows: a time-out, a lost connection, a killed process."""
    unconfirmed_tokens: int = 0
    """At most, of those: the provider may charge them."""
    unconfirmed_cost: Decimal = NO_COST

    def __add__(self, other: Taken) -> Taken:
        return Taken(
            calls=self.calls + other.calls,
            texts=self.texts + other.texts,
            tokens=self.tokens + other.tokens,
            cost=self.cost + other.cost,
            unconfirmed_calls=self.unconfirmed_calls + other.unconfirmed_calls,
            unconfirmed_tokens=self.unconfirmed_tokens + other.unconfirmed_tokens,
            unconfirmed_cost=self.unconfirmed_cost + other.unconfirmed_cost,
        )

    @property
    def amount(self) -> Amount:
        """What budgets count: what was charged, and what may be."""
        return Amount(
            tokens=self.tokens + self.unconfirmed_tokens, cost=self.cost + self.unconfirmed_cost
        )


NOTHING: Final = Taken()


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerRow:
    """What was taken, by whom."""

    entry: Entry
    provider: str
    taken: Taken


class CostGroup(StrEnum):
    """What a summary of the ledger is grouped by."""

    SCOPE = "scope"
    MODEL = "model"
    MONTH = "month"
    DAY = "day"
    RUN = "run"
    PROVIDER = "provider"
    PURPOSE = "purpose"


@dataclass(frozen=True, slots=True, kw_only=True)
class CostLine:
    """One line of a summary."""

    group: Mapping[str, str]
    """What it is about, by the name of the grouping."""
    taken: Taken


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetState:
    """How much of a budget is spent."""

    budget: Budget
    spent: Amount
    """Charged, possibly charged, and reserved by calls under way."""
    alert_fraction: float

    @property
    def fraction(self) -> float:
        """The spent share."""
        return self.budget.limit.fraction(self.spent)

    @property
    def is_alerting(self) -> bool:
        """Whether people should look."""
        return self.budget.limit.is_set and self.fraction >= self.alert_fraction

    def told(self) -> str:
        """For people, with the numbers."""
        spent = f"{self.spent.tokens:,} tokens, {money(self.spent.cost)}"
        return (
            f"{self.fraction:.0%} of {self.budget.name} is spent: {spent} of "
            f"{self.budget.limit.told()}"
        )


def summed(rows: Iterable[LedgerRow], *, by: Sequence[CostGroup]) -> list[CostLine]:
    """Sum up rows of the ledger by what they have in common, in its order."""
    lines: dict[tuple[str, ...], Taken] = {}
    for row in rows:
        key = tuple(_named(row, group) for group in by)
        lines[key] = lines.get(key, Taken()) + row.taken
    return [
        CostLine(group=dict(zip(map(str, by), key, strict=True)), taken=taken)
        for key, taken in sorted(lines.items())
    ]


def _named(row: LedgerRow, group: CostGroup) -> str:
    entry = row.entry
    match group:
        case CostGroup.SCOPE:
            return entry.scope_key
        case CostGroup.MODEL:
            return entry.model_id
        case CostGroup.MONTH:
            return f"{entry.day:%Y-%m}"
        case CostGroup.DAY:
            return entry.day.isoformat()
        case CostGroup.RUN:
            return entry.run_id
        case CostGroup.PROVIDER:
            return row.provider
        case CostGroup.PURPOSE:
            return str(entry.purpose)


def money(cost: Decimal) -> str:
    """A cost for people: two decimals, of a small one three significant digits."""
    if not cost or cost >= Decimal("0.01"):
        return f"{cost:,.2f}"
    digits = -cost.adjusted() + 2
    return f"{cost:.{digits}f}".rstrip("0")
