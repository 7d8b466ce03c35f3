"""Results as JSON on standard output."""

from __future__ import annotations

import json
import sys

from sync_pipeline.cli.streams import holds_any_text
from sync_pipeline.operations.answers import plain


def as_json(value: object) -> str:
    """One line of JSON for standard output: in ASCII where that is not UTF-8."""
    is_ascii = not holds_any_text(sys.stdout)
    return json.dumps(value, ensure_ascii=is_ascii, default=plain)
