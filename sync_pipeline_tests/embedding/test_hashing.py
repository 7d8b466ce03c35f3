"""Vectors without meaning."""

from __future__ import annotations

import logging
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync_pipeline.embedding.hashing import HashingEmbedder

PROGRAM = """
import logging
logging.basicConfig(format="%(levelname)s %(message)s")
from sync_pipeline.embedding.hashing import HashingEmbedder
HashingEmbedder().embed(["a"])
HashingEmbedder().embed(["b"])
"""


@pytest.mark.process
def test_it_warns_loudly_once_per_process() -> None:
    printed = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=60
    ).stderr

    assert printed.count("WARNING the hashing embedder is in use") == 1
    assert "have no meaning" in printed


def test_making_one_does_not_warn(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        HashingEmbedder()

    assert caplog.records == []


def test_texts_that_share_words_are_nearer() -> None:
    plaster, plaster_too, paint = (
        HashingEmbedder()
        .embed(["штукатурка гипсовая 30 кг", "штукатурка гипсовая 25 кг", "краска фасадная 9 л"])
        .vectors
    )

    assert plaster @ plaster_too > 0.5 > abs(float(plaster @ paint))


@given(texts=st.lists(st.text(), max_size=8), dimension=st.integers(8, 64))
def test_every_text_gets_a_direction(texts: list[str], dimension: int) -> None:
    encodable = [text.encode(errors="ignore").decode() for text in texts]

    vectors = HashingEmbedder(dimension=dimension).embed(encodable).vectors

    assert vectors.shape == (len(texts), dimension)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)


def test_too_few_dimensions_are_refused() -> None:
    with pytest.raises(ValueError, match="7 dimensions are fewer than 8"):
        HashingEmbedder(dimension=7)


def test_the_vectors_of_this_version_never_change() -> None:
    vector = HashingEmbedder(dimension=8).embed(["Gypsum plaster"]).vectors[0]

    assert HashingEmbedder().model_id == "hashing-384-v1"
    assert (vector * np.sqrt(14)).round(4).tolist() == [3, -1, -1, -1, -1, 1, 0, 0]
