"""Which runtime takes the next texts."""

from __future__ import annotations

from typing import Any

import pytest

from sync_pipeline.embedding.runtimes.choice import (
    NUMPY_BEFORE_ONNX,
    NUMPY_BEFORE_TORCH,
    choose_runtime,
)

ONE_SEARCH: dict[str, Any] = {
    "wanted": "auto",
    "is_known": True,
    "is_exact": True,
    "has_onnx": True,
    "is_lasting": False,
    "side": "query",
    "so_far": 1,
    "is_full": False,
}
TEN_DOCUMENTS = {**ONE_SEARCH, "side": "document", "so_far": 10}
FIRST_SYNC = {**TEN_DOCUMENTS, "so_far": 256, "is_full": True}
SERVICE = {**ONE_SEARCH, "is_lasting": True}
BFLOAT16 = {"is_exact": False}
NO_ONNX = {"has_onnx": False}


@pytest.mark.parametrize(
    ("case", "chosen"),
    [
        pytest.param(ONE_SEARCH, "numpy", id="one search"),
        pytest.param({**ONE_SEARCH, **NO_ONNX}, "numpy", id="one search, no ONNX Runtime"),
        pytest.param({**ONE_SEARCH, **BFLOAT16}, "numpy", id="one search, bfloat16"),
        pytest.param({**ONE_SEARCH, "is_known": False}, "torch", id="one search, other model"),
        pytest.param(SERVICE, "onnx", id="service"),
        pytest.param({**SERVICE, **BFLOAT16}, "onnx", id="service, bfloat16"),
        pytest.param({**SERVICE, **NO_ONNX, "so_far": 10**6}, "numpy", id="service, no ONNX"),
        pytest.param({**SERVICE, "is_full": True}, "onnx", id="service, many at once"),
        pytest.param({**SERVICE, "is_known": False}, "torch", id="service, other model"),
        pytest.param(TEN_DOCUMENTS, "numpy", id="ten documents"),
        pytest.param({**TEN_DOCUMENTS, **BFLOAT16}, "numpy", id="ten documents, bfloat16"),
        pytest.param({**TEN_DOCUMENTS, "so_far": NUMPY_BEFORE_ONNX + 1}, "onnx", id="fifty"),
        pytest.param(
            {**TEN_DOCUMENTS, **NO_ONNX, "so_far": NUMPY_BEFORE_TORCH}, "numpy", id="thousand"
        ),
        pytest.param(
            {**TEN_DOCUMENTS, **NO_ONNX, "so_far": NUMPY_BEFORE_TORCH + 1}, "torch", id="more"
        ),
        pytest.param(FIRST_SYNC, "onnx", id="first sync"),
        pytest.param({**FIRST_SYNC, **NO_ONNX}, "torch", id="first sync, no ONNX Runtime"),
        pytest.param({**FIRST_SYNC, **BFLOAT16}, "torch", id="first sync, bfloat16"),
        pytest.param({**FIRST_SYNC, "is_known": False}, "torch", id="first sync, other model"),
        pytest.param({**FIRST_SYNC, "wanted": "numpy"}, "numpy", id="asked for by name"),
        pytest.param({**ONE_SEARCH, "wanted": "torch"}, "torch", id="torch by name"),
    ],
)
def test_few_texts_take_what_starts_fast_and_many_what_works_fast(
    case: dict[str, Any], chosen: str
) -> None:
    assert choose_runtime(**case) == chosen
