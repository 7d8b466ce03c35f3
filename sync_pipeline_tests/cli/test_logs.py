from __future__ import annotations

import logging
import os
import pty
import subprocess
import sys

import pytest

from sync_pipeline.cli.logs import FORMAT, name_environment
from sync_pipeline.core.environment import NamedEnvironment

RETRY = """
from sync_pipeline.cli.logs import configure_logging
from sync_pipeline.core.errors import TransientError
from sync_pipeline.core.retrying import Retries

configure_logging()
errors = [TransientError("gone\\nfor now")]

def attempt():
    if errors:
        raise errors.pop()

Retries(sleep=lambda seconds: None, jitter_seconds=0).call(attempt)
print("result")
"""


@pytest.mark.process
def test_a_retry_is_one_line_on_standard_error() -> None:
    done = subprocess.run([sys.executable, "-c", RETRY], capture_output=True, text=True, check=True)

    assert done.stdout == "result\n"
    assert done.stderr == (
        "WARNING sync_pipeline.core.retrying: trying again in 2 s: gone for now\n"
    )


@pytest.mark.process
def test_everyday_records_of_libraries_are_not_shown() -> None:
    code = (
        "import logging\n"
        "from sync_pipeline.cli.logs import configure_logging\n"
        "configure_logging()\n"
        "logging.getLogger('httpx').warning('GET /')\n"
        "logging.getLogger('sync_pipeline.x').info('fine')\n"
        "logging.getLogger('sync_pipeline.x').warning('look')\n"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert (done.stdout, done.stderr) == ("", "WARNING sync_pipeline.x: look\n")


SEARCHING = """
from sync_pipeline.cli.invocation import Invocation, Surroundings
from sync_pipeline.cli.logs import configure_logging
from sync_pipeline.embedding.sentence_transformers import SentenceTransformersEmbedder

configure_logging()
surroundings = Surroundings(
    orchestrator=None,
    service=None,
    assistant=None,
    tokens=None,
    installation=lambda settings: None,
)
Invocation(surroundings=surroundings, wants_json={wants_json}).installation
for _ in range(2):
    SentenceTransformersEmbedder(device="cpu", runtime="torch").embed_queries(["plaster"])
"""


def said_on_a_terminal(program: str) -> str:
    master, terminal = pty.openpty()
    try:
        subprocess.run([sys.executable, "-c", program], stderr=terminal, check=True)
        os.write(terminal, b"end")
        return os.read(master, 10_000).decode().removesuffix("end")
    finally:
        os.close(terminal)
        os.close(master)


@pytest.mark.model
def test_somebody_who_waits_is_told_once_that_the_model_is_loaded() -> None:
    said = said_on_a_terminal(SEARCHING.format(wants_json=False))

    assert said == "Loading the model bundled ...\r\n"


@pytest.mark.model
def test_a_program_that_reads_json_is_not() -> None:
    assert said_on_a_terminal(SEARCHING.format(wants_json=True)) == ""


@pytest.mark.model
def test_nor_is_a_file() -> None:
    program = SEARCHING.format(wants_json=False)

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert (done.stdout, done.stderr) == ("", "")


def test_lines_of_the_log_name_the_environment(capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter(FORMAT))
    root.addHandler(handler)
    try:
        name_environment(NamedEnvironment(name="prod", is_protected=True))
        logging.getLogger("sync_pipeline.sample").warning("something happened")
    finally:
        root.removeHandler(handler)

    assert "WARNING [prod] sync_pipeline.sample: something happened" in capsys.readouterr().err
