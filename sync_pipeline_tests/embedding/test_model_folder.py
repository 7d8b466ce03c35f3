"""What a model's files say about it, read without loading it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from sync_pipeline.core.errors import ModelUnavailableError
from sync_pipeline.embedding.model_folder import BUNDLED, find_model, read_model
from sync_pipeline.embedding.precision import choose_dtype, cpu_has_bfloat16
from sync_pipeline.embedding.sentence_transformers import SentenceTransformersEmbedder


def write(folder: Path, **files: object) -> Path:
    """Write files: JSON for objects and lists, bytes as they are; ``__`` is a slash."""
    for name, content in files.items():
        file = folder / name.replace("__", "/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return folder


def model_in(folder: Path) -> Path:
    modules = [{"path": ""}, {"path": "1_Pooling"}, {"path": "2_Normalize"}]
    return write(
        folder,
        **{
            "modules.json": modules,
            "config.json": {"hidden_size": 32},
            "sentence_bert_config.json": {"max_seq_length": 128},
            "1_Pooling__config.json": {
                "word_embedding_dimension": 32,
                "pooling_mode_mean_tokens": True,
                "pooling_mode_cls_token": False,
            },
            "model.safetensors": b"weights",
            "tokenizer.json": {"model": {}},
            "README.md": b"card",
        },
    )


def content_of(folder: Path) -> str:
    return read_model(folder, model="m").content


def test_the_bundled_model_is_found_and_understood() -> None:
    folder = read_model(find_model(BUNDLED, revision=None), model=BUNDLED)

    assert folder.dimension == 384
    assert (folder.query_prompt, folder.document_prompt) == ("", "")


@pytest.mark.parametrize(
    ("files", "dimension"),
    [
        pytest.param({}, 32, id="mean pooling"),
        pytest.param(
            {"1_Pooling__config.json": {"embedding_dimension": 32, "pooling_mode": "cls"}},
            32,
            id="the newer spelling",
        ),
        pytest.param(
            {"1_Pooling__config.json": {"embedding_dimension": 32, "pooling_mode": ["cls", "max"]}},
            64,
            id="two kinds of pooling joined",
        ),
        pytest.param(
            {
                "1_Pooling__config.json": {
                    "word_embedding_dimension": 32,
                    "pooling_mode_mean_tokens": True,
                    "pooling_mode_max_tokens": True,
                }
            },
            64,
            id="two kinds in the older spelling",
        ),
        pytest.param(
            {
                "modules.json": [{"path": ""}, {"path": "1_Pooling"}, {"path": "2_Dense"}],
                "2_Dense__config.json": {"in_features": 32, "out_features": 12},
                "2_Dense__model.safetensors": b"dense",
            },
            12,
            id="a dense layer at the end",
        ),
        pytest.param({"config_sentence_transformers.json": {"truncate_dim": 8}}, 8, id="shortened"),
        pytest.param({"modules.json": []}, 32, id="a bare transformer"),
        pytest.param(
            {"modules.json": [{"path": ""}], "config.json": {"architectures": ["X"]}},
            None,
            id="a kind that does not say",
        ),
    ],
)
def test_the_dimension_is_what_the_last_module_makes(
    tmp_path: Path, files: dict[str, object], dimension: int | None
) -> None:
    folder = write(model_in(tmp_path), **files)

    assert read_model(folder, model="m").dimension == dimension


@pytest.mark.parametrize(
    ("config", "query", "document"),
    [
        pytest.param({}, "", "", id="none"),
        pytest.param(
            {"prompts": {"query": "query: ", "passage": "passage: "}},
            "query: ",
            "passage: ",
            id="query and passage",
        ),
        pytest.param(
            {"prompts": {"query": "q: ", "document": ""}}, "q: ", "", id="only for queries"
        ),
        pytest.param(
            {"prompts": {"any": "text: "}, "default_prompt_name": "any"},
            "text: ",
            "text: ",
            id="a default",
        ),
        pytest.param({"prompts": {"query": None, "document": None}}, "", "", id="empty ones"),
    ],
)
def test_the_model_s_own_prompts_are_known(
    tmp_path: Path, config: dict[str, object], query: str, document: str
) -> None:
    folder = write(model_in(tmp_path), **{"config_sentence_transformers.json": config})

    found = read_model(folder, model="m")

    assert (found.query_prompt, found.document_prompt) == (query, document)


def test_the_same_files_elsewhere_have_the_same_content(tmp_path: Path) -> None:
    assert content_of(model_in(tmp_path / "here")) == content_of(model_in(tmp_path / "there"))


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"model.safetensors": b"weightt"}, id="one byte of the weights"),
        pytest.param({"tokenizer.json": {"model": {"x": 1}}}, id="the tokenizer"),
        pytest.param({"sentence_bert_config.json": {"max_seq_length": 64}}, id="the window"),
        pytest.param({"1_Pooling__config.json": {"word_embedding_dimension": 32}}, id="pooling"),
        pytest.param({"modules.json": [{"path": ""}, {"path": "1_Pooling"}]}, id="no normalising"),
    ],
)
def test_what_decides_about_vectors_changes_the_content(
    tmp_path: Path, change: dict[str, object]
) -> None:
    before = content_of(model_in(tmp_path))

    write(tmp_path, **change)

    assert content_of(tmp_path) != before


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"README.md": b"another card"}, id="model card"),
        pytest.param({"onnx__model.onnx": b"x"}, id="another format"),
        pytest.param({"vocab.txt": b"older tokenizer"}, id="superfluous vocabulary"),
        pytest.param({"data_config.json": [1]}, id="training data"),
    ],
)
def test_what_does_not_decide_about_vectors_leaves_the_content(
    tmp_path: Path, change: dict[str, object]
) -> None:
    before = content_of(model_in(tmp_path))

    write(tmp_path, **change)

    assert content_of(tmp_path) == before


def test_a_hub_cache_names_its_large_files_by_hash(tmp_path: Path) -> None:
    snapshot = model_in(tmp_path / "snapshot")
    # The blob holds other bytes than its name says: only the name is read.
    name = hashlib.sha256(b"weights").hexdigest()
    write(tmp_path, **{f"blobs__{name}": b"something"})
    (snapshot / "model.safetensors").unlink()
    (snapshot / "model.safetensors").symlink_to(tmp_path / "blobs" / name)

    assert content_of(snapshot) == content_of(model_in(tmp_path / "plain"))


def test_routed_modules_count(tmp_path: Path) -> None:
    folder = write(
        model_in(tmp_path),
        **{
            "modules.json": [{"path": ""}],
            "router_config.json": {"types": {"query_0": "x", "document_0": "y"}},
            "query_0__config.json": {"hidden_size": 32},
            "query_0__model.safetensors": b"query weights",
            "document_0__config.json": {"hidden_size": 32},
            "document_0__model.safetensors": b"document weights",
        },
    )
    before = content_of(folder)

    write(folder, **{"document_0__model.safetensors": b"other weights"})

    assert content_of(folder) != before


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        pytest.param(
            lambda folder: (folder / "model.safetensors").rename(folder / "pytorch_model.bin"),
            "only as a pickle",
            id="pickled weights",
        ),
        pytest.param(
            lambda folder: (folder / "1_Pooling" / "pytorch_model.bin").write_bytes(b"x"),
            "1_Pooling has its weights only as a pickle",
            id="pickled weights of a later module",
        ),
        pytest.param(
            lambda folder: (folder / "model.safetensors").unlink(),
            "holds no model.safetensors",
            id="no weights",
        ),
        pytest.param(
            lambda folder: (folder / "modules.json").write_text("{"), "is not JSON", id="damaged"
        ),
        pytest.param(
            lambda folder: (folder / "modules.json").write_text('[{"path": "../.."}]'),
            "leads out of its folder",
            id="modules outside",
        ),
    ],
)
def test_unusable_folders_are_refused_with_a_reason(
    tmp_path: Path, spoil: Callable[[Path], object], reason: str
) -> None:
    folder = model_in(tmp_path)
    spoil(folder)

    with pytest.raises(ModelUnavailableError, match=reason):
        read_model(folder, model="m")


def test_an_empty_folder_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailableError, match=r"neither modules\.json nor config\.json"):
        read_model(tmp_path, model="m")


@pytest.mark.parametrize("model", ["/no/such/model", "./no-such-model", "~/no/such", "a/b/c"])
def test_a_missing_folder_is_named(model: str) -> None:
    with pytest.raises(ModelUnavailableError, match=r"there is no folder .*embedding.model"):
        find_model(model, revision=None)


@pytest.mark.parametrize("model", ["nobody/no-such-model", "no-such-model", "not a name!"])
def test_a_name_that_cannot_be_had_offline_says_so(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants  # noqa: PLC0415 - only here

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))

    with pytest.raises(ModelUnavailableError, match="could not be downloaded"):
        find_model(model, revision=None)


@pytest.mark.parametrize("name", ["acme/tiny", "tiny"])
def test_a_cached_hub_model_is_used_without_asking_the_hub(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants  # noqa: PLC0415 - only here

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    full = name if "/" in name else f"sentence-transformers/{name}"
    repository = tmp_path / f"models--{full.replace('/', '--')}"
    commit = "a" * 40
    snapshot = model_in(repository / "snapshots" / commit)
    write(repository, refs__main=commit.encode())

    assert find_model(name, revision=None) == snapshot
    assert find_model(name, revision=commit) == snapshot


def test_the_id_names_model_and_dtype_and_depends_on_the_document_prompt(tmp_path: Path) -> None:
    folder = str(model_in(tmp_path / "tiny"))

    def id_of(
        *,
        dtype: str = "float32",
        document_prompt: str | None = None,
        query_prompt: str | None = None,
        batch_size: int = 64,
    ) -> str:
        return SentenceTransformersEmbedder(
            model=folder,
            dtype=dtype,  # type: ignore[arg-type]  # literals in a loop
            document_prompt=document_prompt,
            query_prompt=query_prompt,
            batch_size=batch_size,
        ).model_id

    same = {id_of(), id_of(query_prompt="q: "), id_of(batch_size=8), id_of(document_prompt="")}
    others = {id_of(dtype="bfloat16"), id_of(document_prompt="passage: ")}

    assert len(same) == 1
    assert len(others - same) == 2
    assert id_of().startswith("tiny:float32:")


X86 = "processor\t: 0\nflags\t\t: fpu sse2 avx512f {}\n\nprocessor\t: 1\nflags\t\t: fpu\n"


@pytest.mark.parametrize(
    ("cpu_info", "has"),
    [
        pytest.param(X86.format("avx512_bf16"), True, id="AVX-512 BF16"),
        pytest.param(X86.format("amx_bf16"), True, id="AMX"),
        pytest.param(X86.format(""), False, id="plain AVX-512"),
        pytest.param("processor: 0\nFeatures: fp asimd bf16\n", False, id="Arm, not measured"),
        pytest.param("", False, id="no such file"),
    ],
)
def test_fast_bfloat16_is_read_from_the_cpu_s_flags(cpu_info: str, *, has: bool) -> None:
    assert cpu_has_bfloat16(cpu_info) is has


def test_a_named_dtype_is_taken_as_it_is() -> None:
    assert choose_dtype("float16", device="cpu") == "float16"


def test_auto_is_float32_on_devices_that_were_not_measured() -> None:
    assert choose_dtype("auto", device="mps") == "float32"
