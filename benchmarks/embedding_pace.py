"""How much of what an embedding service allows is used by several processes together."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Final

from benchmarks.home import REPOSITORY, clean_environment
from benchmarks.results import Figure, Limit, Outcome
from benchmarks.workbench import Workbench
from sync_pipeline.database.engine import make_engine
from sync_pipeline.database.migrate import migrate
from sync_pipeline_tests.embedding.service import ServiceLimits, running_service

TITLE = "Pace at an embedding service"

PROCESSES: Final = 4
TOKENS_PER_MINUTE: Final = 2_400_000
LATENCY_SECONDS: Final = 0.25
WARM_UP_SECONDS: Final = 5.0
MEASURED_SECONDS: Final = 60.0
_LEAST: Final = Limit(value=95, reason="what is to be used of the limits", is_minimum=True)
_NOTE: Final = (
    f"{PROCESSES} processes of 4 threads, one PostgreSQL, a service on this machine that takes "
    f"{TOKENS_PER_MINUTE:,} tokens a minute, states it in its headers and refuses what is beyond; "
    f"it answers after {LATENCY_SECONDS} s. Nothing is set; measured for {MEASURED_SECONDS:.0f} s."
)


def measure(bench: Workbench) -> Outcome:
    url = bench.server.create()
    engine = make_engine(url)
    migrate(engine)
    seconds = WARM_UP_SECONDS + MEASURED_SECONDS
    with running_service() as service:
        service.latency_seconds = LATENCY_SECONDS
        service.limit(ServiceLimits(tokens_per_minute=TOKENS_PER_MINUTE))
        command = [
            sys.executable, "-m", "benchmarks.embedding_pace_child",
            url, service.url, str(seconds + 2),
        ]  # fmt: skip
        environment = {**clean_environment(), "PYTHONPATH": str(REPOSITORY)}
        programs = [subprocess.Popen(command, env=environment) for _ in range(PROCESSES)]
        while service.calls == 0:
            time.sleep(0.05)
        time.sleep(WARM_UP_SECONDS)
        before, began = service.tokens, time.monotonic()
        time.sleep(MEASURED_SECONDS)
        taken, passed = service.tokens - before, time.monotonic() - began
        for program in programs:
            program.wait(timeout=120)
    engine.dispose()
    share = taken / (TOKENS_PER_MINUTE * passed / 60) * 100
    return Outcome(
        name="embedding_pace",
        title=TITLE,
        figures=(
            Figure(
                key="share",
                label="tokens taken, of those allowed",
                unit="%",
                samples=(share,),
                limit=_LEAST,
            ),
            Figure(
                key="refused",
                label="requests refused",
                unit="requests",
                samples=(float(service.refused),),
            ),
            Figure(
                key="calls",
                label="requests answered",
                unit="requests",
                samples=(float(service.calls),),
            ),
        ),
        notes=(_NOTE,),
    )
