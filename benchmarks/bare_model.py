"""The bare model: how long sentence-transformers needs for texts, with nothing around it.

``python -m benchmarks.bare_model TEXTS CONFIGURATIONS`` reads both JSON files,
encodes all texts once per configuration and prints seconds as JSON.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

WARM_UP_TEXTS: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfiguration:
    """How the model is run."""

    dtype: str
    batch_size: int
    threads: int
    is_sorted: bool
    """Whether texts of like length are encoded together, as the library does in one call."""

    @property
    def label(self) -> str:
        """For people."""
        threads = "1 thread" if self.threads == 1 else f"{self.threads} threads"
        order = "sorted by length" if self.is_sorted else "in the order given"
        return f"{self.dtype}, batches of {self.batch_size}, {threads}, {order}"


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodingRun:
    """One configuration and how long it took."""

    configuration: ModelConfiguration
    texts: int
    seconds: float

    @property
    def texts_per_second(self) -> float:
        """Throughput."""
        return self.texts / self.seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelReport:
    """What one process of the bare model measured."""

    load_seconds: float
    """Importing the library and loading the model, once."""
    runs: tuple[EncodingRun, ...]

    @property
    def speeds(self) -> dict[ModelConfiguration, tuple[float, ...]]:
        """Texts per second of every run, by configuration."""
        found: dict[ModelConfiguration, tuple[float, ...]] = {}
        for run in self.runs:
            found[run.configuration] = (*found.get(run.configuration, ()), run.texts_per_second)
        return found

    @property
    def fastest(self) -> ModelConfiguration:
        """The configuration with the highest median speed."""
        speeds = self.speeds
        return max(speeds, key=lambda configuration: median(speeds[configuration]))


def read_report(output: str) -> ModelReport:
    """Read what ``main`` printed."""
    values = json.loads(output)
    return ModelReport(
        load_seconds=values["load_seconds"],
        runs=tuple(
            EncodingRun(
                configuration=ModelConfiguration(**run["configuration"]),
                texts=run["texts"],
                seconds=run["seconds"],
            )
            for run in values["runs"]
        ),
    )


def load_model(dtype: str) -> SentenceTransformer:
    """The model that ships with the pipeline, as the library loads it."""
    import torch  # noqa: PLC0415 - part of what is measured
    from sentence_transformers import SentenceTransformer  # noqa: PLC0415 - part of what is measured

    from sync_pipeline.embedding.model_folder import BUNDLED, find_model  # noqa: PLC0415

    return SentenceTransformer(
        str(find_model(BUNDLED, revision=None)),
        local_files_only=True,
        model_kwargs={"dtype": getattr(torch, dtype)},
    )


def encode(model: SentenceTransformer, texts: Sequence[str], how: ModelConfiguration) -> Any:
    """Encode texts in one call, or batch by batch where they shall keep their order."""
    import numpy as np  # noqa: PLC0415

    chunk = len(texts) if how.is_sorted else how.batch_size
    return np.concatenate(
        [
            model.encode(
                list(texts[start : start + chunk]),
                batch_size=how.batch_size,
                show_progress_bar=False,
                normalize_embeddings=True,
            )
            for start in range(0, len(texts), chunk)
        ]
    )


def main() -> None:
    began = time.perf_counter()
    texts: list[str] = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    wanted = [
        ModelConfiguration(**values)
        for values in json.loads(Path(sys.argv[2]).read_text(encoding="utf-8"))
    ]
    models = {wanted[0].dtype: load_model(wanted[0].dtype)}
    load_seconds = time.perf_counter() - began
    runs = []
    for how in wanted:
        if how.dtype not in models:
            models[how.dtype] = load_model(how.dtype)
        runs.append(_timed(models[how.dtype], texts, how, is_warm=len(wanted) > 1))
    values = {"load_seconds": load_seconds, "runs": [asdict(run) for run in runs]}
    print(json.dumps(values))


def _timed(
    model: SentenceTransformer, texts: Sequence[str], how: ModelConfiguration, *, is_warm: bool
) -> EncodingRun:
    import torch  # noqa: PLC0415

    torch.set_num_threads(how.threads)
    if is_warm:
        encode(model, texts[:WARM_UP_TEXTS], how)
    began = time.perf_counter()
    encode(model, texts, how)
    return EncodingRun(configuration=how, texts=len(texts), seconds=time.perf_counter() - began)


if __name__ == "__main__":
    main()
