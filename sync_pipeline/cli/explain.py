"""``explain``: why is this row (not) searchable?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from sync_pipeline.cli import render
from sync_pipeline.cli.command import command
from sync_pipeline.cli.invocation import Invocation
from sync_pipeline.operations import asking
from sync_pipeline.operations.answers import explanation_answer

if TYPE_CHECKING:
    from datetime import datetime

    from sync_pipeline.core.explanation import (
        DocumentFinding,
        LandingFinding,
        PointFinding,
        ScopeFinding,
        ViewFinding,
    )
    from sync_pipeline.core.ports import DocumentRecord

app = typer.Typer()

Entity = Annotated[str, typer.Argument(metavar="ENTITY", help="Name of an entity: material.")]
RowId = Annotated[str, typer.Argument(metavar="ROW_ID", help="Its id in the source table.")]


@command(app, "explain")
def explain(invocation: Invocation, *, entity: Entity, row_id: RowId) -> None:
    """Say why a row is searchable or not, and what to do.

    Looks at the row, its document, our record, the point in the index and the last
    sync of its scope. Writes nothing. Shows the beginning of the document's text.
    """
    explanation = asking.explain(invocation.installation.sync, entity=entity, row_id=row_id)
    invocation.answer(explanation_answer(explanation))
    verdict = explanation.verdict
    landing = explanation.landing
    invocation.say(f"{verdict.outcome.value.upper().replace('_', ' ')}: {verdict.reason}.")
    for document in explanation.documents:
        invocation.show(render.facts_table(document.document_id, dict(_facts(document))))
    if landing is not None:
        invocation.say(_landing(landing))
    if verdict.next_step is not None:
        invocation.say(f"Next: {verdict.next_step}")


def _facts(finding: DocumentFinding) -> Iterator[tuple[str, str]]:
    scope = finding.scope
    yield "row", f"in scope {scope.scope_key}" if finding.has_row else "none"
    if finding.text is not None:
        yield "document", finding.text
    if finding.rejection is not None:
        yield "document", f"none: {finding.rejection.reason.value}, {finding.rejection.detail}"
    yield "record", "none" if finding.record is None else _record(finding.record)
    yield (
        "point",
        "none" if finding.point is None else _point(finding.point, has_row=finding.has_row),
    )
    for view in finding.views:
        yield f"view {view.view}", _view(view)
    yield "scope", _scope(scope)


def _landing(landing: LandingFinding) -> str:
    called = "" if landing.source_key is None else f", where it is called {landing.source_key}"
    return (
        f"It comes from landing {landing.name}{called}; last complete "
        f"{_moment(landing.complete_at)}{'' if landing.is_fresh else ' (OLD)'}."
    )


def _view(finding: ViewFinding) -> str:
    facts = f"{finding.state}, model {finding.model_id}"
    if finding.passages is not None:
        facts += f", {finding.passages} passages"
    return f"{facts}, only a part of the text is used" if finding.is_truncated else facts


def _record(record: DocumentRecord) -> str:
    if record.status != "failed":
        return f"{record.status} {_moment(record.last_synced_at)}, scope {record.scope_key}"
    return (
        f"failed {_moment(record.last_attempt_at)} (attempts: {record.attempts}): "
        f"{record.error_code}: {record.error}; next try {_moment(record.next_retry_at)}"
    )


def _point(point: PointFinding, *, has_row: bool) -> str:
    facts = f"scope {point.scope_key}, written {point.synced_at}"
    if not has_row:
        return facts
    text = "current" if point.has_current_text else "outdated"
    payload = "current" if point.has_current_payload else "outdated"
    return f"{facts}, text {text}, payload {payload}"


def _scope(scope: ScopeFinding) -> str:
    facts = f"last sync {_moment(scope.last_success_at)}, in sync to {_moment(scope.in_sync_to)}"
    if scope.pending_events:
        facts += f", {scope.pending_events} changes wait"
    if scope.lease is not None:
        facts += f", being synced by {scope.lease.owner}"
    return facts


def _moment(moment: datetime | None) -> str:
    return "never" if moment is None else f"{moment:%Y-%m-%d %H:%M:%S %Z}"
