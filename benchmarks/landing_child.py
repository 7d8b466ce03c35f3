"""Lands ``products`` of the settings in this process, without Dagster: ``once`` or for SECONDS.

``python -m benchmarks.landing_child SECONDS`` lands again and again until the time is over, and
prints a line of JSON for each: what was done, or why it was not.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any, Final

from sync_pipeline.core.errors import SyncPipelineError
from sync_pipeline.engine.landing.context import LandingContext
from sync_pipeline.engine.landing.land import LandRequest, land, owner_name
from sync_pipeline.processes import process_name
from sync_pipeline.settings.loading import load_settings
from sync_pipeline.wiring import Installation, open_installation

LANDING: Final = "products"


def main() -> None:
    settings = load_settings(config=Path("sync_pipeline.yaml"), env=os.environ)
    installation = open_installation(settings)
    if sys.argv[1] == "once":
        print(json.dumps(_land(installation)))
        return
    end = time.monotonic() + float(sys.argv[1])
    while time.monotonic() < end:
        try:
            told = _land(installation)
        except SyncPipelineError as error:
            told = {"refused": type(error).__name__, "why": str(error)}
        print(json.dumps(told), flush=True)


def _land(installation: Installation) -> dict[str, Any]:
    landings = installation.sync.landings
    assert landings is not None
    report = land(
        LandingContext.of(landings, installation.sync),
        landings.landing(LANDING),
        request=LandRequest(),
        owner=owner_name(process=process_name(), run_id="benchmark"),
    )
    return {
        "rows": report.rows,
        "new": report.new,
        "changed": report.changed,
        "deleted": report.deleted,
        "complete": report.complete,
        "notes": list(report.notes),
    }


if __name__ == "__main__":
    main()
