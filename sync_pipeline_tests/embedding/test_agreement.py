"""The proof that lean runtimes give torch's vectors, and what happens where they do not.

``python -m sync_pipeline_tests.embedding.test_agreement`` writes the reference of the bundled
model anew: for another version of it, or after a change of the canary texts.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from sync_pipeline.core.errors import ModelUnavailableError
from sync_pipeline.embedding.bert import BertModel
from sync_pipeline.embedding.model_folder import BUNDLED, find_model, read_model
from sync_pipeline.embedding.runtimes import agreement
from sync_pipeline.embedding.runtimes.agreement import TOLERANCE, Proofs, measure
from sync_pipeline.embedding.runtimes.local_model import FORWARDS, LocalModel, Use
from sync_pipeline.embedding.runtimes.numpy import NumpyForward
from sync_pipeline.embedding.runtimes.runtime import LEAN, Runtime, RuntimeChoice, RuntimeName, Side
from sync_pipeline_tests.embedding.bert_folders import make_bert

# Threads of a math library that wait for a busy core count as CPU: a second alone is ten then.
pytestmark = pytest.mark.model

BUNDLED_FOLDER = read_model(find_model(BUNDLED, revision=None), model=BUNDLED)
CONTENT = BUNDLED_FOLDER.content


class Off:
    """A forward pass whose vectors are off by a little, always or in company alone."""

    def __init__(self, model: BertModel, *, by: float = 1e-3, in_company: bool = False) -> None:
        self._right = NumpyForward(model)
        self._by = by
        self._in_company = in_company

    def __call__(self, tokens: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        vectors = self._right(tokens).copy()
        if len(tokens) > 1 or not self._in_company:
            vectors[:, 0] += np.float32(self._by) * np.linalg.norm(vectors, axis=1)
        return vectors


class NotANumber(Off):
    def __call__(self, tokens: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        return super().__call__(tokens) * np.float32("nan")


class Fails(Off):
    def __call__(self, tokens: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        raise RuntimeError("no such instruction")


def in_company(model: BertModel) -> Off:
    return Off(model, in_company=True)


def a_little(model: BertModel) -> Off:
    return Off(model, by=2e-5)


WRONG = [
    pytest.param(Off, "differ by 1.0e-03, at most 1e-05", id="by a thousandth"),
    pytest.param(a_little, "differ by 2.0e-05", id="by twice what is allowed"),
    pytest.param(in_company, "differ by 1.0e-03", id="beside other texts alone"),
    pytest.param(NotANumber, "differ by inf", id="no numbers"),
    pytest.param(Fails, "no such instruction", id="fails"),
]


def local(
    *,
    runtime: RuntimeChoice = "auto",
    proofs: Path | None = None,
    forward: type[Off] = Off,
    is_lasting: bool = False,
) -> LocalModel:
    use = Use(
        model=BUNDLED,
        dtype="float32",
        device="cpu",
        runtime=runtime,
        proofs=proofs,
        is_lasting=is_lasting,
    )
    return LocalModel(BUNDLED_FOLDER, use, forwards=dict.fromkeys(LEAN, forward))


def asked(model: LocalModel, *, side: Side = "query") -> frozenset[RuntimeName]:
    """Embed one text; what is in memory then."""
    with model.runtime(side=side, texts=1, is_full=False) as runtime:
        runtime.encode(["plaster"], prompt="", side=side)
    return model.loaded


@pytest.mark.parametrize(("forward", "why"), WRONG)
@pytest.mark.parametrize("name", LEAN)
def test_a_runtime_with_other_vectors_is_refused_where_it_is_asked_for(
    name: RuntimeName, forward: type[Off], why: str, tmp_path: Path
) -> None:
    model = local(runtime=name, forward=forward, proofs=tmp_path / "proofs")

    for _ in range(2):
        with pytest.raises(ModelUnavailableError, match=f"the runtime {name} .*{why}"):
            asked(model)

    assert not model.loaded
    assert not list(tmp_path.iterdir())


@pytest.mark.model
@pytest.mark.parametrize("is_lasting", [False, True])
def test_where_it_was_not_asked_for_torch_computes_and_a_warning_says_so_once(
    *, is_lasting: bool, caplog: pytest.LogCaptureFixture
) -> None:
    model = local(is_lasting=is_lasting)

    with caplog.at_level(logging.WARNING):
        loaded = {asked(model) for _ in range(3)}

    name = "onnx" if is_lasting else "numpy"
    assert f"the runtime {name} gives other vectors than torch" in caplog.text
    assert "the model bundled is computed by torch" in caplog.text
    assert caplog.text.count(f"the runtime {name}") == 1
    assert loaded == {frozenset({"torch"})}


@pytest.mark.parametrize("name", LEAN)
def test_the_bundled_model_needs_no_torch_to_be_proven(name: RuntimeName, tmp_path: Path) -> None:
    use = Use(model=BUNDLED, dtype="float32", device="cpu", runtime=name, proofs=tmp_path)

    assert asked(LocalModel(BUNDLED_FOLDER, use)) == {name}

    (note,) = tmp_path.iterdir()
    assert note.name.startswith(f"{CONTENT}-{name}-")
    assert note.read_text().startswith("largest difference ")


class Asked:
    """A runtime that counts what it is asked."""

    def __init__(self, runtime: Runtime) -> None:
        self.pass_tokens = runtime.pass_tokens
        self.times = 0
        self._runtime = runtime

    def encode(self, texts: Sequence[str], *, prompt: str, side: Side) -> NDArray[np.float32]:
        self.times += 1
        return self._runtime.encode(texts, prompt=prompt, side=side)


def counting() -> Asked:
    use = Use(model=BUNDLED, dtype="float32", device="cpu", runtime="numpy")
    with LocalModel(BUNDLED_FOLDER, use).runtime(side="query", texts=1, is_full=False) as runtime:
        return Asked(runtime)


def test_what_agreed_is_not_asked_again_until_something_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, third = counting(), counting(), counting()

    assert Proofs(tmp_path).disagreement(CONTENT, "numpy", runtime=first) is None
    assert Proofs(tmp_path).disagreement(CONTENT, "numpy", runtime=second) is None
    monkeypatch.setattr(agreement, "processor_features", lambda: "another processor")
    assert Proofs(tmp_path).disagreement(CONTENT, "numpy", runtime=third) is None

    assert first.times > 0
    assert second.times == 0
    assert third.times == first.times


def test_a_folder_that_cannot_be_written_costs_a_proof_each_time(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "taken").write_text("")
    runtime = counting()

    for _ in range(2):
        found = Proofs(tmp_path / "taken").disagreement(CONTENT, "numpy", runtime=runtime)
        assert found is None

    assert "cannot keep" in caplog.text


def test_nothing_is_proven_without_a_reference() -> None:
    with pytest.raises(LookupError, match="no reference"):
        Proofs().disagreement("another model", "numpy", runtime=counting())


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\x93NUMPY"])
def test_a_damaged_reference_is_none(content: bytes, tmp_path: Path) -> None:
    agreement._file(tmp_path, "model").write_bytes(content)

    assert Proofs(tmp_path).reference("model") is None


@pytest.mark.model
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_model_that_nobody_proved_is_computed_by_torch_once(dtype: str, tmp_path: Path) -> None:
    folder = read_model(make_bert(tmp_path / "model"), model="tiny")
    use = Use(model="tiny", dtype=dtype, device="cpu", proofs=tmp_path / "proofs")  # type: ignore[arg-type]  # literals in a loop

    first, second = (asked(LocalModel(folder, use), side="document") for _ in range(2))

    assert first == {"torch"}
    assert second == {"numpy"}


@pytest.mark.model
def test_a_changed_model_is_proven_anew(tmp_path: Path) -> None:
    proofs = tmp_path / "proofs"
    one = read_model(make_bert(tmp_path / "one", seed=1), model="tiny")
    use = Use(model="tiny", dtype="float32", device="cpu", proofs=proofs)
    asked(LocalModel(one, use))
    other = read_model(make_bert(tmp_path / "two", seed=2), model="tiny")

    assert asked(LocalModel(other, use)) == {"torch"}


@pytest.mark.model
def test_a_model_of_another_kind_is_computed_by_torch_and_by_nothing_else(tmp_path: Path) -> None:
    folder = make_bert(tmp_path / "model", config={"hidden_act": "relu"})
    read = read_model(folder, model="tiny")
    named = Use(model="tiny", dtype="float32", device="cpu", runtime="onnx")

    assert asked(LocalModel(read, Use(model="tiny", dtype="float32", device="cpu"))) == {"torch"}
    with pytest.raises(ModelUnavailableError, match=r"onnx cannot compute it: .*hidden_act"):
        asked(LocalModel(read, named))


def test_a_lean_runtime_by_name_wants_the_number_format_that_it_works_in() -> None:
    use = Use(model=BUNDLED, dtype="bfloat16", device="cpu", runtime="onnx")

    with pytest.raises(ModelUnavailableError, match=r"float32, and embedding\.dtype is bfloat16"):
        asked(LocalModel(BUNDLED_FOLDER, use))


@pytest.mark.model
def test_the_reference_that_is_shipped_is_what_torch_gives() -> None:
    shipped = Proofs().reference(CONTENT)

    assert shipped is not None
    assert np.abs(shipped - measured_by_torch()).max() <= TOLERANCE / 10


def test_no_reference_of_another_model_is_shipped() -> None:
    shipped = {file.name for file in agreement._SHIPPED.iterdir()}

    assert shipped == {agreement._file(agreement._SHIPPED, CONTENT).name}


def measured_by_torch() -> NDArray[np.float32]:
    use = Use(model=BUNDLED, dtype="float32", device="cpu", runtime="torch")
    return measure(LocalModel(BUNDLED_FOLDER, use, forwards=FORWARDS).torch())


def main() -> None:
    shutil.rmtree(agreement._SHIPPED)
    agreement._SHIPPED.mkdir()
    file = agreement._file(agreement._SHIPPED, CONTENT)
    np.save(file, measured_by_torch(), allow_pickle=False)


if __name__ == "__main__":
    main()
