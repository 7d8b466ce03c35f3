"""The memory of a process that syncs."""

from __future__ import annotations

import subprocess
import sys
import textwrap


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


def test_pyarrow_takes_its_memory_from_the_heap_of_everything_else() -> None:
    told = answer(
        """
        import pyarrow as pa
        from sync_pipeline.tuning import share_one_heap
        share_one_heap()
        print(pa.default_memory_pool().backend_name)
        """
    )

    assert told == "system"
