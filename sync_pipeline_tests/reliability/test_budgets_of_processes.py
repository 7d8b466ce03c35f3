"""Four processes that spend one budget at once, while the service fails and some are killed.

With a real PostgreSQL and a service that is asked over HTTP and keeps its own account.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from sync_pipeline.core.spending import Amount, BudgetPolicy, LedgerRow, Limit
from sync_pipeline.database.embedding_ledger import PostgresLedger
from sync_pipeline.database.engine import make_engine
from sync_pipeline_tests.embedding.service import DIMENSION, Answer, running_service

pytestmark = pytest.mark.process

BUDGET = 2_000
PRICE = Decimal("0.13")
POLICY = BudgetPolicy(month=Limit(tokens=BUDGET))

SPENDER = f"""
import sys
from datetime import UTC, datetime
from decimal import Decimal
from sync_pipeline.core.errors import BudgetExceededError
from sync_pipeline.core.retrying import Retries
from sync_pipeline.core.scope import Scope
from sync_pipeline.core.spending import BudgetPolicy, Limit, Tariff
from sync_pipeline.database.embedding_ledger import PostgresLedger
from sync_pipeline.database.engine import make_engine
from sync_pipeline.embedding.openai import OpenAIEmbedder
from sync_pipeline.engine.embedders import PricedEmbedder
from sync_pipeline.engine.metering import Meter

database, service, name = sys.argv[1:]
client = OpenAIEmbedder(
    model="stub",
    base_url=service,
    dimension={DIMENSION},
    timeout_seconds=0.5,
    retries=Retries(attempts=12, first_wait_seconds=0.01, jitter_seconds=0),
)
meter = Meter(
    ledger=PostgresLedger(make_engine(database)),
    policy=BudgetPolicy(month=Limit(tokens={BUDGET})),
    now=lambda: datetime.now(UTC),
    scope=Scope(name),
    run_id=f"run of {{name}}",
    longest_wait_seconds=2,
)
price = Tariff(Decimal("{PRICE}"), is_service=True)
model = meter.on(PricedEmbedder(client, tariff=price))
print("ready", flush=True)
for number in range(1_000):
    try:
        model.embed([f"text {{number}} of {{name}}, some words long", "short"])
    except BudgetExceededError as error:
        print(error.tokens_left, flush=True)
        break
"""


def spender(database: str, service: str, name: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", SPENDER, database, service, name],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )


def rows_of(database_url: str) -> tuple[list[LedgerRow], Amount]:
    engine = make_engine(database_url)
    ledger = PostgresLedger(engine)
    today = datetime.now(UTC).date()
    rows = ledger.rows(first=today.replace(day=1), last=today)
    (spent, *_) = ledger.spent(POLICY.budgets(scope=None, run_id="", day=today))
    engine.dispose()
    return rows, spent


def total(rows: list[LedgerRow], name: str) -> Any:
    return sum(getattr(row.taken, name) for row in rows)


@pytest.mark.slow
def test_a_budget_holds_to_the_token_and_every_call_is_counted(
    engine: object, database_url: str
) -> None:
    del engine
    faults = [Answer(status=429, headers={"Retry-After": "0.01"}), Answer(status=500)]
    with running_service() as service:
        service.script = [it for fault in faults * 20 for it in (fault, Answer())]
        processes = [spender(database_url, service.url, name) for name in "abcd"]
        left = [int(process.communicate(timeout=120)[0].split()[1]) for process in processes]

    rows, spent = rows_of(database_url)
    assert [process.returncode for process in processes] == [0] * 4
    assert total(rows, "tokens") == service.tokens == spent.tokens <= BUDGET
    assert total(rows, "calls") == service.calls
    assert total(rows, "unconfirmed_calls") == 0
    assert total(rows, "cost") == service.tokens * PRICE / 1_000_000
    assert {row.entry.scope_key for row in rows} == {*"abcd"}
    # Not even the bound of one more call was left: two texts, some bytes each.
    assert all(0 <= number < 80 for number in left)
    assert BUDGET - spent.tokens < 80


@pytest.mark.slow
def test_what_is_lost_on_the_way_is_counted_as_possibly_charged(
    engine: object, database_url: str
) -> None:
    del engine
    with running_service() as service:
        service.script = [it for _ in range(10) for it in (Answer(breaks=True), Answer())]
        processes = [spender(database_url, service.url, name) for name in "abcd"]
        for process in processes:
            process.communicate(timeout=120)

    rows, spent = rows_of(database_url)
    charged = total(rows, "tokens") + total(rows, "unconfirmed_tokens")
    assert total(rows, "calls") + total(rows, "unconfirmed_calls") == service.calls
    assert total(rows, "unconfirmed_calls") == 10
    assert service.tokens <= charged == spent.tokens
    assert service.tokens <= BUDGET


@pytest.mark.slow
def test_processes_that_are_killed_leave_what_they_reserved_counted(
    engine: object, database_url: str
) -> None:
    del engine
    with running_service() as service:
        service.latency_seconds = 0.2
        killed = [spender(database_url, service.url, name) for name in "abc"]
        for process in killed:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        time.sleep(0.5)
        for process in killed:
            process.send_signal(signal.SIGKILL)
            process.wait()
            process.stdout.close()  # type: ignore[union-attr]  # a pipe
        last = spender(database_url, service.url, "d")
        said = last.communicate(timeout=120)[0]

    rows, spent = rows_of(database_url)
    assert json.loads(said.split()[1]) < 80
    assert service.tokens <= spent.tokens <= BUDGET
    assert total(rows, "tokens") <= service.tokens
