"""The proof that a runtime gives the vectors that torch gives, asked for before it is used.

A model's reference are the vectors that torch gave for a few texts, in float32. Those of the
bundled model come with this package. Those of any other model are recorded the first time that
torch computes it on this machine; until then nothing else does. A runtime embeds the same texts,
alone and in company, and is used only if every number agrees. What was found is noted with all
that it hangs on (model, reference, libraries, processor), so it is asked once and not at every
start.
"""

from __future__ import annotations

import logging
import platform
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO, Final

import numpy as np
from numpy.typing import NDArray

from sync_pipeline.core.canaries import CANARY_TEXTS
from sync_pipeline.core.hashing import bytes_digest, digest
from sync_pipeline.embedding.precision import processor_features
from sync_pipeline.embedding.runtimes.runtime import Runtime, RuntimeName
from sync_pipeline.embedding.vectors import normalised

Vectors = NDArray[np.float32]

_log: Final = logging.getLogger(__name__)

TOLERANCE: Final = 1e-5
"""Most that any number of two vectors may differ by. Measured: runtimes in float32 differ by 3e-7,
the mildest quantisation by 9e-3."""
_COMPUTATION: Final = "1"
"""Raise it when what this package computes itself changes: every runtime is asked again."""
_LIBRARIES: Final[dict[RuntimeName, tuple[str, ...]]] = {
    "numpy": ("numpy", "tokenizers"),
    "onnx": ("onnxruntime", "numpy", "tokenizers"),
}
_SHIPPED: Final = Path(__file__).with_name("references")
_LONG: Final = max(range(len(CANARY_TEXTS)), key=lambda place: len(CANARY_TEXTS[place]))
_COMPANY: Final = (
    tuple(place for place in range(len(CANARY_TEXTS)) if place != _LONG),
    (_LONG, 0),
)
"""Texts that are embedded together: short ones, and a long one beside a short one."""


def measure(runtime: Runtime) -> Vectors:
    """A runtime's vectors of the canary texts, each alone, as documents without a prompt."""
    return np.concatenate([_encode(runtime, [text]) for text in CANARY_TEXTS])


def largest_difference(runtime: Runtime, reference: Vectors) -> float:
    """How far a runtime's vectors are from the reference, alone or in company.

    Returns:
        The largest difference of any number; infinite where there is no such number.
    """
    alone = _distance(measure(runtime), reference)
    together = (
        _distance(_encode(runtime, [CANARY_TEXTS[at] for at in run]), reference[list(run)])
        for run in _COMPANY
    )
    return max(alone, *together)


def _encode(runtime: Runtime, texts: Sequence[str]) -> Vectors:
    return normalised(runtime.encode(texts, prompt="", side="document"))


def _distance(found: Vectors, expected: Vectors) -> float:
    if found.shape != expected.shape or not np.isfinite(found).all():
        return float("inf")
    return float(np.abs(found - expected).max())


class Proofs:
    """References and what was found about runtimes, of all models on this machine.

    Args:
        folder: Where they are kept; None keeps nothing beyond this object.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._known: dict[str, Vectors] = {}

    def reference(self, content: str) -> Vectors | None:
        """The vectors that torch gave for a model with such files; None where nobody knows."""
        if content not in self._known:
            folders = (_SHIPPED,) if self._folder is None else (_SHIPPED, self._folder)
            for folder in folders:
                with suppress(OSError, EOFError, ValueError):
                    self._known[content] = _load(_file(folder, content))
                    break
        return self._known.get(content)

    def record(self, content: str, runtime: Runtime) -> None:
        """Keep torch's vectors as the reference, where there is none."""
        if self.reference(content) is not None:
            return
        vectors = self._known[content] = measure(runtime)
        if self._folder is not None:
            _write(
                _file(self._folder, content),
                lambda file: np.save(file, vectors, allow_pickle=False),
            )

    def disagreement(self, content: str, name: RuntimeName, *, runtime: Runtime) -> float | None:
        """How far off a runtime is; None where it agrees, now or when it was asked before.

        Raises:
            LookupError: there is no reference.
        """
        reference = self.reference(content)
        if reference is None:
            raise LookupError("there is no reference to compare with")
        note = self._note(content, name, reference)
        if note is not None and note.exists():
            return None
        difference = largest_difference(runtime, reference)
        if difference > TOLERANCE:
            return difference
        if note is not None:
            said = f"largest difference {difference:.1e}\n".encode()
            _write(note, lambda file: file.write(said))
        return None

    def _note(self, content: str, name: RuntimeName, reference: Vectors) -> Path | None:
        """The file whose presence says that they agree, by all that it hangs on."""
        if self._folder is None:
            return None
        hangs_on = digest(
            _COMPUTATION,
            *(f"{library} {version(library)}" for library in _LIBRARIES[name]),
            platform.machine(),
            processor_features(),
            bytes_digest(reference.tobytes()),
        )
        return self._folder / f"{content}-{name}-{hangs_on[:16]}.agrees"


def _load(file: Path) -> Vectors:
    """Read a reference.

    Raises:
        OSError: there is none.
        EOFError: it is empty.
        ValueError: it is something else.
    """
    found: Vectors = np.load(file, allow_pickle=False)
    if found.ndim != len(("texts", "numbers")) or len(found) != len(CANARY_TEXTS):
        raise ValueError(f"{file} is no table of canary vectors")
    return found


def _file(folder: Path, content: str) -> Path:
    """Where a reference lies; it is about the texts as they are today."""
    return folder / f"{content}-{digest(*CANARY_TEXTS)[:8]}.npy"


def _write(file: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Write a whole file or none; where that cannot be done, the next process asks again."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile(dir=file.parent, delete=False) as beside:
            write(beside)
        Path(beside.name).replace(file)
    except OSError as error:
        _log.warning("cannot keep %s: %s", file, error)
