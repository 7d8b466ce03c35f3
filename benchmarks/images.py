"""Names of the plots under ``docs/images``: what ``plots`` draws and ``page`` shows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).resolve().parent.parent / "docs" / "images"

IMAGES: Final[Mapping[str, str]] = {
    "model_speed": "performance-model.svg",
    "first_sync_pipeline": "performance-first-sync.svg",
    "growth": "performance-growth.svg",
    "side_by_side": "performance-side-by-side.svg",
}
"""File by benchmark."""
