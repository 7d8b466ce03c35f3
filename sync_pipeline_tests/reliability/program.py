"""The settings with which the chaos tests start the program."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

LEASE_SECONDS: Final = 5
"""The shortest that the settings accept."""


def program_environment(home: Path, *, database: str) -> dict[str, str]:
    """Free vectors, and batches so small that there are many moments to be killed in."""
    return os.environ | {
        "DATABASE_URL": database,
        "SYNC_PIPELINE_HOME": str(home),
        "SYNC_PIPELINE__EMBEDDING__PROVIDER": "hashing",
        "SYNC_PIPELINE__EMBEDDING__DIMENSION": "16",
        "SYNC_PIPELINE__SYNC__UPSERT_BATCH_SIZE": "5",
        "SYNC_PIPELINE__SYNC__LEASE_TTL_SECONDS": str(LEASE_SECONDS),
        "SYNC_PIPELINE__SYNC__MAX_DELETED_FRACTION": "1",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
