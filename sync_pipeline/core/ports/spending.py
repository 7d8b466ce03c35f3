"""What was spent on embedding, and what may be (of ``database``)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final, Protocol

from sync_pipeline.core.spending import Amount, Budget, Entry, LedgerRow, Taken

RESERVED_FOR_SECONDS: Final = 3_600.0
"""Longer no call takes: its process is gone, and nobody knows what the provider charges."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """What a call under way may take; counted as spent until it is settled."""

    call_id: str
    """A UUID: what is done twice for the same call counts once."""
    entry: Entry
    amount: Amount
    budgets: Sequence[Budget]


@dataclass(frozen=True, slots=True, kw_only=True)
class Exhausted:
    """A budget that does not admit a call."""

    budget: Budget
    spent: Amount
    """Charged, or possibly charged."""
    reserved: Amount
    """By calls under way, most of which take less in the end."""


class LedgerReader(Protocol):
    """What was spent, to be read."""

    def rows(self, *, first: date, last: date) -> list[LedgerRow]:
        """What was taken between two days, both included, by entry and provider."""

    def spenders(self, month: str) -> list[str]:
        """Keys of the scopes whose runs spent anything that budgets look at, in order.

        Args:
            month: Such as ``2026-11``.
        """

    def spent(self, budgets: Sequence[Budget]) -> list[Amount]:
        """What counts against each budget now, reservations included, in their order."""


class Ledger(LedgerReader, Protocol):
    """The record of what embedding took.

    A budget is never exceeded: what a call may take is counted before it is made, whatever number
    of processes make calls. What a process that was killed had reserved stays counted.
    """

    def book(self, entry: Entry, *, provider: str, taken: Taken) -> None:
        """Add what a call took that no budget looks at."""

    def reserve(
        self, entry: Entry, *, amount: Amount, budgets: Sequence[Budget]
    ) -> Reservation | Exhausted:
        """Count what a call may take at most against all of its budgets, or against none.

        Args:
            entry: Who asks.
            amount: The most that the call can take.
            budgets: What it counts against, in the one order of ``BudgetPolicy.budgets``; some
                may have no limit.

        Returns:
            The reservation, or the first budget that does not admit it.
        """

    def settle(self, reservation: Reservation, *, provider: str, taken: Taken) -> list[Amount]:
        """Count what a call took instead of what it might take; nothing leaves no row.

        Returns:
            What is spent of each of its budgets, without what calls under way have reserved.
        """

    def forget_runs(self, *, before: date) -> int:
        """Sum up what runs took before a day, so that each is one row no more; how many went."""
