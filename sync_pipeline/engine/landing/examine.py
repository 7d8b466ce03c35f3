"""Would the landings of an installation land? One finding per landing."""

from __future__ import annotations

from functools import partial

from sync_pipeline.core.landing.spec import Landing
from sync_pipeline.engine.landing.landings import Landings
from sync_pipeline.engine.questions.doctor import Finding, ask


def examine_landings(landings: Landings | None) -> list[Finding]:
    """Log in to every origin, read one page of each landing, and look at its table.

    Makes tables that are missing, and lands nothing.
    """
    if landings is None:
        return []
    return [
        ask(f"landing {landing.name}", partial(_examined, landings, landing))
        for landing in landings.landings
    ]


def _examined(landings: Landings, landing: Landing) -> str:
    landings.store.prepare([landing])
    origin = landings.open_origin(landing)
    try:
        found = list(origin.examine(landing))
    finally:
        origin.close()
    return "; ".join([*found, f"lands in {landing.table}"])
