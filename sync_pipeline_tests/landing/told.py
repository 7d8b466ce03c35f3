"""What a long run has to tell: its numbers, for the documents that quote them."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

RESULTS_VARIABLE = "SYNC_PIPELINE_LANDING_RESULTS"
"""File that the numbers are added to, one line a run."""


def tell(what: str, **numbers: Any) -> None:
    """Print them, and keep them where that is asked for."""
    line = json.dumps({"what": what, **numbers}, ensure_ascii=False) + "\n"
    sys.stdout.write(line)
    file = os.environ.get(RESULTS_VARIABLE)
    if file:
        with Path(file).open("a", encoding="utf-8") as results:
            results.write(line)
