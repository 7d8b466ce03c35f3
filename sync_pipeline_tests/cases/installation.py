"""Somebody else's database, and the program as its owner calls it: in processes of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psycopg

from sync_pipeline_tests.commands import run_command

TIMEOUT_SECONDS: Final = 120


@dataclass(slots=True)
class Case:
    """A database, a settings file and a home."""

    url: str
    """libpq URL of the source."""
    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    def sql(self, *statements: str) -> None:
        """Do something as the application does, each in a transaction of its own."""
        with psycopg.connect(self.url, autocommit=True, client_encoding="UTF8") as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def settings(self, text: str, *, name: str = "sync_pipeline.yaml") -> Path:
        """Write a settings file."""
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        return path

    def run(
        self, *arguments: str, config: str = "sync_pipeline.yaml", **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Call the program; its output is read as UTF-8."""
        return run_command(
            *arguments,
            folder=self.folder,
            environment=self._environment(config=config, **environment),
            timeout=TIMEOUT_SECONDS,
        )

    @contextmanager
    def start(
        self, *arguments: str, config: str = "sync_pipeline.yaml", **environment: str
    ) -> Iterator[subprocess.Popen[str]]:
        """Call the program and go on meanwhile; it is killed if it still runs at the end."""
        with subprocess.Popen(
            [sys.executable, "-m", "sync_pipeline", *arguments],
            cwd=self.folder,
            env=self._environment(config=config, **environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def _environment(self, *, config: str, **environment: str) -> dict[str, str]:
        inherited = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("SYNC_PIPELINE", "DATABASE", "STATE_", "QDRANT", "PG"))
        }
        return {
            **inherited,
            "DATABASE_URL": self.url,
            "SYNC_PIPELINE_HOME": str(self.folder / "home"),
            "SYNC_PIPELINE_CONFIG": str(self.folder / config),
            "SYNC_PIPELINE__EMBEDDING__PROVIDER": "hashing",
            "COLUMNS": "200",
            **self.environment,
            **environment,
        }

    def ask(self, *arguments: str, **environment: str) -> dict[str, Any]:
        """Call the program with ``--json``; what it answers, whatever its exit code."""
        done = self.run(*arguments, "--json", **environment)
        assert done.stdout, done.stderr
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    def advice(self) -> str:
        """What ``doctor`` finds wrong and what to do; empty where all is well."""
        done = self.run("doctor", "--json")
        answer = json.loads(done.stdout)
        bad = [found for found in answer["findings"] if not found["ok"]]
        assert done.returncode == (1 if bad else 0)
        return "\n".join(f"{found['detail']} {found['fix']}" for found in bad)

    def scopes(self, *arguments: str, **environment: str) -> Mapping[str, Mapping[str, Any]]:
        """What a command says of each scope, by scope key."""
        answer = self.ask(*arguments, **environment)
        return {scope["scope_key"]: scope for scope in answer["scopes"]}

    def found(self, text: str, *, tenant: str, **options: str) -> list[str]:
        """Texts that a search as this tenant brings."""
        extra = [part for name, value in options.items() for part in (f"--{name}", value)]
        answer = self.ask("search", text, "--tenant", tenant, *extra)
        return [str(hit["text"]) for hit in answer["hits"]]
