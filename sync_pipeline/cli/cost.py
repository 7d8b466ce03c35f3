"""``cost``: what embedding took, and the budgets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from sync_pipeline.cli.command import command
from sync_pipeline.cli.invocation import Invocation
from sync_pipeline.cli.tables import add_row, new_table
from sync_pipeline.core.spending import CostGroup, money
from sync_pipeline.operations import costing

if TYPE_CHECKING:
    from sync_pipeline.engine.questions.cost import CostReport


app = typer.Typer()


@command(app, "cost")
def cost(
    invocation: Invocation,
    *,
    month: Annotated[
        str | None,
        typer.Option(metavar="YYYY-MM", help="Which month, in UTC, or all.  [default: this one]"),
    ] = None,
    by: Annotated[
        list[CostGroup] | None,
        typer.Option(
            help="What a line is for; may be given several times.  "
            f"[default: {', '.join(costing.GROUPS)}]"
        ),
    ] = None,
) -> None:
    """Show what was embedded: calls, texts, tokens and their cost, and the budgets.

    Unconfirmed are calls whose end nobody knows, such as time-outs: the provider may charge up to
    so many tokens for them, and budgets count them.
    """
    groups = by or list(costing.GROUPS)
    report = costing.cost(invocation.installation.sync, month=month, by=groups)
    invocation.answer({"ok": True, **costing.cost_answer(report)})
    if report.lines:
        invocation.show(cost_table(report, by=groups))
    for line in cost_remarks(report):
        invocation.say(line)


def cost_table(report: CostReport, *, by: Sequence[CostGroup]) -> Table:
    """One row per line of the summary."""
    table = new_table(*map(str, by), "+calls", "+texts", "+tokens", "+cost", "+unconfirmed")
    for line in report.lines:
        taken = line.taken
        add_row(
            table, *(line.group[group] or "-" for group in by), taken.calls, taken.texts,
            taken.tokens, money(taken.cost), taken.unconfirmed_tokens,
        )  # fmt: skip
    return table


def cost_remarks(report: CostReport) -> list[str]:
    """What the table cannot say: the sum, and how much of each budget is left."""
    total = report.total
    if not report.lines:
        said = f"Nothing was embedded from {report.first} to {report.last}."
    else:
        said = (
            f"{total.calls:,} calls, {total.texts:,} texts, {total.tokens:,} tokens, "
            f"{money(total.cost)} in all."
        )
    lines = [said]
    if total.unconfirmed_calls:
        lines.append(
            f"{total.unconfirmed_calls:,} calls were cut off: the provider may have charged up to "
            f"{total.unconfirmed_tokens:,} tokens, {money(total.unconfirmed_cost)}, for them."
        )
    lines += [f"{state.told()}." for state in report.budgets]
    return lines
