"""The ERP of the demo: it is as such systems are, in a way that is the same every time."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import yaml

from sync_pipeline.sample.erp import (
    ASKS_TO_WAIT_AT,
    COMMA_AT,
    FAILS_AT,
    PASSWORD,
    REQUESTS_PER_TOKEN,
    USER,
    Answer,
    Erp,
    read_products,
    running_erp,
    settings_text,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LIST = "/api/v1/products"
CREDENTIALS = {"user": USER, "password": PASSWORD}


@pytest.fixture
def erp() -> Erp:
    return Erp(read_products(now=NOW), now=lambda: NOW + timedelta(minutes=1))


def log_in(erp: Erp) -> dict[str, str]:
    body: Any = erp.answer("/api/v1/login", headers={}, body=CREDENTIALS).body
    return {"x-token": body["token"]}


def ask(erp: Erp, target: str) -> Any:
    """What it answers to somebody who has just signed in; faults of the list are passed over."""
    answer = Answer(status=500)
    while answer.status in (429, 500):
        answer = erp.answer(target, headers=log_in(erp))
    assert answer.status == 200
    return answer.body


def test_the_list_has_every_product_and_three_records_that_are_not_so_good() -> None:
    products = read_products(now=NOW)

    ids = Counter(it["ID"] for it in products)
    texts = [it["Price"] for it in products if isinstance(it["Price"], str)]

    assert len(products) > 1_000
    assert ids.pop(None) == 1
    assert [count for count in ids.values() if count > 1] == [2]
    assert [text.count(",") for text in texts] == [1]
    assert all(it["Modified"] <= NOW.isoformat() for it in products)
    assert sorted(ids) == list(dict.fromkeys(it["ID"] for it in products if it["ID"]))


def test_nobody_is_answered_without_a_token_that_is_still_good(erp: Erp) -> None:
    headers = log_in(erp)

    refused = erp.answer(LIST, headers={}).status
    found = [erp.answer(f"{LIST}/P-0001", headers=headers).status for _ in range(20)]

    assert refused == 401
    assert found[: REQUESTS_PER_TOKEN - 1] == [200] * (REQUESTS_PER_TOKEN - 1)
    assert set(found[REQUESTS_PER_TOKEN:]) == {401}
    assert erp.answer("/api/v1/login", headers={}, body={"user": USER}).status == 401


def test_one_request_of_the_list_is_told_to_wait_and_one_fails(erp: Erp) -> None:
    answers = [erp.answer(LIST, headers=log_in(erp)) for _ in range(2 * FAILS_AT)]

    wrong = {number: it.status for number, it in enumerate(answers, 1) if it.status != 200}
    assert wrong == {ASKS_TO_WAIT_AT: 429, FAILS_AT: 500}
    assert answers[ASKS_TO_WAIT_AT - 1].headers == {"Retry-After": "1"}


def test_pages_and_changes_are_cut_from_one_list(erp: Erp) -> None:
    everything = ask(erp, f"{LIST}?limit=5000")["data"]
    page = ask(erp, f"{LIST}?offset=100&limit=50")
    erp.change("P-0007", Price=1)

    changed = ask(erp, f"{LIST}?modified_since={NOW.isoformat().replace('+', '%2B')}")

    assert page == {"data": everything[100:150], "total": len(everything)}
    assert [it["ID"] for it in changed["data"]] == ["P-0007"]
    assert changed["total"] == 1


def test_a_deleted_product_leaves_nothing_behind(erp: Erp) -> None:
    erp.add("P-9001", erp.find("plasterboard"), Name="Another one")
    erp.delete("P-0001")

    gone = erp.answer(f"{LIST}/P-0001", headers=log_in(erp))

    assert gone.status == 404
    assert ask(erp, f"{LIST}/P-9001")["Name"] == "Another one"
    assert "P-0001" not in erp.ids
    assert erp.asked["look-ups"] == 2
    assert len([it for it in erp.ids if it.startswith("P-9")]) == 1


def test_the_price_that_is_a_text_is_in_the_place_that_is_said() -> None:
    products = read_products(now=NOW)

    (found,) = [it for it in products if isinstance(it["Price"], str)]

    assert found["ID"] == f"P-{COMMA_AT + 1:04}"


def test_the_settings_keep_a_folder_whatever_it_is_called() -> None:
    text = settings_text(url="http://127.0.0.1:1/api/v1", home='/tmp/a "b": {c}')  # noqa: S108 - never opened

    assert yaml.safe_load(text)["home"] == '/tmp/a "b": {c}'  # noqa: S108 - never opened


@pytest.mark.process
def test_it_listens_on_this_machine_for_the_length_of_the_with() -> None:
    with running_erp() as erp:
        signed_in = httpx.post(f"{erp.url}/login", json=CREDENTIALS).json()
        page = httpx.get(f"{erp.url}/products", headers={"X-Token": signed_in["token"]}).json()

    assert erp.url.startswith("http://127.0.0.1:")
    assert len(page["data"]) == 100
    with pytest.raises(httpx.ConnectError):
        httpx.get(erp.url, timeout=5)
