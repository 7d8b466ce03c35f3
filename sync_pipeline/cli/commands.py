"""Which module has which command; a module is imported when one of its commands is asked for.

Half of the start of a command that reads nothing would be the import of all others.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any, Final

import typer

COMMANDS: Final[Mapping[str, str]] = {
    "sync": "sync",
    "plan": "plan",
    "verify": "verify",
    "status": "status",
    "cost": "cost",
    "explain": "explain",
    "search": "search",
    "evaluate": "evaluate",
    "export": "export",
    "serve": "serve",
    "mcp": "mcp",
    "migrate": "services",
    "doctor": "services",
    "dev": "services",
    "dagster": "services",
    "worker": "services",
    "init": "init",
    "demo": "demo",
}
"""By name the module of ``sync_pipeline.cli`` whose ``app`` has it; in the order of the help."""
GROUPS: Final[Mapping[str, str]] = {
    "land": "land",
    "index": "index",
    "feed": "feed",
    "cache": "cache",
    "failed": "failed",
    "quarantine": "quarantine",
    "tenants": "tenants",
    "entities": "entities",
    "token": "serve",
    "database": "services",
    "sample": "sample",
}
"""By name the module whose ``<name>_app`` is this group of commands."""


class Commands(Mapping[str, Any]):
    """All commands by name, each made when it is looked at."""

    def __getitem__(self, name: str) -> Any:
        one = typer.Typer()
        if name in COMMANDS:
            one.add_typer(_module(COMMANDS[name]).app)
        else:
            group = getattr(_module(GROUPS[name]), f"{name}_app")
            one.add_typer(group, name=name)
        return typer.main.get_group(one).commands[name]

    def __iter__(self) -> Iterator[str]:
        yield from COMMANDS
        yield from GROUPS

    def __len__(self) -> int:
        return len(COMMANDS) + len(GROUPS)


def _module(name: str) -> Any:
    return import_module(f"sync_pipeline.cli.{name}")
