"""A model in this process, computed by whichever runtime suits what comes."""

from __future__ import annotations

import importlib.util
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Final

from sync_pipeline.core.errors import ModelUnavailableError
from sync_pipeline.embedding.bert import BertModel, UnknownModelError, read_bert
from sync_pipeline.embedding.model_folder import ModelFolder
from sync_pipeline.embedding.precision import Dtype, has_only_the_cpu
from sync_pipeline.embedding.runtimes.agreement import TOLERANCE, Proofs
from sync_pipeline.embedding.runtimes.choice import choose_runtime
from sync_pipeline.embedding.runtimes.runtime import (
    LEAN,
    Forward,
    Runtime,
    RuntimeChoice,
    RuntimeName,
    Side,
)
from sync_pipeline.embedding.runtimes.tokens import TokenRuntime
from sync_pipeline.embedding.runtimes.torch import TorchRuntime

_log: Final = logging.getLogger(__name__)
_log_loading: Final = logging.getLogger("sync_pipeline.embedding.loading")
"""Tells, before it begins, of what takes seconds without a sign of life; see ``cli.logs``."""


def _numpy(model: BertModel) -> Forward:
    from sync_pipeline.embedding.runtimes.numpy import NumpyForward  # noqa: PLC0415

    return NumpyForward(model)


def _onnx(model: BertModel) -> Forward:
    from sync_pipeline.embedding.runtimes.onnx import OnnxForward  # noqa: PLC0415 - 0.2 s

    return OnnxForward(model)


FORWARDS: Final[Mapping[RuntimeName, Callable[[BertModel], Forward]]] = {
    "numpy": _numpy,
    "onnx": _onnx,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """How a model is used; models that are used alike are in memory once."""

    model: str = field(compare=False)
    """As it is called in the settings; for messages."""
    dtype: Dtype
    device: str
    runtime: RuntimeChoice = "auto"
    is_lasting: bool = False
    """Whether the process goes on to answer others, who wait."""
    proofs: Path | None = None
    """Folder of what is known about runtimes; None keeps nothing."""


class LocalModel:
    """Runtimes of one model, each loaded when it is first chosen, and proven before it is used.

    Where a runtime does not agree with torch, or cannot be loaded, torch computes, and a warning
    says so; where the settings ask for that runtime and no other, it is an error.

    Args:
        folder: Of the model.
        use: How it is used.
        forwards: What computes known models without torch.
    """

    def __init__(
        self,
        folder: ModelFolder,
        use: Use,
        *,
        forwards: Mapping[RuntimeName, Callable[[BertModel], Forward]] = FORWARDS,
    ) -> None:
        self._folder = folder
        self._use = use
        self._forwards = forwards
        self._proofs = Proofs(use.proofs)
        self._lock = threading.RLock()
        self._torch: TorchRuntime | None = None
        self._lean: dict[RuntimeName, Runtime] = {}
        self._refused: dict[RuntimeName, str] = {}
        self._so_far = 0

    @contextmanager
    def runtime(self, *, side: Side, texts: int, is_full: bool) -> Iterator[Runtime]:
        """The runtime for so many texts, for one thread at a time.

        Args:
            side: What they are.
            texts: How many this call has.
            is_full: Whether no call has more.

        Raises:
            ModelUnavailableError: the model cannot be loaded as configured.
        """
        with self._lock:
            self._so_far += texts
            yield self._take(
                choose_runtime(
                    wanted=self._use.runtime,
                    is_known=isinstance(self._known, BertModel),
                    is_exact=self._use.dtype == "float32",
                    has_onnx="onnx" not in self._refused and _is_installed("onnxruntime"),
                    is_lasting=self._use.is_lasting,
                    side=side,
                    so_far=self._so_far,
                    is_full=is_full,
                )
            )

    def torch(self) -> TorchRuntime:
        """The runtime that can do all that the model can; loaded if it is not.

        Raises:
            ModelUnavailableError: it cannot be.
        """
        with self._lock:
            if self._torch is None:
                self._torch = self._load_torch(self._use.dtype)
                self._record(self._torch)
            return self._torch

    @property
    def window(self) -> int | None:
        """Most tokens that it reads of a text; loads torch for models that only that knows."""
        if isinstance(self._known, BertModel):
            return self._known.window
        window: int | None = self.torch().model.max_seq_length
        return window

    @property
    def loaded(self) -> frozenset[RuntimeName]:
        """The runtimes that are in memory."""
        names: set[RuntimeName] = {*self._lean}
        return frozenset(names if self._torch is None else {*names, "torch"})

    def _take(self, name: RuntimeName) -> Runtime:
        if name not in LEAN:
            return self.torch()
        if self._use.runtime == name and self._use.dtype != "float32":
            self._refuse(name, f"computes in float32, and embedding.dtype is {self._use.dtype}")
        if not isinstance(self._known, BertModel):
            self._refuse(name, f"cannot compute it: {self._known}")
        elif name in self._refused:
            self._refuse(name, self._refused[name])
        elif name not in self._lean:
            self._load_lean(name, self._known)
        return self._lean.get(name) or self.torch()

    def _load_lean(self, name: RuntimeName, model: BertModel) -> None:
        """Load a runtime and have it proven; refuse it where it fails."""
        if self._proofs.reference(self._folder.content) is None:
            self.torch()
        if self._torch is not None and name == "numpy" and self._use.runtime == "auto":
            return  # What numpy saves is loading torch.
        try:
            runtime = TokenRuntime(model, self._forwards[name](model))
            off = self._proofs.disagreement(self._folder.content, name, runtime=runtime)
        except Exception as error:  # noqa: BLE001 - whatever a library says, there is torch
            self._refuse(name, f"cannot be used ({type(error).__name__}: {error})".splitlines()[0])
            return
        if off is None:
            self._lean[name] = runtime
        else:
            self._refuse(
                name,
                f"gives other vectors than torch: they differ by {off:.1e}, at most "
                f"{TOLERANCE:.0e} is expected",
            )

    def _refuse(self, name: RuntimeName, why: str) -> None:
        """Go on without a runtime; a warning says so once.

        Raises:
            ModelUnavailableError: it was asked for by name.
        """
        if self._use.runtime == name:
            raise ModelUnavailableError(
                model=self._use.model,
                reason=f"the runtime {name} {why}; set embedding.runtime to auto",
            )
        if name not in self._refused:
            _log.warning(
                "the runtime %s %s: the model %s is computed by torch", name, why, self._use.model
            )
        self._refused[name] = why

    @cached_property
    def _known(self) -> BertModel | str:
        """The model, where others than torch can compute it; else why they cannot."""
        if not has_only_the_cpu(self._use.device):
            return "it may be on a GPU; set embedding.device to cpu where it shall not be"
        try:
            return read_bert(self._folder.path)
        except UnknownModelError as error:
            return f"it is no BERT encoder of a known kind, {error}"

    def _record(self, torch: TorchRuntime) -> None:
        """Keep what torch gives in float32, where others may not yet compute the model."""
        content = self._folder.content
        if isinstance(self._known, BertModel) and self._proofs.reference(content) is None:
            is_exact = self._use.dtype == "float32"
            self._proofs.record(content, torch if is_exact else self._load_torch("float32"))

    def _load_torch(self, dtype: Dtype) -> TorchRuntime:
        _log_loading.info("loading the model %s", self._use.model)
        try:
            return TorchRuntime(self._folder.path, dtype=dtype, device=self._use.device)
        except Exception as error:
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            raise ModelUnavailableError(model=self._use.model, reason=reason) from error


@cache
def _is_installed(library: str) -> bool:
    return importlib.util.find_spec(library) is not None
