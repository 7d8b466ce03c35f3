"""What one landing did, as the command line, Dagster and the service show it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from sync_pipeline.core.landing.spec import LandingMode

LandingStatus = Literal["success", "failed", "deferred", "stopped"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LandingReport:
    """The result of one pass, or of as much of it as there was."""

    name: str
    mode: LandingMode
    status: LandingStatus = "success"
    pass_id: str | None = None
    run_id: str | None = None
    resumed: bool = False
    """Whether it went on with a pass that was cut off."""
    complete: bool = False
    """Whether it saw every record that lived throughout."""
    fetched: int = 0
    """Records that came, those of earlier attempts of the pass included."""
    rows: int = 0
    """Of the table, afterwards."""
    new: int = 0
    changed: int = 0
    unchanged: int = 0
    deleted: int = 0
    absent: int = 0
    """Rows whose record did not come."""
    waiting: int = 0
    """Those of them that stay until they are confirmed."""
    repeated: int = 0
    """Records whose id came more than once; the newest counts."""
    rejected: Mapping[str, int] = field(default_factory=dict)
    unknown_fields: tuple[str, ...] = ()
    pages: int = 0
    requests: int = 0
    mended_seams: int = 0
    waited_seconds: float = 0.0
    fetch_seconds: float = 0.0
    apply_seconds: float = 0.0
    notes: tuple[str, ...] = ()
    error: str | None = None

    @property
    def records_per_second(self) -> float:
        """How fast records came in this run."""
        return self.fetched / self.fetch_seconds if self.fetch_seconds else 0.0
