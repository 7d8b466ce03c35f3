"""A model change while somebody writes and applications search, with kills.

``python -m benchmarks.acceptance.model_change`` drives the program as an operator does, each
command a process of its own: a first sync, the service, other settings, syncs that are killed
while they fill the new generation and around its switch, a rollback, a switch that is killed too,
and the drop of the old generation. All the time somebody writes, and applications search. Exits 1
where anything was lost, resurrected, wrong or refused, and writes what it counted to
``results/acceptance``.
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

import psutil
import psycopg
from rich.console import Console
from rich.markup import escape

from benchmarks.acceptance.ending import tell
from benchmarks.acceptance.kills import (
    Ended,
    Kill,
    Running,
    Watch,
    folder_bytes,
    kill_after,
    kill_at_switch,
    wait_until,
    watching,
)
from benchmarks.acceptance.ledger import Difference, Ledger, compare, key_of, read_payload
from benchmarks.acceptance.reader import MAX_EXAMPLES, Reader, Seen, questions_about
from benchmarks.acceptance.writer import Writer
from benchmarks.catalogue import CatalogueSize, SourceRow, iter_catalogue
from benchmarks.child import BenchmarkError
from benchmarks.home import Home, Provider, Server, require
from benchmarks.machine import machine_facts, package_versions
from benchmarks.results import Figure, Limit, Outcome, Results
from benchmarks.service import quantile, running
from benchmarks.shard import iter_payloads
from benchmarks.source import load_source

TITLE: Final = "A model change under a reader and a writer, with kills"
FULL_DOCUMENTS: Final = 55_000
PROVIDERS: Final[dict[str, Provider]] = {"real": "sentence-transformers", "hashing": "hashing"}
CHANGES: Final[dict[str, dict[str, str]]] = {
    "real": {"SYNC_PIPELINE__EMBEDDING__DOCUMENT_PROMPT": "building catalogue: "},
    "hashing": {"SYNC_PIPELINE__EMBEDDING__DIMENSION": "256"},
}
"""What another model is: other vectors for every text, and so another fingerprint."""
SPARED_OF_TENANT: Final = 8
SPARED_GLOBAL: Final = 40
"""Rows that nobody touches, and that every search is for."""
TRIES: Final = 6
"""How often what a writer can keep from succeeding is tried: a sync beside a dead process's lease,
a switch of a generation that differs at that moment."""
IDLE_SECONDS: Final = 8.0
"""After which the service has closed an index that nobody searches."""
RELEASE_SECONDS: Final = 30.0
"""How long the service may keep files of a dropped generation open."""
LONG_SECONDS: Final = 60.0
"""From here on a fill is not let run to its end before it is killed."""
FIELDS: Final = ["type", "dbId", "scope_key", "text", "price"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How large, and how often killed."""

    documents: int
    model: str
    fill_kills: int
    switch_kills: int
    writes_per_second: float
    clients: int
    seed: int


@dataclass(slots=True, kw_only=True)
class Run:
    """One run and what it has counted so far."""

    plan: Plan
    old: Home
    new: Home
    """The same installation with the changed settings."""
    ledger: Ledger
    say: Callable[[str], None]
    random: random.Random
    kills: list[Kill] = field(default_factory=list)
    seconds: dict[str, list[float]] = field(default_factory=dict)
    differences: dict[str, Difference] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    refused_switches: int = 0
    syncs_again: int = 0
    """Syncs after which another one was needed: a scope was still held by a process that died."""
    old_name: str = ""
    new_name: str = ""
    bytes_before: int = 0
    bytes_after: int = 0
    bytes_of_old: int = 0
    cached_before: int = 0
    cached_after: int = 0
    held_files: int = 0

    def timed(self, what: str, ended: Ended) -> Ended:
        """Note how long a command took."""
        self.seconds.setdefault(what, []).append(ended.seconds)
        return ended

    def killed(self, kill: Kill | None) -> None:
        """Note a kill; None where there was nothing to kill any more."""
        if kill is None:
            self.say("  it had ended before it could be killed")
            return
        self.kills.append(kill)
        self.notes.append(kill.shown(new=self.new_name))
        self.say(f"  {self.notes[-1]}")

    def ask(self, home: Home, *words: str) -> Ended:
        """Run a command to its end."""
        return Running(home, *words).wait()

    def sync(self, home: Home, what: str) -> None:
        """Sync everything until it went well once; from then on it is known what must be there.

        Raises:
            BenchmarkError: it never does.
        """
        why: list[str] = []
        for _ in range(TRIES):
            began = time.monotonic()
            ended = self.timed(what, self.ask(home, "sync", "all"))
            if ended.code == 0:
                self.ledger.settle(began)
                return
            self.syncs_again += 1
            failed = [it for it in ended.answer.get("scopes", ()) if it["status"] != "success"]
            why = [f"{it['scope_key']}: {it['error']}" for it in failed] or [str(ended.answer)]
            self.say(f"  a sync has to be repeated: {why[0]}")
        raise BenchmarkError(f"no sync of {TRIES} went well: {why[0]}")

    def generations(self) -> dict[str, dict[str, object]]:
        """What ``index status`` says, by collection."""
        answer = self.ask(self.new, "index", "status").answer
        return {str(it["collection"]): it for it in answer["generations"]}

    def role(self, name: str) -> object:
        """Of a generation; None where there is none of that name."""
        return self.generations().get(name, {}).get("role")


def measure(plan: Plan, *, folder: Path, server: Server, say: Callable[[str], None]) -> Outcome:
    """The whole run."""
    size = CatalogueSize(rows=plan.documents)
    rows = list(iter_catalogue(size))
    url = server.create()
    say(f"loading {len(rows):,} rows")
    load_source(url, size)
    old = Home(folder=folder / "home", database_url=url, provider=PROVIDERS[plan.model])
    old.folder.mkdir(parents=True)
    run = Run(
        plan=plan,
        old=old,
        new=replace(old, settings=CHANGES[plan.model]),
        ledger=Ledger(rows),
        say=say,
        random=random.Random(plan.seed),  # noqa: S311 - test data
    )
    spared = choose_spared(rows, random_=run.random)
    tenants = sorted({row.tenant_id for row in rows if row.tenant_id is not None})

    say("a first sync")
    run.sync(old, "first sync")
    run.old_name = only(name for name, it in run.generations().items() if it["role"] == "serving")
    run.new_name = only(it for it in run.generations() if it != run.old_name)
    run.timed("verify", run.ask(old, "verify", "all"))

    failure: BenchmarkError | None = None
    with ExitStack() as stack:
        port = stack.enter_context(running(old))
        reader = Reader(
            port,
            questions_about(spared, tenants=tenants),
            ledger=run.ledger,
            clients=plan.clients,
        )
        writer = Writer(
            url,
            ledger=run.ledger,
            rows=rows,
            spared={key_of(row) for row in spared},
            per_second=plan.writes_per_second,
            seed=plan.seed,
        )
        watch = stack.enter_context(watching(old, new=run.new_name))
        stack.enter_context(reader)
        stack.enter_context(writer)
        try:
            change_model(run, watch)
            with quiet(run, writer, reader):
                settle_and_compare(run, "after the switch")
            go_back_and_forth(run, watch)
            with quiet(run, writer, reader):
                settle_and_compare(run, "at the end")
            drop_old(run)
            run.sync(run.new, "sync after the drop")
            with quiet(run, writer, reader):
                settle_and_compare(run, "after the drop")
        except BenchmarkError as error:
            failure = error
            say(f"failed: {error}")
    return Outcome(
        name="model_change",
        title=TITLE,
        figures=tuple(figures_of(run, reader.seen, writer)),
        notes=tuple(run.notes),
        has_failed=failure is not None,
    )


def choose_spared(rows: Sequence[SourceRow], *, random_: random.Random) -> list[SourceRow]:
    """Rows of every owner whose text nobody else has, the same ones for the same seed."""
    texts = Counter(row.text for row in rows)
    of_owner: dict[str | None, list[SourceRow]] = {}
    for row in rows:
        if texts[row.text] == 1:
            of_owner.setdefault(row.tenant_id, []).append(row)
    return [
        row
        for owner, found in of_owner.items()
        for row in random_.sample(
            found, min(len(found), SPARED_GLOBAL if owner is None else SPARED_OF_TENANT)
        )
    ]


def change_model(run: Run, watch: Watch) -> None:
    """Fill the new generation, killed again and again, until it serves."""
    run.say("the settings ask for another model; syncs are killed while they fill it")
    shortest, longest = kill_window(run)
    for _ in range(run.plan.fill_kills):
        sync = watch.start(run.new, "sync", "all")
        seconds = run.random.uniform(shortest, longest)
        run.killed(kill_after(sync, watch, seconds=seconds, phase="fill"))
    run.say("syncs are killed before the switch")
    deciding_seconds = max(run.seconds["verify"])
    scopes = CatalogueSize(rows=run.plan.documents).scopes

    for _ in range(run.plan.switch_kills):
        if watch.serves() == run.new_name:
            break
        sync = watch.start(run.new, "sync", "all")
        if wait_until(sync, partial(is_deciding, sync, watch, scopes=scopes)):
            seconds = run.random.uniform(0, deciding_seconds)
            run.killed(kill_after(sync, watch, seconds=seconds, phase="before the switch"))
        else:
            run.timed("sync that fills", sync.wait())
    run.say("a sync is killed as it moves the alias")
    until_live(run, watch, kill=True)
    run.sync(run.new, "sync after the switch")
    require(run.role(run.new_name) == "serving", "`index status` says that the new one serves")
    require(run.role(run.old_name) == "replaced", "`index status` says that the old one is kept")


def is_deciding(sync: Running, watch: Watch, *, scopes: int) -> bool:
    """Whether a sync is at the end of a scope and finds every scope filled."""
    moment = watch.look()
    is_at_the_end = moment.step == "stale_cleanup" and moment.event > sync.events_before
    return is_at_the_end and moment.filled == scopes


def kill_window(run: Run) -> tuple[float, float]:
    """From and to how many seconds after its start a filling sync is killed.

    Anywhere in a fill that takes a minute; of a longer one so early that the kills together last
    about as long as it does, for what was embedded is kept.
    """
    first = run.seconds["first sync"][-1]
    shortest = min(5.0, first / 4)
    return shortest, max(min(first, LONG_SECONDS), 2 * first / max(run.plan.fill_kills, 1))


def until_live(run: Run, watch: Watch, *, kill: bool) -> None:
    """Sync, and switch by hand where that was refused, until the new generation serves.

    Raises:
        BenchmarkError: it never does.
    """
    for _ in range(TRIES):
        if watch.serves() == run.new_name:
            return
        for words in (("sync", "all"), ("index", "switch")):
            command = watch.start(run.new, *words)
            if kill:
                killed = kill_at_switch(command, watch)
                if killed is not None:
                    run.killed(killed)
                    return
            ended = run.timed(" ".join(words), command.wait())
            if watch.serves() == run.new_name:
                return
            reason = ended.answer.get("reason")
            if reason is not None:
                run.refused_switches += 1
                run.notes.append(f"a switch was refused: {reason}")
                run.say(f"  {run.notes[-1]}")
    raise BenchmarkError(f"the new generation does not serve after {TRIES} tries")


def go_back_and_forth(run: Run, watch: Watch) -> None:
    """Roll back, search on, and let the new generation serve again, with kills."""
    run.say("rolling back")
    ended = run.timed("rollback", run.ask(run.new, "index", "rollback"))
    require(ended.code == 0, "the rollback goes well")
    require(watch.serves() == run.old_name, "the old generation serves after the rollback")
    run.sync(run.new, "sync after the rollback")
    require(watch.serves() == run.old_name, "a sync does not undo a rollback")
    run.say("switching again; switches are killed")
    for _ in range(run.plan.switch_kills):
        command = watch.start(run.new, "index", "switch")
        # A switch verifies everything too, and then asks the gate.
        seconds = run.random.uniform(0.5, min(run.seconds["verify"]))
        run.killed(kill_after(command, watch, seconds=seconds, phase="before the switch"))
        if watch.serves() == run.new_name:
            break
    if watch.serves() != run.new_name:
        until_live(run, watch, kill=True)
    # Whatever the kill left half done is mended by this.
    run.sync(run.new, "sync after the switch")
    require(run.role(run.new_name) == "serving", "the new generation serves again")


def drop_old(run: Run) -> None:
    """Remove the old generation, and measure the room that it gives back."""
    run.say("dropping the old generation")
    kept = run.old.index_folder / "collections" / run.old_name
    run.bytes_of_old = folder_bytes(kept)
    run.bytes_before = folder_bytes(run.old.index_folder)
    run.cached_before = count_cached(run.old.database_url)
    ended = run.timed("drop", run.ask(run.new, "index", "drop", run.old_name, "--yes"))
    require(ended.code == 0, "the drop goes well")
    require(not kept.exists(), "the folder of the old generation is gone")
    require(run.role(run.old_name) is None, "`index status` does not list it any more")
    run.bytes_after = folder_bytes(run.old.index_folder)
    run.cached_after = count_cached(run.old.database_url)
    until = time.monotonic() + RELEASE_SECONDS
    while (held := count_held(run.old_name)) and time.monotonic() < until:
        time.sleep(1)
    run.held_files = held


@contextmanager
def quiet(run: Run, writer: Writer, reader: Reader) -> Iterator[None]:
    """Nobody writes, and once everything is in step nobody searches."""
    with writer.paused():
        run.sync(run.new, "sync once nobody writes")
        verified = run.timed("verify", run.ask(run.new, "verify", "all"))
        require(verified.code == 0, f"everything verifies: {verified.answer}")
        with reader.paused():
            time.sleep(IDLE_SECONDS)
            yield


def settle_and_compare(run: Run, when: str) -> None:
    """Compare what each generation's files hold, document by document, with what was written."""
    expected = run.ledger.expected()
    for name in (run.old_name, run.new_name):
        folder = run.old.index_folder / "collections" / name
        if not folder.exists():
            continue
        with tempfile.TemporaryDirectory(dir=run.old.folder) as copy:
            # The service may still have the files open, and a folder is opened by one at a time.
            copied = shutil.copytree(folder, Path(copy) / name)
            payloads = (payload for _, payload in iter_payloads(copied, FIELDS))
            difference = compare(expected, map(read_payload, payloads))
        which = "new" if name == run.new_name else "old"
        run.differences[f"{when}, {which}"] = difference
        run.say(
            f"  {when}: {difference.documents:,} documents in the {which} generation, "
            f"{difference.total} differ {dict(difference.counts)}"
        )
        run.notes += [f"{when}, {which}: {example}" for example in difference.examples]


def count_cached(url: str) -> int:
    """Vectors in the cache."""
    with psycopg.connect(url) as connection:
        found = connection.execute("SELECT count(*) FROM sync_pipeline.embedding_cache").fetchone()
    assert found is not None
    return int(found[0])


def count_held(name: str) -> int:
    """Files of a removed collection that a process of this run still has open or mapped."""
    held: set[str] = set()
    for process in psutil.Process().children(recursive=True):
        try:
            maps = Path(f"/proc/{process.pid}/maps").read_text(encoding="utf-8").splitlines()
            links = [str(link.readlink()) for link in Path(f"/proc/{process.pid}/fd").iterdir()]
        except OSError:
            continue
        held |= {
            line.split(maxsplit=5)[-1] for line in maps if name in line and "(deleted)" in line
        }
        held |= {link for link in links if name in link and "(deleted)" in link}
    return len(held)


def figures_of(run: Run, seen: Seen, writer: Writer) -> Iterator[Figure]:
    """Everything that was counted."""
    run.notes += [f"a search: {example}" for example in seen.examples]
    run.notes += [f"the writer: {fault}" for fault in writer.faults[:MAX_EXAMPLES]]
    yield _count("documents", "documents", run.plan.documents, "documents")
    yield from _of_searches(seen)
    for kind, number in sorted(writer.done.items()):
        yield _count(f"written/{kind}", f"rows written: {kind}", number, "rows")
    yield _none("writer", "statements of the writer that failed", len(writer.faults))
    yield from _of_kills(run)
    yield from _of_contents(run)
    for what, seconds in run.seconds.items():
        yield Figure(key=f"seconds/{what}", label=what, unit="s", samples=tuple(seconds))
    yield from _of_disk(run)


def _of_searches(seen: Seen) -> Iterator[Figure]:
    yield Figure(
        key="searches",
        label="searches through the service",
        unit="",
        samples=(seen.searches,),
        limit=Limit(value=100, reason="all the time", is_minimum=True),
    )
    errors = sum(number for kind, number in seen.faults.items() if kind.startswith("error"))
    yield _none("errors", "searches that ended in an error", errors)
    for kind, label in (
        ("empty", "empty answers"),
        ("missed", "answers without a document that nobody touched"),
        ("foreign", "documents of other tenants in answers"),
        ("resurrected", "deleted documents in answers"),
        ("outdated", "documents in answers as they were before the last sync"),
    ):
        yield _none(kind, label, seen.faults[kind])
    yield _count("come_back", "searches told to come back (503)", seen.told_to_come_back)
    for percent in (50, 99):
        milliseconds = quantile(seen.seconds, percent) * 1000
        yield _count(f"p{percent}", f"{percent} of 100 searches within", milliseconds, "ms")


def _of_kills(run: Run) -> Iterator[Figure]:
    for phase, number in Counter(kill.phase for kill in run.kills).items():
        yield _count(f"kills/{phase}", f"kill -9, {phase}", number)
    for step, number in sorted(Counter(kill.step for kill in run.kills).items()):
        yield _count(f"hit/{step}", f"kill -9 that hit: {step}", number)
    between = sum(kill.moment.serves != kill.moment.recorded for kill in run.kills)
    yield _count("between", "kill -9 between the alias and its record", between)
    yield _count("again", "syncs repeated after a kill", run.syncs_again)
    yield _count("refused", "switches refused, and tried again", run.refused_switches)


def _of_contents(run: Run) -> Iterator[Figure]:
    for when, difference in run.differences.items():
        yield _count(f"compared/{when}", f"documents compared, {when}", difference.documents)
    for kind, label in (
        ("lost", "documents lost"),
        ("resurrected", "documents resurrected"),
        ("twice", "documents that are there twice"),
        ("wrong", "documents with a wrong value or owner"),
    ):
        differing = sum(difference.counts[kind] for difference in run.differences.values())
        yield _none(f"index/{kind}", label, differing)


def _of_disk(run: Run) -> Iterator[Figure]:
    for key, label, size in (
        ("before", "index before the drop", run.bytes_before),
        ("old", "of it the old generation", run.bytes_of_old),
        ("after", "index after the drop", run.bytes_after),
    ):
        yield _count(f"bytes/{key}", label, size / 2**20, "MiB")
    yield Figure(
        key="bytes/freed",
        label="freed by the drop, of the old generation's files",
        unit="%",
        samples=(100 * (run.bytes_before - run.bytes_after) / max(run.bytes_of_old, 1),),
        limit=Limit(value=99, reason="promised", is_minimum=True),
    )
    yield _none("held", "removed files that a process still has open", run.held_files)
    yield _count("cached", "vectors in the cache", run.cached_after)
    forgotten = run.cached_before - run.cached_after
    yield _none("forgotten", "cached vectors that the drop removed", forgotten)


def _none(key: str, label: str, value: float) -> Figure:
    """Something that may not happen."""
    limit = Limit(value=0, reason="promised")
    return Figure(key=key, label=label, unit="", samples=(value,), limit=limit)


def _count(key: str, label: str, value: float, unit: str = "") -> Figure:
    return Figure(key=key, label=label, unit=unit, samples=(value,))


def only(names: Iterator[str]) -> str:
    """The one name that there is.

    Raises:
        BenchmarkError: there is another number of them.
    """
    found = list(names)
    require(len(found) == 1, f"there is one such generation, not {len(found)}")
    return found[0]


def main(arguments: Sequence[str]) -> int:
    options = _parse(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    console = Console()
    began = time.monotonic()

    def say(text: str) -> None:
        console.print(f"[dim]{time.monotonic() - began:7.1f} s[/]  {escape(text)}", highlight=False)

    plan = Plan(
        documents=options.documents,
        model=options.model,
        fill_kills=options.fill_kills,
        switch_kills=options.switch_kills,
        writes_per_second=options.writes_per_second,
        clients=options.clients,
        seed=random.SystemRandom().randrange(10**6) if options.seed is None else options.seed,
    )
    say(f"seed {plan.seed}")
    results = Results(
        suite="model-change",
        date=datetime.now(UTC).date().isoformat(),
        scale=plan.documents / FULL_DOCUMENTS,
        machine=machine_facts(),
        versions=package_versions(),
    )
    folder = Path(tempfile.mkdtemp(prefix="spm-", dir=options.work))
    server = Server(folder)
    try:
        outcome = measure(plan, folder=folder, server=server, say=say)
    finally:
        Running.kill_all()
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
    about = f"model {plan.model}, seed {plan.seed}"
    outcome = replace(
        outcome,
        notes=(about, *outcome.notes),
        seconds=round(time.monotonic() - began, 1),
    )
    is_whole = plan.documents == FULL_DOCUMENTS and plan.model == "real"
    return tell(console, outcome, results=results, out=options.out, is_whole=is_whole)


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=TITLE)
    parser.add_argument("--documents", type=int, default=FULL_DOCUMENTS)
    parser.add_argument("--model", choices=list(PROVIDERS), default="real")
    parser.add_argument("--fill-kills", type=int, default=8)
    parser.add_argument("--switch-kills", type=int, default=3)
    parser.add_argument("--writes-per-second", type=float, default=5.0)
    parser.add_argument("--clients", type=int, default=2)
    parser.add_argument("--seed", type=int, help="of every choice; a new one by default")
    parser.add_argument("--out", type=Path, help="folder of the results file")
    parser.add_argument("--work", type=Path, help="folder for the database and the index")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
