"""How results look as JSON: dataclasses by field name, times as ISO text."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, is_dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from sync_pipeline.cli.streams import holds_any_text
from sync_pipeline.core.reports import Counts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sync_pipeline.core.reports import ScopeReport


def as_json(value: object) -> str:
    """One line of JSON for standard output: in ASCII where that is not UTF-8."""
    is_ascii = not holds_any_text(sys.stdout)
    return json.dumps(value, ensure_ascii=is_ascii, default=_encode)


def sync_summary(
    reports: Sequence[ScopeReport],
    *,
    mode: str,
    duration_seconds: float,
    left_entities: Mapping[str, int] | None = None,
) -> dict[str, object]:
    """What ``sync --json`` prints.

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
    """Whether no scope failed, and no document either."""
    return not any(report.status == "failed" or report.failed for report in reports)


def _flat(report: ScopeReport) -> dict[str, object]:
    """A report with what it is about first."""
    about = {"scope_key": report.scope_key, "status": report.status, "run_id": report.run_id}
    return about | asdict(report)


def _encode(value: object) -> object:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} has no JSON form")
