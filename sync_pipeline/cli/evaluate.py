"""``evaluate``: how well searches find what they should."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from sync_pipeline.cli import evaluation_tables as tables
from sync_pipeline.cli.command import command
from sync_pipeline.cli.invocation import Invocation
from sync_pipeline.cli.progress import open_bars
from sync_pipeline.cli.signals import run_stoppable
from sync_pipeline.operations.evaluating import evaluate_file, evaluation_answer

if TYPE_CHECKING:
    from sync_pipeline.core.ports import StopSignal
    from sync_pipeline.engine.questions.evaluate import Evaluation

app = typer.Typer()


@command(app, "evaluate")
def evaluate(
    invocation: Invocation,
    *,
    queries: Annotated[
        str,
        typer.Argument(
            metavar="QUERIES.jsonl",
            help="Labelled queries, one JSON object per line: query, scope, relevant (per "
            "document id a grade), tags; or builtin, those of the sample catalogue.",
        ),
    ],
    k: Annotated[int, typer.Option("--k", min=1, max=100, help="Depth of the recall.")] = 10,
    compare: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE",
            help="Ask with other settings of the section search too, e.g. "
            "fusion=rrf,rrf_k=60,weights.bm25=2, or another generation of the index, "
            "generation=COLLECTION, and compare; repeatable.",
        ),
    ] = None,
    worst: Annotated[
        int, typer.Option(min=0, help="Show so many of the queries that hybrid answers worst.")
    ] = 0,
    seed: Annotated[
        int, typer.Option(min=0, help="Of the samples for intervals and p values.")
    ] = 0,
) -> None:
    """Measure how well searches find what they should: recall, nDCG@10, MRR; writes nothing.

    Every query is asked as its scope, by meaning (dense), by words (text) and by both (hybrid).
    """
    with open_bars(invocation.err) as bars:

        def work(should_stop: StopSignal) -> Evaluation:
            sync = replace(invocation.installation.sync, progress=bars, should_stop=should_stop)
            return evaluate_file(
                sync, queries, among=invocation.scopes, k=k, seed=seed, compared=compare or ()
            )

        evaluation = run_stoppable(work, tell=invocation.tell)
    invocation.answer(evaluation_answer(evaluation))
    for line in tables.label_remarks(evaluation):
        invocation.say(line)
    for system in evaluation.systems:
        invocation.say(f"\n{tables.system_title(system)}")
        invocation.show(tables.score_table(system, k=evaluation.k))
        if evaluation.tags:
            invocation.show(tables.tag_table(system, tags=evaluation.tags))
    if worst:
        invocation.say("\nAnswered worst:")
        invocation.show(tables.worst_table(evaluation, count=worst))
    for title, table in tables.comparison_tables(evaluation):
        invocation.say(f"\n{title}")
        invocation.show(table)
