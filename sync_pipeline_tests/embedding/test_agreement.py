"""The proof that lean runtimes give torch's vectors, and what happens where they do not.

``python -m sync_pipeline_tests.embedding.test_agreement`` writes the reference of the bundled
model anew: after another version of it, or another canary text.
"""

from __future__ import annotations
