"""The HTTP service under load: how long searches take, and where the time goes.

``python -m benchmarks.service TEXTS`` with the settings of an installation in its environment asks
its engine and its model directly, and prints how long each takes: what the service is compared
with. ``python -m benchmarks.service --maintain`` builds its search graph, as the daily maintenance
does.
"""

from __future__ import annotations

import http.client
import itertools
import json
import re
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, Literal

from benchmarks.child import BenchmarkError
from benchmarks.home import Home, require
from benchmarks.results import Figure, Outcome
from benchmarks.workbench import Workbench, sample_texts
from sync_pipeline.core.scope import Scope
from sync_pipeline.engine.index import optimize_index
from sync_pipeline.engine.questions.search import SearchRequest, build_query
from sync_pipeline.settings import load_settings
from sync_pipeline.wiring import open_installation

TITLE = "Searches through the HTTP service"
CLIENTS: Final = (1, 8, 32)
SECONDS: Final = 12.0
"""Of each number of clients."""
START_SECONDS: Final = 120.0
QUANTILES: Final = (50, 95, 99)
PARTS: Final = ("waiting", "embedding", "index", "rest")
BARE_SEARCHES: Final = 40
HEALTH_PAUSE: Final = 0.05
WITHIN_SECONDS: Final = 2.0
NOTE: Final = (
    "Every search has a text of its own, so no vector is remembered. Clients run on the same "
    "machine and share its cores with the service."
)
TENANT: Final = "tenant-00001"
State = Literal["synced", "maintained"]
STATES: Final[Mapping[State, str]] = {
    "synced": "just synced",
    "maintained": "after the daily maintenance",
}
"""Of the index: without a search graph, and with one."""

_PART: Final = re.compile(r"(\w+);dur=([0-9.]+)")


_numbers: Final = itertools.count()
"""Of all searches of a run: none may be one whose vector is remembered."""


@dataclass(slots=True)
class Load:
    """What clients saw."""

    seconds: list[float] = field(default_factory=list)
    """Of answers with hits."""
    statuses: Counter[int] = field(default_factory=Counter)
    without_retry_after: int = 0
    """Answers 503 that do not say when to come back."""
    parts: dict[str, list[float]] = field(default_factory=lambda: {part: [] for part in PARTS})
    """Milliseconds, as the service says in ``Server-Timing``."""
    duration: float = 0.0


def measure(bench: Workbench) -> Outcome:
    texts = _queries(bench)
    home = bench.synced_home
    figures = loads(bench, home, texts, state="synced")
    bench.say("building the search graph")
    home.run_module("benchmarks.service", "--maintain")
    figures += loads(bench, home, texts, state="maintained")
    bare = json.loads(
        home.run_module("benchmarks.service", json.dumps(texts[:BARE_SEARCHES])).output
    )
    figures += [
        Figure(key=f"bare/{name}", label=label, unit="ms", samples=tuple(bare[name]))
        for name, label in (
            ("model", "the bare model, one search text"),
            ("engine", "the bare engine, one query"),
        )
    ]
    figures += beside_a_first_sync(bench, texts)
    return Outcome(
        name="service",
        title=TITLE,
        figures=tuple(figures),
        notes=(NOTE,),
    )


def loads(bench: Workbench, home: Home, texts: Sequence[str], *, state: State) -> list[Figure]:
    """Searches of one client, of several, and of more than there are cores.

    Args:
        bench: Says how long.
        home: Whose service is asked.
        texts: What to look for.
        state: Of its index.
    """
    figures: list[Figure] = []
    with running(home) as port:
        for clients in CLIENTS:
            bench.say(f"{clients} clients for {SECONDS:.0f} s, {STATES[state]}")
            health: list[float] = []
            with probing(port, health):
                load = run_load(port, texts, clients=clients, seconds=SECONDS)
            require(bool(load.seconds), f"{clients} clients got no answer: {load.statuses}")
            figures += load_figures(bench, load, clients=clients, state=state)
            if clients == max(CLIENTS):
                figures.append(
                    Figure(
                        key=f"{state}/health",
                        label=f"{STATES[state]}: /healthz beside {clients} clients, 99 of 100 "
                        "within",
                        unit="ms",
                        samples=(quantile(health, 99) * 1000,),
                        limit=bench.limit(100, "probes must not give a busy service up"),
                    )
                )
    return figures


def clients_shown(clients: int) -> str:
    """How many there are, for people."""
    return f"{clients} {'client' if clients == 1 else 'clients'}"


def load_figures(bench: Workbench, load: Load, *, clients: int, state: State) -> list[Figure]:
    """Quantiles, throughput and parts of one load."""
    who = f"{STATES[state]}, {clients_shown(clients)}"
    figures = [
        Figure(
            key=f"{state}/p{q}/{clients}",
            label=f"{who}: {q} of 100 searches within",
            unit="ms",
            samples=(quantile(load.seconds, q) * 1000,),
        )
        for q in QUANTILES
    ]
    figures.append(
        Figure(
            key=f"{state}/throughput/{clients}",
            label=f"{who}: searches",
            unit="/s",
            samples=(len(load.seconds) / load.duration,),
        )
    )
    limit = bench.limit(5, "what is ours may not be felt")
    figures += [
        Figure(
            key=f"{state}/{part}/{clients}",
            label=f"{who}: of it {part}, median",
            unit="ms",
            samples=(statistics.median(load.parts[part]),),
            limit=limit if part == "rest" else None,
        )
        for part in PARTS
        if load.parts[part]
    ]
    return figures


def beside_a_first_sync(bench: Workbench, texts: Sequence[str]) -> list[Figure]:
    """Searches while another process syncs the whole catalogue into the same embedded index."""
    home = bench.new_home(bench.catalogue, provider="sentence-transformers")
    home.run_module("benchmarks.stand_in_vectors")
    # Before that a search has nothing to answer from.
    home.run("--json", "sync", "tenant", TENANT)
    bench.say("searching while the rest of the catalogue is synced for the first time")
    with running(home) as port:
        syncing = subprocess.Popen(
            [home.program, "--json", "sync", "all"],
            env=home.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        load = run_load(port, texts, clients=2, until=lambda: syncing.poll() is not None)
        output, _ = syncing.communicate()
    require(json.loads(output)["ok"], "the sync beside the searches failed")
    answered = load.statuses[200]
    asked = load.statuses.total()
    other = (
        sum(count for status, count in load.statuses.items() if status >= 500 and status != 503)
        + load.without_retry_after
    )
    within = sum(seconds <= WITHIN_SECONDS for seconds in load.seconds)
    return [
        Figure(
            key="beside_sync/within",
            label=f"of searches beside a first sync answered within {WITHIN_SECONDS:.0f} s",
            unit="%",
            samples=(100 * within / max(answered, 1),),
            limit=bench.limit(99, "an application waits no longer", is_minimum=True),
        ),
        Figure(
            key="beside_sync/p99",
            label="searches beside a first sync, 99 of 100 within",
            unit="ms",
            samples=(quantile(load.seconds, 99) * 1000,),
        ),
        Figure(
            key="beside_sync/later",
            label="searches beside a first sync told to come back (503)",
            unit="%",
            samples=(100 * load.statuses[503] / max(asked, 1),),
        ),
        Figure(
            key="beside_sync/errors",
            label="other errors of the server",
            unit="",
            samples=(other,),
            limit=bench.limit(0, "503 with Retry-After is the only one"),
        ),
    ]


@contextmanager
def running(home: Home) -> Iterator[int]:
    """The service of an installation; its port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    environment = {
        **home.environment,
        "SYNC_PIPELINE__SERVICE__REQUESTS_PER_MINUTE": "1000000",
        "SYNC_PIPELINE__SERVICE__MAX_WAITING_QUERIES": "1000",
    }
    with subprocess.Popen(
        [home.program, "serve", "--port", str(port)],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as service:
        try:
            _wait_until_ready(port, service)
            yield port
        finally:
            service.send_signal(signal.SIGINT)


def run_load(
    port: int,
    texts: Sequence[str],
    *,
    clients: int,
    seconds: float = 3_600.0,
    until: Callable[[], bool] = lambda: False,
    pause_seconds: float = 0.0,
) -> Load:
    """Search from several clients at once, each as soon as it has its answer.

    Args:
        port: Of the service.
        texts: What to look for; each search gets a text of its own.
        clients: How many.
        seconds: For how long, at most.
        until: Asked whether to stop before.
        pause_seconds: How long each client waits after an answer, on average.
    """
    load, lock = Load(), threading.Lock()
    began = time.perf_counter()

    def work() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        while time.perf_counter() - began < seconds and not until():
            number = next(_numbers)
            text = f"{texts[number % len(texts)]} {number}"
            body = json.dumps({"query": text, "tenant_id": TENANT})
            asked = time.perf_counter()
            connection.request("POST", "/api/search", body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            answer.read()
            took = time.perf_counter() - asked
            with lock:
                _note(load, answer, took)
            if answer.status == 503:
                time.sleep(0.2)
            # Half to one and a half times the mean, the same in every run.
            time.sleep(pause_seconds * (0.5 + number * 0.618 % 1))

    threads = [threading.Thread(target=work) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    load.duration = time.perf_counter() - began
    return load


def _note(load: Load, answer: http.client.HTTPResponse, took: float) -> None:
    load.statuses[answer.status] += 1
    if answer.status == 200:
        load.seconds.append(took)
        for part, milliseconds in _PART.findall(answer.headers.get("Server-Timing", "")):
            load.parts[part].append(float(milliseconds))
    elif answer.status == 503 and "Retry-After" not in answer.headers:
        load.without_retry_after += 1


@contextmanager
def probing(port: int, seconds: list[float]) -> Iterator[None]:
    """Ask for the service's health again and again meanwhile."""
    is_over = threading.Event()

    def probe() -> None:
        while not is_over.wait(HEALTH_PAUSE):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            asked = time.perf_counter()
            connection.request("GET", "/healthz")
            connection.getresponse().read()
            seconds.append(time.perf_counter() - asked)
            connection.close()

    thread = threading.Thread(target=probe)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def quantile(values: Sequence[float], percent: int) -> float:
    """The value that so many of a hundred do not exceed; 0 of none."""
    if not values:
        return 0.0
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, len(ranked) * percent // 100)]


def _queries(bench: Workbench) -> list[str]:
    """Beginnings of texts of the catalogue, as people type them."""
    return [" ".join(text.split()[:4]) for text in sample_texts(bench.catalogue, 500)]


def _wait_until_ready(port: int, service: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and service.poll() is None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", "/readyz")
            if connection.getresponse().status == 200:
                return
        except OSError:
            pass
        finally:
            connection.close()
        time.sleep(0.2)
    raise BenchmarkError("the service did not become ready")


def ask_directly(texts: Sequence[str]) -> Mapping[str, list[float]]:
    """Milliseconds of the bare model per text, and of the bare engine per query."""
    sync = open_installation(load_settings()).sync
    sync.models.main.embed_queries(["warm up"])
    taken: dict[str, list[float]] = {"model": [], "engine": []}
    with sync.store() as store:
        for text in texts:
            began = time.perf_counter()
            (vector,) = sync.models.main.embed_queries([text]).vectors
            taken["model"].append((time.perf_counter() - began) * 1000)
            request = SearchRequest(text=text)
            query = build_query(
                sync, scope=Scope(TENANT), request=request, vectors={"text": vector}
            )
            began = time.perf_counter()
            store.query(sync.spec.collection, query)
            taken["engine"].append((time.perf_counter() - began) * 1000)
    return taken


def maintain() -> None:
    """Build the search graph."""
    sync = open_installation(load_settings()).sync
    while optimize_index(sync):
        pass


if __name__ == "__main__":
    if sys.argv[1] == "--maintain":
        maintain()
    else:
        print(json.dumps(ask_directly(json.loads(sys.argv[1]))))
