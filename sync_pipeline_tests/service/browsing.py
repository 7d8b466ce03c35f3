"""The service under a real server, with somebody who runs the syncs that are asked for."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Protocol, cast

import uvicorn
from fastapi import FastAPI

from sync_pipeline.core.errors import MassDeletionRefusedError, SyncPipelineError
from sync_pipeline.core.ports import SyncRequest, SyncRun
from sync_pipeline.core.reports import Counts, ScopeReport, SyncMode
from sync_pipeline.core.scope import Scope
from sync_pipeline.engine.context import SyncContext
from sync_pipeline.engine.steps.sync import sync_scope
from sync_pipeline_tests.service.served import Served

CHROMIUM: Final = Path("/usr/bin/chromium")
INSTALL: Final = "apt-get install chromium"


class Syncing(Protocol):
    """Has the ports of an installation."""

    @property
    def sync(self) -> SyncContext:
        """As they are now."""


class Worker:
    """Carries out requests to sync by calling the engine, as Dagster's sensor has runs do it."""

    def __init__(self, run: Syncing) -> None:
        self._run = run
        self._numbers = 0

    def work(self) -> None:
        """Carry out what is asked for now."""
        for request in self._run.sync.requests.list_open(limit=10):
            errors = [self.sync(key, request=request).error for key in request.scope_keys]
            failures = [error for error in errors if error]
            self._run.sync.requests.record_end(
                request.request_id,
                status="failed" if failures else "done",
                error="; ".join(failures) or None,
            )

    def sync(self, scope_key: str, *, request: SyncRequest | None = None) -> SyncRun:
        """One run of one scope, recorded whatever becomes of it."""
        self._numbers += 1
        run_id, began = f"run-{self._numbers}", datetime.now(tz=UTC)
        report = ScopeReport(scope_key=scope_key, status="failed", run_id=run_id)
        error, facts = None, dict[str, str | int | float]()
        mode = cast(SyncMode, request.mode) if request else "full"
        limits = self._run.sync.options
        if request is not None and request.approve_deletions is not None:
            policy = replace(limits.cleanup, approved_deletions=request.approve_deletions)
            limits = replace(limits, cleanup=policy)
        try:
            report = sync_scope(
                replace(self._run.sync, options=limits),
                scope=Scope.from_key(scope_key),
                run_id=run_id,
                mode=mode,
            )
        except MassDeletionRefusedError as refused:
            error = str(refused)
            facts = {
                "error": type(refused).__name__,
                "total": refused.total,
                "total_indexed": refused.total_indexed,
            }
        except SyncPipelineError as failed:
            error, facts = str(failed), {"error": type(failed).__name__}
        run = SyncRun(
            run_id=run_id,
            scope_key=scope_key,
            mode=mode,
            status="failed" if error else report.status,
            started_at=began,
            finished_at=datetime.now(tz=UTC),
            counts=Counts(**report.numbers()),
            seconds=report.seconds,
            error=error,
            facts=facts,
        )
        self._run.sync.runs.record(run)
        if request is not None:
            self._run.sync.requests.record_runs(
                request.request_id, run_ids={scope_key: run_id}, status="started"
            )
        return run


@contextmanager
def working(run: Syncing) -> Iterator[Worker]:
    """A worker that looks for requests all the time, in a thread of its own."""
    worker, ended = Worker(run), threading.Event()

    def look() -> None:
        while not ended.wait(0.05):
            worker.work()

    thread = threading.Thread(target=look, name="worker", daemon=True)
    thread.start()
    yield worker
    ended.set()
    thread.join()


@contextmanager
def open_to_browsers(folder: Path, **settings: Any) -> Iterator[tuple[Served, str]]:
    """A service and its address, for the length of the ``with``."""
    served = Served(folder, **settings)
    with listening(served.app) as address:
        yield served, address


@contextmanager
def listening(app: FastAPI) -> Iterator[str]:
    """A server on a free port, for the length of the ``with``: its address."""
    server = uvicorn.Server(
        uvicorn.Config(app, host="127.0.0.1", port=0, log_config=None, access_log=False)
    )
    thread = threading.Thread(target=server.run, name="server", daemon=True)
    thread.start()
    until = time.monotonic() + 10
    while not server.started:
        assert time.monotonic() < until
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()
