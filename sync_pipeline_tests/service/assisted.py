"""The command ``mcp`` over an installation of fakes, as a program for an assistant to start.

``python -m sync_pipeline_tests.service.assisted FOLDER WORD...``. It prints while it answers, as a
library may: that must not reach the assistant.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

from sync_pipeline.cli.invocation import Surroundings
from sync_pipeline.cli.main import app
from sync_pipeline.cli.signals import answer_signals
from sync_pipeline.hosting import assistant
from sync_pipeline.service import assistants
from sync_pipeline.service.tokens import create_token
from sync_pipeline.settings import Settings
from sync_pipeline_tests.cli.installed import CommandLine, FakeInstallation


def main(folder: str, *words: str) -> None:
    """Answer until standard input ends."""
    answer_signals()
    run = CommandLine(Path(folder))
    assert run("sync", "all").exit_code == 0
    installation = FakeInstallation(run.sync)
    installation.settings = Settings()  # type: ignore[attr-defined]
    answer = assistants.call

    def noisily(*arguments: Any, **named: Any) -> Any:
        print("a library prints")  # noqa: T201
        os.write(1, b"so does one that is written in C\n")
        return answer(*arguments, **named)

    surroundings = Surroundings(
        orchestrator=lambda: run.orchestrator,
        service=lambda: run.serve,
        assistant=lambda: assistant.run_assistant,
        tokens=lambda: create_token,
        settings=lambda _: Settings(),
    )
    with (
        patch.object(assistant, "open_to_answer", return_value=installation),
        patch.object(assistants, "call", noisily),
    ):
        app(["mcp", *words], obj=surroundings)


if __name__ == "__main__":
    main(*sys.argv[1:])
