"""Keeps a Qdrant vector index in step with PostgreSQL, for every tenant."""

import os
from typing import Final

__version__: Final = "0.1.0"

_SAYS_HOW_TO_WAIT: Final = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "KMP_LIBRARY")
"""Variables by which somebody may have decided how the threads of a model wait."""
_SAYS_HOW_MANY: Final = ("OPENBLAS_NUM_THREADS", "GOTO_NUM_THREADS", "OMP_NUM_THREADS")
"""Variables by which somebody may have decided how many threads numpy's products have."""

# PyArrow reads this once, when it is imported; see ``tuning.share_one_heap``.
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")

# numpy's OpenBLAS reads this once, when it is loaded. A few texts are embedded by numpy, whose
# products are too small to share: with two threads, which wait for each other in a loop, a search
# text takes twice the time on an idle machine and ten times on a busy one.
if not any(name in os.environ for name in _SAYS_HOW_MANY):
    os.environ["OPENBLAS_NUM_THREADS"] = "1"

# torch's OpenMP reads this once, when it is loaded, and every process that will load it imports
# this package first or inherits it. By default threads wait for each other in a loop, which takes
# the cores that those they wait for need: where anything else runs (PostgreSQL does, beside every
# sync) the model is 4 times as fast with this, and where nothing does 0.98 times
# (`benchmarks/busy_neighbour.py`).
if not any(name in os.environ for name in _SAYS_HOW_TO_WAIT):
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
