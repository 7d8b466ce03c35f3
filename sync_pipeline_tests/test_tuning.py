"""The memory of a process that syncs."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import textwrap

import pytest

pytestmark = pytest.mark.process


def answer(program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_what_is_imported_for_good_is_never_looked_at_again_and_garbage_still_is() -> None:
    told = answer(
        """
        import gc, weakref
        from sync_pipeline.tuning import importing_for_good
        with importing_for_good():
            import decimal
        class Node: pass
        node = Node(); node.itself = node
        seen = weakref.ref(node); del node
        gc.collect()
        print(gc.isenabled(), gc.get_freeze_count() > 1000, seen() is None)
        """
    )

    assert told == "True True True"


def test_modules_are_hardly_looked_at_and_not_at_all_at_the_end() -> None:
    told = answer(
        """
        import atexit, gc
        from sync_pipeline.tuning import collect_seldom
        looked_at = []
        @atexit.register
        def at_the_end():
            print(len(looked_at) < 5, gc.get_freeze_count() > 10000)
        collect_seldom()
        gc.callbacks.append(lambda phase, info: looked_at.append(info["generation"]))
        import sync_pipeline.wiring
        """
    )

    assert told == "True True"


@pytest.mark.parametrize("how", ["service", "assistant"])
def test_what_answers_requests_collects_its_garbage_as_usual(how: str) -> None:
    told = answer(
        f"""
        import gc
        usual = gc.get_threshold()
        from sync_pipeline.__main__ import surroundings_here
        from sync_pipeline.tuning import collect_seldom
        collect_seldom()
        seldom = gc.get_threshold()
        surroundings_here().{how}()
        print(gc.get_threshold() == usual != seldom, gc.isenabled())
        """
    )

    assert told == "True True"


def test_garbage_is_still_collected_in_a_process_that_lives_long() -> None:
    told = answer(
        """
        import gc, weakref
        from sync_pipeline.tuning import collect_seldom
        collect_seldom()
        class Node: pass
        node = Node(); node.itself = node
        seen = weakref.ref(node); del node
        kept = [[] for _ in range(60_000)]
        print(seen() is None)
        """
    )

    assert told == "True"


def test_pyarrow_takes_its_memory_from_the_heap_of_everything_else() -> None:
    told = answer(
        """
        import sync_pipeline
        import pyarrow as pa
        print(pa.default_memory_pool().backend_name)
        """
    )

    assert told == "system"


def test_pyarrow_goes_without_pandas_until_somebody_asks_for_it() -> None:
    told = answer(
        """
        import sys
        import pyarrow as pa
        from sync_pipeline.tuning import leave_pandas_out
        leave_pandas_out()
        table = pa.table({"text": ["a", "b"]})
        before = "pandas" in sys.modules
        print(before, table.to_pandas()["text"].tolist())
        """
    )

    assert told == "False ['a', 'b']"


glibc_only = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="about glibc's heap")

SHOWN = """
import ctypes
from pathlib import Path
from sync_pipeline.tuning import return_free_memory, reusing_large_blocks, share_one_heap

libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.free.argtypes = [ctypes.c_void_p]

def own_mib():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) // 1024

def fill(size):
    block = libc.malloc(size)
    ctypes.memset(block, 1, size)
    return block
"""


@glibc_only
def test_a_large_block_is_given_back_though_a_small_one_lives_on_behind_it() -> None:
    told = answer(
        SHOWN
        + """
share_one_heap()
# Freed once, a block of this size would otherwise come from the heap ever after.
libc.free(fill(8 << 20))
before = own_mib()
pairs = [(fill(8 << 20), fill(64)) for _ in range(16)]
full = own_mib() - before
for large, _ in pairs:
    libc.free(large)
print(full > 100, own_mib() - before < 20)
"""
    )

    assert told == "True True"


@glibc_only
def test_tensors_find_the_blocks_of_the_last_ones_while_a_model_computes_and_only_then() -> None:
    told = answer(
        SHOWN
        + """
share_one_heap()
before = own_mib()
with reusing_large_blocks():
    libc.free(fill(8 << 20))
    kept = own_mib() - before
libc.free(fill(64 << 10))
libc.free(fill(8 << 20))
return_free_memory()
print(kept >= 8, own_mib() - before < 4)
"""
    )

    assert told == "True True"


@glibc_only
def test_free_pages_between_living_blocks_are_given_back_on_request() -> None:
    told = answer(
        SHOWN
        + """
share_one_heap()
before = own_mib()
blocks = [fill(2000) for _ in range(50_000)]
for place, block in enumerate(blocks):
    if place % 100:
        libc.free(block)
held = own_mib() - before
return_free_memory()
print(held > 80, own_mib() - before < 20)
"""
    )

    assert told == "True True"


def told_by_openmp(program: str, **variables: str) -> str:
    """What OpenMP says of its settings when torch loads it: OMP_DISPLAY_ENV makes it."""
    kept = {name: value for name, value in os.environ.items() if name not in HOW_TO_WAIT}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        env={**kept, "OMP_DISPLAY_ENV": "verbose", **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "OPENMP DISPLAY ENVIRONMENT BEGIN" in done.stderr
    return done.stderr


HOW_TO_WAIT = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "KMP_LIBRARY")
DOES_NOT_SPIN = "GOMP_SPINCOUNT = '0'"
"""The policy that it tells says nothing: PASSIVE is also what it calls none."""
LOADS_THE_MODEL = """
from sync_pipeline.embedding.sentence_transformers import SentenceTransformersEmbedder
SentenceTransformersEmbedder(device="cpu", runtime="torch").embed_queries(["plaster"])
"""

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="about GNU's OpenMP")


@linux_only
@pytest.mark.model
@pytest.mark.parametrize(
    "before",
    [
        pytest.param("", id="library"),
        pytest.param("import sync_pipeline.__main__", id="command line"),
        pytest.param("import dagster, sync_pipeline.definitions", id="code server"),
    ],
)
def test_the_threads_of_the_model_wait_without_taking_a_core(before: str) -> None:
    told = told_by_openmp(f"{before}\n{LOADS_THE_MODEL}")

    assert DOES_NOT_SPIN in told


@linux_only
def test_so_they_do_in_a_process_that_inherits_it_and_imports_torch_first() -> None:
    told = told_by_openmp(
        """
        import subprocess, sys
        import sync_pipeline
        subprocess.run([sys.executable, "-c", "import torch"], check=True)
        """
    )

    assert DOES_NOT_SPIN in told


@linux_only
@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        pytest.param("OMP_WAIT_POLICY", "ACTIVE", "OMP_WAIT_POLICY = 'ACTIVE'", id="policy"),
        pytest.param("GOMP_SPINCOUNT", "12345", "GOMP_SPINCOUNT = '12345'", id="spin count"),
    ],
)
def test_whoever_has_decided_how_they_wait_is_left_in_peace(
    name: str, value: str, expected: str
) -> None:
    told = told_by_openmp("import sync_pipeline, torch", **{name: value})

    assert expected in told
    assert DOES_NOT_SPIN not in told
