"""What is installed only where somebody asks for it: the extras of ``pyproject.toml``."""

from __future__ import annotations

from sync_pipeline.core.errors import ConfigurationError


def not_installed(needed_for: str, error: ModuleNotFoundError, *, extra: str) -> ConfigurationError:
    """Say that something is asked for whose libraries are missing, and how to get them.

    Args:
        needed_for: What asks for them, as the beginning of a sentence.
        error: Names what is missing.
        extra: Which brings it.
    """
    return ConfigurationError(
        f"{needed_for}, and {error.name} is not installed.",
        remedy=f"Install it with `pip install 'sync-pipeline[{extra}]'`.",
    )
