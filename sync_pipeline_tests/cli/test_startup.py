from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = (
    "alembic", "dagster", "numpy", "pandas", "psycopg", "pyarrow", "pydantic", "qdrant_client",
    "qdrant_edge", "sentence_transformers", "sqlalchemy", "torch",
)  # fmt: skip


@pytest.mark.process
def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['sync-pipeline', '--help']\n"
        "from sync_pipeline.__main__ import main\n"
        "try:\n    main()\nexcept SystemExit:\n"
        f"    print('loaded:', *(name for name in {HEAVY!r} if name in sys.modules))"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.splitlines()[-1] == "loaded:"
