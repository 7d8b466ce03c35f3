"""Keeps a Qdrant vector index in step with PostgreSQL, for every tenant."""

import os
from typing import Final

__version__: Final = "0.1.0"

_SAYS_HOW_TO_WAIT: Final = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "KMP_LIBRARY")
"""Variables by which somebody may have decided how the threads of a model wait."""

# PyArrow reads this once, when it is imported; see ``tuning.share_one_heap``.
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")

# torch's OpenMP reads this once, when it is loaded, and every process that will load it imports
# this package first or inherits it. By default threads wait for each other in a loop, which takes
# the cores that those they wait for need: where anything else runs (PostgreSQL does, beside every
# sync) the model is 4 times as fast with this, and where nothing does 0.98 times
# (`benchmarks/busy_neighbour.py`).
if not any(name in os.environ for name in _SAYS_HOW_TO_WAIT):
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
