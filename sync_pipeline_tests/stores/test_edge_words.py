"""The words beside an embedded index: what crashes, other processes and earlier releases leave."""

from __future__ import annotations

from pathlib import Path

import pytest
import qdrant_edge as edge

from sync_pipeline.core.payload import TEXT
from sync_pipeline.stores.edge.store import lease_edge_store
from sync_pipeline.stores.edge.words import WordList
from sync_pipeline_tests.stores.samples import COLLECTION, SPEC, make_point


@pytest.fixture
def words(tmp_path: Path) -> WordList:
    made = WordList(tmp_path / "some.words")
    made.make(["Gypsum plaster, 30 kg", "Плита гипсовая"])
    return made


def test_words_are_found_by_their_beginning_the_shortest_first(words: WordList) -> None:
    words.learn(["plast PLASTIC plasters"])

    assert words.beginning_with("plas", limit=3) == ["plast", "plaster", "plastic"]
    assert words.beginning_with("гипс", limit=9) == ["гипсовая"]
    assert words.beginning_with("zinc", limit=9) == []


def test_a_line_that_was_cut_off_spoils_no_other_word(words: WordList, tmp_path: Path) -> None:
    with (tmp_path / "some.words").open("ab") as file:
        file.write("\nкаб".encode()[:-1])

    words.learn(["pipe"])

    assert words.beginning_with("pi", limit=9) == ["pipe"]
    assert WordList(tmp_path / "some.words").beginning_with("pi", limit=9) == ["pipe"]


def test_what_another_process_added_or_made_again_is_seen(words: WordList, tmp_path: Path) -> None:
    other = WordList(tmp_path / "some.words")
    assert words.beginning_with("ce", limit=9) == []

    other.learn(["cement"])
    assert words.beginning_with("ce", limit=9) == ["cement"]

    other.make(["sand"])
    assert words.beginning_with("ce", limit=9) == []
    assert words.beginning_with("s", limit=9) == ["sand"]


def test_nothing_is_noted_where_nobody_completes(tmp_path: Path) -> None:
    words = WordList(tmp_path / "some.words")

    words.learn(["cement"])

    assert not words.is_made
    assert words.beginning_with("ce", limit=9) == []


def completed(path: Path, typed: str) -> list[str]:
    with lease_edge_store(path)() as store:
        points = store.complete(
            COLLECTION, typed, scope_keys=["acme"], entity_types=["material"], limit=9
        )
    return sorted(point.text for point in points)


def words_files(path: Path) -> list[Path]:
    return list(path.glob("collections/*.words"))


@pytest.fixture
def written(tmp_path: Path) -> Path:
    path = tmp_path / "index"
    with lease_edge_store(path)() as store:
        store.ensure_collection(SPEC)
        store.upsert(COLLECTION, [make_point(1, text="Gypsum plaster", type="material")])
    return path


def test_an_index_over_beginnings_of_words_of_an_earlier_release_is_replaced(written: Path) -> None:
    shard = edge.EdgeShard.load(str(written / "collections" / COLLECTION))
    beginnings = edge.TextIndexParams(tokenizer=edge.TokenizerType.Prefix, lowercase=True)
    shard.update(edge.UpdateOperation.create_field_index(TEXT, beginnings))
    shard.close()

    with lease_edge_store(written)() as store:
        store.index_texts(COLLECTION)

    assert completed(written, "plas") == ["Gypsum plaster"]
    shard = edge.EdgeShard.load(str(written / "collections" / COLLECTION))
    params = shard.info().payload_schema[TEXT].params
    shard.close()
    assert isinstance(params, edge.TextIndexParams)
    assert params.tokenizer == edge.TokenizerType.Word


def test_a_list_that_was_lost_is_made_again(written: Path) -> None:
    with lease_edge_store(written)() as store:
        store.index_texts(COLLECTION)
    (lost,) = words_files(written)
    lost.unlink()
    assert completed(written, "plas") == []

    with lease_edge_store(written)() as store:
        store.index_texts(COLLECTION)

    assert completed(written, "plas") == ["Gypsum plaster"]


def test_a_list_that_a_dropped_collection_left_is_not_taken_for_an_index(written: Path) -> None:
    with lease_edge_store(written)() as store:
        store.index_texts(COLLECTION)
        (left,) = words_files(written)
        content = left.read_bytes()
        store.drop_collection(COLLECTION)
        assert words_files(written) == []
        store.ensure_collection(SPEC)
        left.write_bytes(content)
        store.index_texts(COLLECTION)
        store.upsert(COLLECTION, [make_point(2, text="Plastic pipe", type="material")])

    assert completed(written, "pla pi") == ["Plastic pipe"]


def test_a_payload_that_changes_brings_its_words(written: Path) -> None:
    with lease_edge_store(written)() as store:
        store.index_texts(COLLECTION)
        point = make_point(1, text="Gypsum board", type="material")
        store.write_payloads(COLLECTION, [(point.point_id, point.payload)])

    assert completed(written, "boa") == ["Gypsum board"]
    assert completed(written, "plas") == []
