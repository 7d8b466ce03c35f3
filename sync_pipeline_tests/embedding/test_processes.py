"""Several processes: who gets which text, what happens when one is lost, who ends when."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync_pipeline.core.errors import ModelUnavailableError, TransientError
from sync_pipeline.embedding.processes import ProcessPoolEmbedder, spread
from sync_pipeline.embedding.sentence_transformers import SentenceTransformersEmbedder
from sync_pipeline.settings import load_settings
from sync_pipeline.wiring import _embedder
from sync_pipeline_tests.embedding import obedient
from sync_pipeline_tests.embedding.obedient import ObedientEmbedder

TEXTS = [f"Gypsum plaster {place} " + "kg " * (place % 7) for place in range(64)]

PROGRAM = """
import os, signal, sys, psutil
from sync_pipeline.embedding.processes import ProcessPoolEmbedder
from sync_pipeline_tests.embedding.obedient import ObedientEmbedder
if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    embedder = ProcessPoolEmbedder(ObedientEmbedder, processes=2)
    texts = ["a text"] * 40
    embedder.embed(texts)
    print(*[child.pid for child in psutil.Process().children()], flush=True)
    for line in sys.stdin:
        print(len(embedder.embed([*texts, line.strip()])), flush=True)
"""


@pytest.fixture
def embedder() -> Iterator[ProcessPoolEmbedder]:
    made = ProcessPoolEmbedder(ObedientEmbedder, processes=2)
    yield made
    made.close()


@pytest.fixture
def program() -> Iterator[subprocess.Popen[str]]:
    """A program that has embedded once, and embeds 40 texts and a line for each line it gets."""
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as started:
        yield started
        started.kill()


def workers() -> set[int]:
    """Ids of the processes that embed for this one."""
    return {
        child.pid
        for child in psutil.Process().children()
        if any("spawn_main" in word for word in child.cmdline())
    }


def read_line(program: subprocess.Popen[str]) -> str:
    assert program.stdout is not None
    return program.stdout.readline().strip()


def tell(program: subprocess.Popen[str], line: str) -> None:
    assert program.stdin is not None
    program.stdin.write(f"{line}\n")
    program.stdin.flush()


def left_of(processes: Sequence[psutil.Process]) -> list[psutil.Process]:
    """Which of them have not ended after a while.

    Looks only, and waits for none: a child whose end somebody else was told of counts as
    alive to the pool, which then waited for it for ever.
    """
    alive, until = list(processes), time.monotonic() + 30
    while alive and time.monotonic() < until:
        time.sleep(0.02)
        alive = [process for process in alive if not has_ended(process)]
    return alive


def has_ended(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@given(texts=st.lists(st.text(max_size=50), max_size=200), most=st.integers(1, 9))
def test_every_text_is_in_one_part_and_parts_are_alike(texts: list[str], most: int) -> None:
    parts = spread(texts, most=most)

    sizes = [len(part) for part in parts]
    assert sorted(place for part in parts for place in part) == list(range(len(texts)))
    assert len(parts) <= most
    assert not sizes or max(sizes) - min(sizes) <= 1
    for beside, part in itertools.pairwise(parts):
        pairs = zip(beside, part, strict=False)
        assert all(len(texts[left]) >= len(texts[right]) for left, right in pairs)


def test_few_texts_do_not_start_a_further_process(embedder: ProcessPoolEmbedder) -> None:
    embedder.embed(TEXTS[:16])
    alone = len(workers())

    embedder.embed([obedient.TAKE_LONG, obedient.TAKE_LONG, *(["a"] * 15)])

    assert (alone, len(workers())) == (1, 2)


def test_order_is_kept_whoever_embeds(embedder: ProcessPoolEmbedder) -> None:
    vectors = embedder.embed(TEXTS)

    assert np.array_equal(vectors, ObedientEmbedder().embed(TEXTS))


def test_no_process_is_started_before_a_text_must_be_embedded(
    embedder: ProcessPoolEmbedder,
) -> None:
    assert embedder.model_id == ObedientEmbedder().model_id
    assert embedder.dimension == 64
    assert embedder.max_batch == 256
    assert embedder.embed([]).shape == (0, 64)
    assert embedder.embed_query("plaster").shape == (64,)
    assert embedder.count_tokens(["two words"]) == 2
    assert embedder.count_truncated([]) == 0
    assert workers() == set()


@pytest.mark.parametrize(
    ("cores", "threads"),
    [pytest.param(9, 4, id="shared"), pytest.param(1, 1, id="fewer than processes")],
)
def test_processes_share_the_cores(cores: int, threads: int) -> None:
    embedder = ProcessPoolEmbedder(ObedientEmbedder, processes=2, cores=cores)

    assert embedder.count_truncated(["a text"]) == threads

    embedder.close()


def test_a_process_that_is_killed_at_work_is_a_passing_error(
    embedder: ProcessPoolEmbedder,
) -> None:
    with pytest.raises(TransientError, match=r"2 embedding .* Set `embedding.processes` lower"):
        embedder.embed([*TEXTS, obedient.DIE])

    assert workers() == set()
    assert embedder.embed(TEXTS).shape == (len(TEXTS), 64)


def test_a_process_that_was_killed_at_rest_is_noticed_and_replaced(
    embedder: ProcessPoolEmbedder,
) -> None:
    embedder.embed(TEXTS)
    killed = psutil.Process(min(workers()))
    killed.kill()
    left_of([killed])

    with pytest.raises(TransientError, match="was killed"):
        embedder.embed(TEXTS)

    assert embedder.embed(TEXTS).shape == (len(TEXTS), 64)
    assert killed.pid not in workers()


def test_a_process_that_is_killed_while_long_texts_are_on_their_way_blocks_nobody(
    embedder: ProcessPoolEmbedder,
) -> None:
    with pytest.raises(TransientError, match="was killed"):
        embedder.embed([obedient.DIE, *(text * 10_000 for text in TEXTS), obedient.DIE])

    assert embedder.embed(TEXTS).shape == (len(TEXTS), 64)


def test_a_process_ends_when_its_parent_says_so(embedder: ProcessPoolEmbedder) -> None:
    embedder.embed(TEXTS)
    told = psutil.Process(min(workers()))

    told.terminate()

    assert left_of([told]) == []


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        pytest.param(obedient.LACK_MEMORY, MemoryError, "out of memory", id="memory"),
        pytest.param(obedient.LACK_MODEL, ModelUnavailableError, "are damaged", id="model"),
        pytest.param(obedient.MISCOUNT, ValueError, "two and two", id="anything else"),
    ],
)
def test_errors_arrive_as_they_were_and_cost_no_process(
    *, text: str, kind: type[Exception], message: str, embedder: ProcessPoolEmbedder
) -> None:
    embedder.embed(TEXTS)
    before = workers()

    with pytest.raises(kind, match=message) as caught:
        embedder.embed([*TEXTS, text])

    assert getattr(caught.value, "model", "a-model") == "a-model"
    assert embedder.embed(TEXTS).shape == (len(TEXTS), 64)
    assert workers() == before


def test_signals_to_the_whole_group_do_not_break_the_batch_in_flight(
    program: subprocess.Popen[str],
) -> None:
    read_line(program)
    tell(program, obedient.TAKE_LONG)

    for number in (signal.SIGINT, signal.SIGTERM):
        os.killpg(program.pid, number)

    assert read_line(program) == "41"


@pytest.mark.parametrize("last_line", ["", obedient.TAKE_LONG], ids=["at rest", "at work"])
def test_a_parent_that_is_killed_leaves_no_process(
    last_line: str, program: subprocess.Popen[str]
) -> None:
    children = [psutil.Process(int(pid)) for pid in read_line(program).split()]
    if last_line:
        tell(program, last_line)

    program.kill()

    assert len(children) == 3  # two workers, and what multiprocessing cleans up with
    assert left_of(children) == []


def test_a_parent_that_ends_takes_the_processes_along(program: subprocess.Popen[str]) -> None:
    children = [psutil.Process(int(pid)) for pid in read_line(program).split()]

    program.communicate()

    assert program.returncode == 0
    assert left_of(children) == []


@pytest.mark.model
def test_vectors_are_those_of_one_process() -> None:
    make = partial(SentenceTransformersEmbedder, device="cpu", dtype="float32")
    embedder = ProcessPoolEmbedder(make, processes=2)

    vectors = embedder.embed(TEXTS)

    assert len(workers()) == 2
    assert np.abs(vectors - make().embed(TEXTS)).max() < 1e-5
    assert embedder.model_id == make().model_id
    embedder.close()


def test_the_setting_decides_how_many_processes_embed() -> None:
    several = {"SYNC_PIPELINE__EMBEDDING__DEVICE": "cpu"}

    one, three = (
        _embedder(load_settings(env={**several, "SYNC_PIPELINE__EMBEDDING__PROCESSES": number}))
        for number in ("1", "3")
    )

    assert isinstance(one, SentenceTransformersEmbedder)
    assert isinstance(three, ProcessPoolEmbedder)
    assert (three.max_batch, three.model_id) == (3 * one.max_batch, one.model_id)
