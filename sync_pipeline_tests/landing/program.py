"""The program itself, in a folder of its own, with a settings file."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from sync_pipeline_tests.commands import run_command

TIMEOUT_SECONDS: Final = 300

HASHING = {
    "SYNC_PIPELINE__EMBEDDING__PROVIDER": "hashing",
    "SYNC_PIPELINE__EMBEDDING__DIMENSION": "16",
}
"""Vectors that cost nothing and mean nothing."""


@dataclass(slots=True)
class Program:
    """Runs commands, each a process."""

    folder: Path
    environment: dict[str, str]

    @classmethod
    def of(
        cls,
        folder: Path,
        settings: Mapping[str, Any],
        *,
        database_url: str,
        environment: Mapping[str, str],
    ) -> Program:
        """With these settings, in an empty folder."""
        (folder / "sync_pipeline.yaml").write_text(yaml.safe_dump(dict(settings)))
        return cls(
            folder,
            os.environ
            | {
                "DATABASE_URL": database_url,
                "SYNC_PIPELINE_HOME": str(folder / "home"),
            }
            | dict(environment),
        )

    def __call__(self, *words: str) -> dict[str, Any]:
        """What a command answers that does what it should."""
        done = run_command(
            *words,
            "--json",
            folder=self.folder,
            environment=self.environment,
            timeout=TIMEOUT_SECONDS,
        )
        assert done.returncode == 0, done.stderr + done.stdout
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    @contextmanager
    def beside(self, *words: str, until: str) -> Iterator[None]:
        """With a command that goes on until it is stopped, once it has said something."""
        with subprocess.Popen(
            [sys.executable, "-m", "sync_pipeline", *words],
            cwd=self.folder,
            env=self.environment,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stderr is not None
            try:
                for line in process.stderr:
                    if until in line:
                        break
                yield
            finally:
                process.send_signal(signal.SIGTERM)
                process.stderr.read()
