"""Talking to processes that die: see ``crash_driver``."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from sync_pipeline_tests.reliability.catalogue import SCOPES

LAST_ANSWER_SECONDS = 60


class Driver:
    """Talks to ``crash_driver``; see there."""

    def __init__(self, home: Path, *, database: str) -> None:
        self.home = home
        self.log = home / "embedded.log"
        settings = {
            "DATABASE_URL": database,
            "SYNC_PIPELINE_HOME": str(home),
            "SYNC_PIPELINE__EMBEDDING__PROVIDER": "hashing",
            "SYNC_PIPELINE__EMBEDDING__DIMENSION": "16",
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "sync_pipeline_tests.reliability.crash_driver"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | settings,
            start_new_session=True,
        )

    def close(self) -> None:
        """End it; where a test has failed, with what it left asleep."""
        try:
            self._process.communicate(timeout=LAST_ANSWER_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.communicate()

    def ask(self, **request: Any) -> dict[str, Any]:
        """Send a request and wait for what became of it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"scopes": SCOPES} | request) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def kill(self, *, place: str, when: str, number: int) -> None:
        """Sync every scope, and be killed on the way."""
        kill = {"place": place, "when": when, "number": number}
        killed = self.ask(kill=kill)
        assert killed["signal"] == signal.SIGKILL, f"never came to {kill}: {killed}"

    def sync(self) -> dict[str, Any]:
        """Sync every scope, undisturbed; the reports, and what is in the index then."""
        result = self.ask()
        assert "reports" in result["answer"], result
        answer: dict[str, Any] = result["answer"]
        return answer

    def embedded_twice(self) -> set[str]:
        """Texts that were embedded although their vector had been kept."""
        kept: set[str] = set()
        again: set[str] = set()
        for line in self.log.read_text().splitlines():
            word, _, key = line.partition(" ")
            if word == "put":
                kept.add(key)
            elif key in kept:
                again.add(key)
        return again
