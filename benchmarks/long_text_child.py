"""One way to keep documents of several passages, in a process of its own.

``python -m benchmarks.long_text_child WAY FOLDER ARRAYS`` writes the passages in ARRAYS (of numpy:
``passages``, ``owners``, ``queries``) to a shard of the embedded engine in one of the ``WAYS``,
searches before and after the search index is built, and prints what that took. With ``stale`` as
the way it writes, shortens and deletes multivectors at random, is killed now and then, and prints
how many points showed anything but what was written last.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import qdrant_edge as edge

from sync_pipeline.core.batching import batched

Matrix = np.ndarray[Any, np.dtype[np.float32]]

LIMIT: Final = 10
VIEW: Final = "text"
SCOPE: Final = "scope_key"
DOCUMENT: Final = "document"
FILTER: Final = edge.Filter(
    must=[edge.FieldCondition(key=SCOPE, match=edge.MatchAny(any=["global"]))]
)
STALE_ROUNDS: Final = 40
STALE_POINTS: Final = 30
STALE_STEPS: Final = 60


def main() -> None:
    way, folder, *words = sys.argv[1:]
    if way == "stale":
        print(json.dumps(_stale(Path(folder))))
    elif way == "stale-round":
        _stale_round(Path(folder), seed=int(words[0]))
    else:
        print(json.dumps(_measure(way, Path(folder), np.load(words[0]))))


def _measure(way: str, folder: Path, arrays: Any) -> dict[str, Any]:
    points, ask, is_multivector = _WAYS[way]
    folder.mkdir()
    began = time.perf_counter()
    shard = edge.EdgeShard.create(
        str(folder), _config(arrays["passages"].shape[1], is_multivector=is_multivector)
    )
    shard.update(
        edge.UpdateOperation.create_field_index(SCOPE, edge.KeywordIndexParams(is_tenant=True))
    )
    for batch in batched(points(arrays["passages"], arrays["owners"]), 500):
        shard.update(edge.UpdateOperation.upsert_points(batch))
    told: dict[str, Any] = {"write_seconds": time.perf_counter() - began}
    told["unbuilt"] = _search_all(shard, arrays["queries"], ask)
    began = time.perf_counter()
    told["is_built"] = shard.optimize()
    told["build_seconds"] = time.perf_counter() - began
    shard.close()
    shard = edge.EdgeShard.load(str(folder))
    told["built"] = _search_all(shard, arrays["queries"], ask)
    shard.close()
    return told


def _search_all(
    shard: edge.EdgeShard, queries: Matrix, ask: Callable[[edge.EdgeShard, Matrix], list[int]]
) -> dict[str, Any]:
    """Milliseconds of each search and the documents it found, the best first."""
    for vector in queries:
        ask(shard, vector)
    took: list[float] = []
    found: list[list[int]] = []
    for vector in queries:
        began = time.perf_counter()
        found.append(ask(shard, vector))
        took.append((time.perf_counter() - began) * 1000)
    return {"ms": took, "documents": found}


def _config(size: int, *, is_multivector: bool) -> edge.EdgeConfig:
    comparator = edge.MultiVectorConfig(edge.MultiVectorComparator.MaxSim)
    return edge.EdgeConfig(
        vectors={
            VIEW: edge.EdgeVectorParams(
                size=size,
                distance=edge.Distance.Cosine,
                multivector_config=comparator if is_multivector else None,
            )
        }
    )


def _point(number: int, vector: Any, document: int) -> edge.Point:
    return edge.Point(
        str(uuid.UUID(int=number + 1)),
        {VIEW: vector.tolist()},
        {SCOPE: "global", DOCUMENT: document},
    )


def _documents(passages: Matrix, owners: np.ndarray[Any, Any]) -> Iterator[Matrix]:
    """The passages of each document; those of one follow each other."""
    yield from np.split(passages, np.flatnonzero(np.diff(owners)) + 1)


def _means(passages: Matrix, owners: np.ndarray[Any, Any]) -> Iterator[edge.Point]:
    for number, rows in enumerate(_documents(passages, owners)):
        yield _point(number, mean_vector(rows), number)


def _multivectors(passages: Matrix, owners: np.ndarray[Any, Any]) -> Iterator[edge.Point]:
    for number, rows in enumerate(_documents(passages, owners)):
        yield _point(number, rows, number)


def _passages(passages: Matrix, owners: np.ndarray[Any, Any]) -> Iterator[edge.Point]:
    for number, (row, owner) in enumerate(zip(passages, owners, strict=True)):
        yield _point(number, row, int(owner))


def mean_vector(rows: Matrix) -> Matrix:
    """The unit vector in the middle of a document's passages."""
    mean = rows.mean(axis=0)
    return np.asarray(mean / np.linalg.norm(mean), dtype=np.float32)


def _ask(shard: edge.EdgeShard, vector: Any, *, limit: int) -> list[int]:
    points = shard.query(
        edge.QueryRequest(
            limit=limit,
            query=edge.Query.Nearest(vector, using=VIEW),
            filter=FILTER,
            with_payload=[DOCUMENT],
        )
    )
    return [int((point.payload or {})[DOCUMENT]) for point in points]


def _ask_vector(shard: edge.EdgeShard, vector: Matrix) -> list[int]:
    return _ask(shard, vector.tolist(), limit=LIMIT)


def _ask_multivector(shard: edge.EdgeShard, vector: Matrix) -> list[int]:
    return _ask(shard, [vector.tolist()], limit=LIMIT)


def _ask_passages(shard: edge.EdgeShard, vector: Matrix) -> list[int]:
    """Ask for passages until they are of enough documents; the engine cannot group them."""
    limit = 2 * LIMIT
    while True:
        passages = _ask(shard, vector.tolist(), limit=limit)
        documents = list(dict.fromkeys(passages))
        if len(documents) >= LIMIT or len(passages) < limit:
            return documents[:LIMIT]
        limit *= 2


_WAYS: Final[dict[str, tuple[Any, Any, bool]]] = {
    "mean": (_means, _ask_vector, False),
    "multivector": (_multivectors, _ask_multivector, True),
    "passages": (_passages, _ask_passages, False),
}


# --- rows of longer multivectors ----------------------------------------------------------


def _stale(folder: Path) -> dict[str, int]:
    """Points whose multivector is not the one written last, over all rounds."""
    folder.mkdir()
    shard_folder = folder / "shard"
    shard_folder.mkdir()
    wrong = kills = 0
    for seed in range(STALE_ROUNDS):
        code = subprocess.run(
            [sys.executable, "-m", "benchmarks.long_text_child", "stale-round", folder, str(seed)],
            check=False,
        ).returncode
        kills += code == -signal.SIGKILL
        expected = json.loads((folder / "expected.json").read_text(encoding="utf-8"))
        stored = _stored(shard_folder)
        wrong += sum(not _is_same(stored.get(key), expected.get(key)) for key in stored | expected)
    return {"rounds": STALE_ROUNDS, "kills": kills, "wrong": wrong}


def _stored(folder: Path) -> dict[str, list[list[float]]]:
    shard = edge.EdgeShard.load(str(folder))
    records, _ = shard.scroll(
        edge.ScrollRequest(limit=2 * STALE_POINTS, with_payload=False, with_vector=True)
    )
    shard.close()
    return {str(record.id): dict(record.vector or {}).get(VIEW, []) for record in records}  # type: ignore[arg-type,misc]  # named vectors


def _is_same(stored: list[list[float]] | None, expected: list[list[float]] | None) -> bool:
    if not stored or not expected:
        return stored == expected
    return len(stored) == len(expected) and np.allclose(stored, expected, atol=1e-5)


def _stale_round(folder: Path, *, seed: int) -> None:
    """Write, shorten and delete at random, note what should be there, and end, maybe killed."""
    random = np.random.default_rng(seed)
    shard_folder, notes = str(folder / "shard"), folder / "expected.json"
    expected: dict[str, list[list[float]]] = {}
    if notes.exists():
        expected = json.loads(notes.read_text(encoding="utf-8"))
        shard = edge.EdgeShard.load(shard_folder)
    else:
        config = edge.EdgeConfig(
            vectors=_config(8, is_multivector=True).vectors,
            # Built from the first point on, so that every round meets a built segment.
            optimizers=edge.EdgeOptimizersConfig(indexing_threshold=1),
        )
        shard = edge.EdgeShard.create(shard_folder, config)
    for _ in range(STALE_STEPS):
        key = str(uuid.UUID(int=int(random.integers(STALE_POINTS)) + 1))
        raw = random.normal(size=(random.integers(1, 12), 8))
        rows = (raw / np.linalg.norm(raw, axis=1, keepdims=True)).astype(np.float32).tolist()
        match random.choice(["write", "update", "empty", "delete", "flush", "reopen", "build"]):
            case "flush":
                shard.flush()
            case "reopen":
                shard.close()
                shard = edge.EdgeShard.load(shard_folder)
            case "build":
                shard.optimize()
            case action:
                _change(shard, str(action), key, rows, expected)
    notes.write_text(json.dumps(expected), encoding="utf-8")
    if random.random() < 0.5:
        signal.raise_signal(signal.SIGKILL)
    shard.close()


def _change(
    shard: edge.EdgeShard,
    action: str,
    key: str,
    rows: list[list[float]],
    expected: dict[str, list[list[float]]],
) -> None:
    """Change a point, and what is expected of it."""
    match action:
        case "write":
            shard.update(edge.UpdateOperation.upsert_points([edge.Point(key, {VIEW: rows}, {})]))
            expected[key] = rows
        case "delete":
            shard.update(edge.UpdateOperation.delete_points([key]))
            expected.pop(key, None)
        case "update" if key in expected:
            vectors = edge.PointVectors(key, {VIEW: rows})
            shard.update(edge.UpdateOperation.update_vectors([vectors]))
            expected[key] = rows
        case "empty" if key in expected:
            shard.update(edge.UpdateOperation.delete_vectors([key], [VIEW]))
            expected[key] = []


if __name__ == "__main__":
    main()
