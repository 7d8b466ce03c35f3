"""Runs the command line and tells which heavy libraries it imported.

``python -m benchmarks.modules_loaded FILE WORDS...`` is ``sync-pipeline WORDS...``;
the names go into FILE as JSON when the command ends.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Final

from sync_pipeline.__main__ import main

HEAVY: Final = ("torch", "transformers", "sentence_transformers", "openai")


def _run(answer: Path, words: list[str]) -> None:
    sys.argv = ["sync-pipeline", *words]
    try:
        main()
    finally:
        loaded = [name for name in HEAVY if name in sys.modules]
        answer.write_text(json.dumps(loaded), encoding="utf-8")


if __name__ == "__main__":
    _run(Path(sys.argv[1]), sys.argv[2:])
