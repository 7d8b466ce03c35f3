"""What canary vectors tell apart: how far the bundled model is from itself, and from others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from benchmarks.results import Figure, Limit, Outcome
from benchmarks.workbench import Workbench
from sync_pipeline.core.canaries import (
    CANARY_TEXTS,
    CHANGED_MODEL_COSINE,
    SAME_MODEL_COSINE,
    Canaries,
    canary_key,
    lowest_cosine,
)
from sync_pipeline.embedding.sentence_transformers import SentenceTransformersEmbedder
from sync_pipeline.engine.canaries import measure_canaries

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

TITLE = "Canary vectors"

_MILLION: Final = 1_000_000
_SAME: Final = Limit(
    value=round((1 - SAME_MODEL_COSINE) * _MILLION),
    reason="up to here two names are one model",
)
_OTHER: Final = Limit(
    value=round((1 - CHANGED_MODEL_COSINE) * _MILLION),
    reason="from here on a model has changed",
    is_minimum=True,
)

_NOTE: Final = (
    "The bundled model against itself in float32: 1 less the lowest cosine of the "
    f"{len(CANARY_TEXTS)} canary texts."
)

Spoil = Callable[["SentenceTransformer"], None]


def measure(bench: Workbench) -> Outcome:
    del bench  # the bundled model is all it takes
    plain = SentenceTransformersEmbedder(dtype="float32", device="cpu", runtime="torch")
    reference = measure_canaries(plain)

    def farthest(measured: Canaries) -> float:
        lowest = lowest_cosine(reference, measured)
        return (1 - (0.0 if lowest is None else lowest)) * _MILLION

    def with_dtype(dtype: str) -> float:
        other = SentenceTransformersEmbedder(dtype=dtype, device="cpu", runtime="torch")  # type: ignore[arg-type]  # one of its names
        return farthest(measure_canaries(other))

    def with_spoilt(spoil: Spoil) -> float:
        with _spoilt(plain, spoil):
            return farthest(measure_canaries(plain))

    alone = {canary_key(text): plain.embed([text]).vectors[0] for text in CANARY_TEXTS}
    prompted = SentenceTransformersEmbedder(
        dtype="float32", device="cpu", runtime="torch", document_prompt="passage: "
    )
    found = {
        ("alone", "each text by itself instead of all at once", _SAME): farthest(alone),
        ("float16", "float16", _SAME): with_dtype("float16"),
        ("bfloat16", "bfloat16", _SAME): with_dtype("bfloat16"),
        ("int8", "weights rounded to 8 bits", _OTHER): with_spoilt(_rounded_to(8)),
        ("int6", "weights rounded to 6 bits", _OTHER): with_spoilt(_rounded_to(6)),
        ("window", "half of the window", _OTHER): with_spoilt(_half_the_window),
        ("prompt", "a prompt before documents", _OTHER): farthest(measure_canaries(prompted)),
    }
    return Outcome(
        name="canaries",
        title=TITLE,
        figures=tuple(
            Figure(key=key, label=label, unit="millionths", samples=(value,), limit=limit)
            for (key, label, limit), value in found.items()
        ),
        notes=(_NOTE,),
    )


@contextmanager
def _spoilt(embedder: SentenceTransformersEmbedder, spoil: Spoil) -> Iterator[None]:
    """Change the loaded model for the length of the ``with``."""
    model = embedder._load().torch().model  # noqa: SLF001 - there is no other way to another model
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    window = model.max_seq_length
    spoil(model)
    try:
        yield
    finally:
        model.load_state_dict(weights)
        model.max_seq_length = window


def _half_the_window(model: SentenceTransformer) -> None:
    model.max_seq_length = (model.max_seq_length or 0) // 2


def _rounded_to(bits: int) -> Spoil:
    """Round each row of every matrix to so many bits, as weight-only quantization does."""

    def spoil(model: SentenceTransformer) -> None:
        import torch  # noqa: PLC0415 - 4 s

        with torch.no_grad():
            for weight in model.parameters():
                if weight.dim() > 1:
                    step = weight.abs().amax(1, keepdim=True).clamp(min=1e-9) / (
                        2 ** (bits - 1) - 1
                    )
                    weight.copy_((weight / step).round() * step)

    return spoil
