"""Keeps a Qdrant vector index in step with PostgreSQL, for every tenant."""

import os
from typing import Final

# PyArrow reads this once, when it is imported; see ``tuning.share_one_heap``.
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")

__version__: Final = "0.1.0"
