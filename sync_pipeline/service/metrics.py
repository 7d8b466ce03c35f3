"""What ``/metrics`` tells: counted in this process, or read from records when it is asked.

To add a metric, add it to ``MEANINGS`` and count it in ``Metrics``, or read it in
``recorded_families``. docs/monitoring.md has the same table; a test compares them.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from typing import Final, Literal, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from sync_pipeline.core.environment import NamedEnvironment
from sync_pipeline.core.errors import TransientError
from sync_pipeline.core.ports import SyncRun
from sync_pipeline.engine.context import SyncContext
from sync_pipeline.operations.monitoring import Watched, watch
from sync_pipeline.operations.overview import ViewBadge
from sync_pipeline.service.timing import PARTS, PartSeconds, timed_search

FRESH_SECONDS: Final = 5.0
"""How long records are taken for fresh, whoever scrapes how often."""
COST_FACTOR: Final = 10
"""They are also not read again before this many times the seconds that reading them took."""
SEARCH_BUCKETS: Final = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
)  # fmt: skip
REQUEST_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
STEP_BUCKETS: Final = (0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3_600.0, 14_400.0)

Busy = Literal["model", "index", "caller"]
"""Too many searches wait for the model; a sync uses the embedded index; a caller asks too often."""

MEANINGS: Final[Mapping[str, str]] = {
    "sync_pipeline_ready": "1 once searches are answered: the model is in memory",
    "sync_pipeline_environment": "1, by the name of the environment and whether it is protected: "
    "true, false; missing where none is chosen",
    "sync_pipeline_records_up": "1 where our records could be read; without them what follows from "
    "them is missing",
    "sync_pipeline_documents": "documents (quarantined: rows) by scope, entity, view and status: "
    "synced, failed, quarantined; of more than 1,000 scopes only the worst 100",
    "sync_pipeline_scope_oldest_unsynced_seconds": "at most this long has a change of the scope "
    "been waiting, 0 where none is known to; missing where it was never synced",
    "sync_pipeline_scope_last_success_timestamp_seconds": "when the scope was last synced",
    "sync_pipeline_scope_in_sync_to_timestamp_seconds": "changes committed before are searchable",
    "sync_pipeline_scopes": "scopes of which anything is recorded",
    "sync_pipeline_scopes_listed": "scopes that are listed one by one",
    "sync_pipeline_scopes_never_synced": "scopes with an entity that was never synced",
    "sync_pipeline_scopes_cut_off": "scopes with a run that began to write and never finished",
    "sync_pipeline_scopes_vanished": "scopes without rows in the source, whose documents are left",
    "sync_pipeline_scopes_running": "scopes that are being synced now",
    "sync_pipeline_all_documents": "documents of all scopes by status: synced, failed, pending "
    "(they wait for vectors, and are found by their words)",
    "sync_pipeline_all_quarantined": "rows of all scopes that cannot become documents",
    "sync_pipeline_blocked_deletions": "scopes whose deletion waits for approval",
    "sync_pipeline_generation_documents": "documents of each generation of the index, by role: "
    "serving, filling, replaced, standby, unfinished",
    "sync_pipeline_oldest_unsynced_seconds": "the longest that a change of any scope waits",
    "sync_pipeline_last_success_timestamp_seconds": "when any scope was last synced",
    "sync_pipeline_runs": "runs that ended since the service started, by status and mode",
    "sync_pipeline_run_step_seconds": "what a step of these runs took",
    "sync_pipeline_embedded_texts": "texts that the model embedded in these runs",
    "sync_pipeline_embedded_tokens": "tokens of these texts, estimated for a service",
    "sync_pipeline_embedding_cost": "what they cost, in the currency of "
    "embedding.price_per_million_tokens; missing where that is not set",
    "sync_pipeline_month_tokens": "tokens of services and of priced models that runs took in "
    "this calendar month; what calls under way may take, and what may have been charged, included",
    "sync_pipeline_month_cost": "what these tokens cost",
    "sync_pipeline_budget_spent_fraction": "the spent share of each budget of this month, by kind "
    "(month, tenant) and key; of tenants the 100 that have spent the greatest share",
    "sync_pipeline_provider_asked": "1 for each provider of embeddings that is asked, 0 for one "
    "that is left alone for a while after it failed; of the chain in embedding.fallbacks",
    "sync_pipeline_landing_complete_timestamp_seconds": "when the last complete pass of a landing "
    "began: nothing of its table is in sync beyond it; missing where there was none",
    "sync_pipeline_landing_fresh": "1 while that is as recent as the settings ask for, else 0",
    "sync_pipeline_landing_rows": "rows of the table that a landing fills",
    "sync_pipeline_landing_rejected": "things that were wrong with records of a landing",
    "sync_pipeline_landing_failed": "1 where the last run of a landing failed, else 0",
    "sync_pipeline_cache_hits": "texts whose vector these runs took from the cache",
    "sync_pipeline_search_seconds": "what a search took, by part: waiting for the model or the "
    "index, embedding the query, the index, the rest",
    "sync_pipeline_requests": "answered requests by method, route and status",
    "sync_pipeline_request_seconds": "what they took, by route",
    "sync_pipeline_busy": "refusals because too many searches wait for the model, a sync uses the "
    "index, or a caller asks too often",
}
"""Per family, without the suffixes of counters and histograms, what it means."""
_log: Final = logging.getLogger(__name__)


class Metrics:
    """The metrics of one service; two services of one process share none."""

    def __init__(self, sync: SyncContext, *, environment: NamedEnvironment | None = None) -> None:
        self.registry = CollectorRegistry()
        self._ready = self._gauge("sync_pipeline_ready")
        named = self._gauge("sync_pipeline_environment", "environment", "protected")
        if environment is not None:
            named.labels(environment.name, str(environment.is_protected).lower()).set(1)
        self._search = Histogram(
            *_named("sync_pipeline_search_seconds"),
            labelnames=["part"],
            buckets=SEARCH_BUCKETS,
            registry=self.registry,
        )
        self._requests = self._counter("sync_pipeline_requests", "method", "route", "status")
        self._request_seconds = Histogram(
            *_named("sync_pipeline_request_seconds"),
            labelnames=["route"],
            buckets=REQUEST_BUCKETS,
            registry=self.registry,
        )
        self._busy = self._counter("sync_pipeline_busy", "reason")
        # From 0 on: the first of a kind is a rise too.
        for reason in get_args(Busy):
            self._busy.labels(reason)
        self._runs = _Runs(self.registry, price=_price(sync))
        self.registry.register(Records(lambda: watch(sync), on_runs=self._runs.count))
        ProcessCollector(registry=self.registry)

    def note_ready(self) -> None:
        """Note that searches are answered from now on."""
        self._ready.set(1)

    @contextmanager
    def search(self) -> Iterator[PartSeconds]:
        """Measure a search that is answered."""
        with timed_search() as spent:
            yield spent
        for part in PARTS:
            self._search.labels(part).observe(spent.seconds[part])

    def count_request(self, *, method: str, route: str, status: int, seconds: float) -> None:
        """Count an answer.

        Args:
            method: Of HTTP.
            route: Its template, such as ``/api/search``.
            status: Of HTTP; 0 where the caller went away before.
            seconds: What it took.
        """
        self._requests.labels(method, route, status).inc()
        self._request_seconds.labels(route).observe(seconds)

    def count_busy(self, reason: Busy) -> None:
        """Count a refusal."""
        self._busy.labels(reason).inc()

    def _gauge(self, name: str, *labels: str) -> Gauge:
        return Gauge(*_named(name), labelnames=labels, registry=self.registry)

    def _counter(self, name: str, *labels: str) -> Counter:
        return Counter(*_named(name), labelnames=labels, registry=self.registry)


class Records(Collector):
    """Reads records when it is asked, and not again while they are fresh."""

    def __init__(
        self,
        read: Callable[[], Watched],
        *,
        on_runs: Callable[[Sequence[SyncRun]], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read = read
        self._on_runs = on_runs
        self._clock = clock
        self._lock = threading.Lock()
        self._fresh_until = float("-inf")
        self._families: list[GaugeMetricFamily] = []

    def describe(self) -> Iterable[GaugeMetricFamily]:
        """Nothing: what there is shows when it is read."""
        return []

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """All families, from records that are some seconds old at most."""
        with self._lock:
            began = self._clock()
            if began >= self._fresh_until:
                self._families = self._renewed()
                taken = self._clock() - began
                self._fresh_until = self._clock() + max(FRESH_SECONDS, COST_FACTOR * taken)
            return self._families

    def _renewed(self) -> list[GaugeMetricFamily]:
        up = _family("sync_pipeline_records_up")
        try:
            watched = self._read()
        except TransientError as error:
            _log.warning("records cannot be read for monitoring: %s", type(error).__name__)
            up.add_metric([], 0)
            return [up]
        up.add_metric([], 1)
        if self._on_runs is not None:
            self._on_runs(watched.runs)
        return [up, *recorded_families(watched)]


def recorded_families(watched: Watched) -> list[GaugeMetricFamily]:
    """What is recorded, as metrics."""
    totals = watched.totals
    numbers = {
        "sync_pipeline_scopes": totals.scopes,
        "sync_pipeline_scopes_listed": len(watched.lines),
        "sync_pipeline_scopes_never_synced": totals.never_synced,
        "sync_pipeline_scopes_cut_off": totals.cut_off,
        "sync_pipeline_scopes_vanished": totals.vanished,
        "sync_pipeline_scopes_running": totals.running,
        "sync_pipeline_all_quarantined": totals.quarantined,
        "sync_pipeline_blocked_deletions": totals.blocked,
        "sync_pipeline_oldest_unsynced_seconds": watched.longest_wait_seconds,
        "sync_pipeline_last_success_timestamp_seconds": _timestamp(totals.last_success_at),
    }
    families = [_family(name) for name in numbers]
    for family, number in zip(families, numbers.values(), strict=True):
        if number is not None:
            family.add_metric([], number)
    every = _family("sync_pipeline_all_documents", "status")
    every.add_metric(["synced"], totals.synced)
    every.add_metric(["failed"], totals.failed)
    every.add_metric(["pending"], totals.pending)
    generations = _family("sync_pipeline_generation_documents", "collection", "role")
    for generation in watched.generations:
        generations.add_metric([generation.collection, generation.role], generation.documents)
    families += [every, generations, _providers(watched)]
    return [*families, *_by_scope(watched), *_spending(watched), *_landings(watched)]


def _landings(watched: Watched) -> list[GaugeMetricFamily]:
    families = {
        name: _family(f"sync_pipeline_landing_{name}", "landing")
        for name in ("complete_timestamp_seconds", "fresh", "rows", "rejected", "failed")
    }
    for age in watched.landings:
        numbers = {
            "complete_timestamp_seconds": _timestamp(age.complete_at),
            "fresh": int(age.is_fresh),
            "rows": age.rows,
            "rejected": age.rejected,
            "failed": int(age.error is not None),
        }
        for name, number in numbers.items():
            if number is not None:
                families[name].add_metric([age.name], number)
    return list(families.values())


def _providers(watched: Watched) -> GaugeMetricFamily:
    asked = _family("sync_pipeline_provider_asked", "provider")
    for breaker in watched.providers:
        asked.add_metric([breaker.provider], 1 if breaker.retry_at is None else 0)
    return asked


def _spending(watched: Watched) -> list[GaugeMetricFamily]:
    tokens, cost = _family("sync_pipeline_month_tokens"), _family("sync_pipeline_month_cost")
    tokens.add_metric([], watched.spent.tokens)
    cost.add_metric([], float(watched.spent.cost))
    fractions = _family("sync_pipeline_budget_spent_fraction", "kind", "key")
    for state in watched.budgets:
        fractions.add_metric([str(state.budget.kind), state.budget.key], state.fraction)
    return [tokens, cost, fractions]


def _by_scope(watched: Watched) -> list[GaugeMetricFamily]:
    documents = _family("sync_pipeline_documents", "scope", "entity", "view", "status")
    waits = _family("sync_pipeline_scope_oldest_unsynced_seconds", "scope")
    successes = _family("sync_pipeline_scope_last_success_timestamp_seconds", "scope")
    snapshots = _family("sync_pipeline_scope_in_sync_to_timestamp_seconds", "scope")
    for key, wait in watched.waits.items():
        if wait is not None:
            waits.add_metric([key], wait)
    for line in watched.lines:
        scope = line.scope
        for badge in line.badges:
            for status, number in _counts(badge):
                labels = [scope.scope_key, badge.entity_type, badge.view, status]
                documents.add_metric(labels, number)
        for family, value in (
            (successes, _timestamp(scope.last_success_at)),
            (snapshots, _timestamp(scope.in_sync_to)),
        ):
            if value is not None:
                family.add_metric([scope.scope_key], value)
    return [documents, waits, successes, snapshots]


def _counts(badge: ViewBadge) -> Iterator[tuple[str, int]]:
    yield "synced", badge.documents
    yield "failed", badge.failed
    yield "quarantined", badge.quarantined


class _Runs:
    """Counts each run once, of those that end while the service runs."""

    def __init__(self, registry: CollectorRegistry, *, price: float | None) -> None:
        """Count into a registry.

        Args:
            registry: Of the service.
            price: Of a million tokens; None where none is known.
        """
        self._price = price
        self._counted: set[tuple[str, str]] | None = None
        self._runs = Counter(
            *_named("sync_pipeline_runs"), labelnames=["status", "mode"], registry=registry
        )
        self._seconds = Histogram(
            *_named("sync_pipeline_run_step_seconds"),
            labelnames=["step"],
            buckets=STEP_BUCKETS,
            registry=registry,
        )
        self._texts = Counter(*_named("sync_pipeline_embedded_texts"), registry=registry)
        self._tokens = Counter(*_named("sync_pipeline_embedded_tokens"), registry=registry)
        if price is not None:
            self._cost = Counter(*_named("sync_pipeline_embedding_cost"), registry=registry)
        self._hits = Counter(*_named("sync_pipeline_cache_hits"), registry=registry)

    def count(self, runs: Sequence[SyncRun]) -> None:
        """Count those that were not there before.

        The first time nothing is counted: a counter that began with the past would make every
        restart of the service look like a burst.
        """
        keys = {(run.run_id, run.scope_key) for run in runs}
        if self._counted is not None:
            for run in runs:
                if (run.run_id, run.scope_key) not in self._counted:
                    self._add(run)
        self._counted = keys

    def _add(self, run: SyncRun) -> None:
        self._runs.labels(run.status, run.mode).inc()
        self._texts.inc(run.counts.embedded_texts)
        self._tokens.inc(run.counts.embedded_tokens)
        if self._price is not None:
            self._cost.inc(run.counts.embedded_tokens * self._price / 1_000_000)
        self._hits.inc(run.counts.cache_hits)
        for step, seconds in asdict(run.seconds).items():
            self._seconds.labels(step).observe(seconds)


def _price(sync: SyncContext) -> float | None:
    """Of the one model; of tokens of several nobody knows here which is whose."""
    price = sync.models.main.tariff.price_per_million_tokens
    return None if price is None or sync.models.own else float(price)


def _named(name: str) -> tuple[str, str]:
    return name, MEANINGS[name]


def _family(name: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(*_named(name), labels=labels)


def _timestamp(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()
