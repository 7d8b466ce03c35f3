from __future__ import annotations

import subprocess
import sys

RETRY = """
import stamina
from sync_pipeline.cli.logs import configure_logging, log_retries

configure_logging()
log_retries()
for attempt in stamina.retry_context(on=OSError, attempts=2, wait_initial=0.01, wait_max=0.01):
    with attempt:
        if attempt.num == 1:
            raise OSError("gone\\nfor now")
print("result")
"""


def test_a_retry_is_one_line_on_standard_error() -> None:
    done = subprocess.run([sys.executable, "-c", RETRY], capture_output=True, text=True, check=True)

    assert done.stdout == "result\n"
    assert done.stderr == ("WARNING sync_pipeline.cli.logs: trying again in 0 s: gone for now\n")


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
