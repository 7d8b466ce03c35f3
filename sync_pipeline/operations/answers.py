"""The shapes in which answers go to programs: what ``--json`` prints and the service sends."""

from __future__ import annotations

from dataclasses import asdict, is_dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from sync_pipeline.core.errors import SyncPipelineError
from sync_pipeline.core.reports import Counts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sync_pipeline.core.explanation import Explanation
    from sync_pipeline.core.remedy import Action
    from sync_pipeline.core.reports import ScopeReport
    from sync_pipeline.engine.landing.ages import LandingAge
    from sync_pipeline.engine.questions.search import SearchResult
    from sync_pipeline.engine.questions.status import ScopeStatusReport
    from sync_pipeline.engine.questions.verify import Verification


def plain(value: object) -> object:
    """A dataclass by field name, a time as ISO text: what JSON has no form for itself.

    Raises:
        TypeError: it is neither a dataclass nor a time.
    """
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} has no JSON form")


def sync_summary(
    reports: Sequence[ScopeReport],
    *,
    mode: str,
    duration_seconds: float,
    left_entities: Mapping[str, int] | None = None,
) -> dict[str, object]:
    """What became of a sync.

    ``ok`` means that no scope failed and no document of any scope did. ``left_entities`` is there
    where the index has documents of entities that the settings do not name: how many of each.
    """
    return {
        "ok": all_done(reports),
        "mode": mode,
        "duration_seconds": round(duration_seconds, 3),
        "totals": totals(reports).numbers(),
        "scopes": [_flat(report) for report in reports],
        **({"left_entities": dict(left_entities)} if left_entities else {}),
    }


def totals(reports: Sequence[ScopeReport]) -> Counts:
    """Counts of all scopes together."""
    return sum(reports, start=Counts())


def all_done(reports: Sequence[ScopeReport]) -> bool:
    """Whether no scope failed, and no document failed or has to wait."""
    return not any(
        report.status == "failed" or report.failed or report.pending for report in reports
    )


def status_answer(
    statuses: Sequence[ScopeStatusReport],
    *,
    landings: Sequence[LandingAge],
    left_entities: Mapping[str, int],
) -> dict[str, object]:
    """How scopes and landings stand; ``left_entities`` as in ``sync_summary``."""
    return {
        "scopes": statuses,
        "landings": landings,
        **({"left_entities": dict(left_entities)} if left_entities else {}),
    }


def search_answer(result: SearchResult) -> dict[str, object]:
    """Hits, and how far what was searched is in step; ``degraded`` where it is not as asked for."""
    hits = [
        {name: value for name, value in asdict(hit).items() if name != "passages" or value}
        for hit in result.hits
    ]
    degraded = {} if result.degraded is None else {"degraded": result.degraded}
    return {"hits": hits, "in_sync_to": result.in_sync_to, **degraded}


def explanation_answer(explanation: Explanation) -> dict[str, object]:
    """Why a row is searchable or not, and what to do."""
    verdict = explanation.verdict
    landing = {} if explanation.landing is None else {"landing": explanation.landing}
    return {
        "entity_type": explanation.entity_type,
        "db_id": explanation.db_id,
        "searchable": verdict.is_searchable,
        "verdict": {
            "outcome": verdict.outcome.value,
            "reason": verdict.reason,
            "next_step": verdict.next_step,
        },
        "documents": explanation.documents,
        **landing,
    }


def verification_answer(verification: Verification) -> dict[str, object]:
    """What one scope was found to be; ``error`` only where there is one."""
    return {name: value for name, value in asdict(verification).items() if value is not None}


def error_answer(error: BaseException, *, message: str) -> dict[str, object]:
    """What stands in the place of a result; ``remedy`` where something is named to be done."""
    told: dict[str, object] = {"type": type(error).__name__, "message": message}
    actions = error.remedy.actions if isinstance(error, SyncPipelineError) else ()
    if actions:
        told["remedy"] = [action_answer(action) for action in actions]
    return {"ok": False, "error": told}


def action_answer(action: Action) -> dict[str, object]:
    """What can be done, with its arguments."""
    return {"action": action.name, "arguments": action.arguments}


def _flat(report: ScopeReport) -> dict[str, object]:
    """A report with what it is about first."""
    about = {"scope_key": report.scope_key, "status": report.status, "run_id": report.run_id}
    return about | asdict(report)
