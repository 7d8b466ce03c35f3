"""Where Dagster's own modules are used."""

from __future__ import annotations

import ast
from pathlib import Path

from sync_pipeline_tests.conftest import REPOSITORY

PACKAGE = REPOSITORY / "sync_pipeline"


def private_imports(file: Path) -> list[str]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    named = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    named += [
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    ]
    return [name for name in named if name.startswith("dagster") and "._" in name]


def test_one_module_imports_what_dagster_keeps_to_itself() -> None:
    """An update of Dagster can break it there, and nowhere else."""
    using = {
        str(file.relative_to(PACKAGE)) for file in PACKAGE.rglob("*.py") if private_imports(file)
    }

    assert using == {"defs/dagster_private.py"}
