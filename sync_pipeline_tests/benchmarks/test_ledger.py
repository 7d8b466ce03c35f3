"""What the run of a model change takes for right and wrong."""

from __future__ import annotations

import pytest

from benchmarks.acceptance.ledger import Fact, Key, Ledger, compare, fact_of, key_of, read_payload
from benchmarks.acceptance.reader import Question, faults_of, questions_about
from benchmarks.catalogue import SourceRow

SAND = SourceRow("material", "1", "acme", "Washed sand", "Sand", None, "t", "12.50")
BRICK = SourceRow("material", "2", None, "Red brick", "Bricks", "Kiln", "pcs", "0.80")
WORK = SourceRow("work", "1", "acme", "Laying bricks", "Masonry", None, "m2", "40.00")
ROWS = (SAND, BRICK, WORK)

Facts = dict[Key, Fact]


def facts() -> Facts:
    return {key_of(row): fact_of(row) for row in ROWS}


def hit(row: SourceRow, **changes: object) -> dict[str, object]:
    """As the service sends it."""
    scope_key, text, price = fact_of(row)
    payload = {"type": row.entity, "dbId": row.id, "scope_key": scope_key, "price": price}
    kind = "global" if row.tenant_id is None else "tenant"
    return {
        "document_id": f"{kind}-{row.entity}-{row.id}",
        "text": text,
        "payload": payload,
    } | changes


def test_what_is_searchable_of_a_row_is_what_its_document_says() -> None:
    assert fact_of(SAND) == ("acme", "Washed sand Sand t", 12.5)
    assert fact_of(BRICK) == ("global", "Red brick Bricks Kiln pcs", 0.8)
    assert fact_of(WORK) == ("acme", "Laying bricks Masonry m2", None)
    payload = {"type": "work", "dbId": "1", "scope_key": "acme", "text": fact_of(WORK).text}
    assert read_payload(payload) == (key_of(WORK), fact_of(WORK))


def test_an_index_that_is_as_expected_differs_in_nothing() -> None:
    difference = compare(facts(), facts().items())

    assert (difference.documents, difference.total, difference.examples) == (3, 0, [])


@pytest.mark.parametrize(
    ("found", "counts"),
    [
        pytest.param([*facts().items()][1:], {"lost": 1}, id="one is missing"),
        pytest.param(
            [*facts().items(), (Key("work", "9"), fact_of(WORK))],
            {"resurrected": 1},
            id="one too many",
        ),
        pytest.param([*facts().items(), *facts().items()][:4], {"twice": 1}, id="one twice"),
        pytest.param(
            [*(facts() | {key_of(SAND): fact_of(SAND._replace(price="1"))}).items()],
            {"wrong": 1},
            id="an old price",
        ),
        pytest.param(
            [*(facts() | {key_of(SAND): fact_of(SAND._replace(tenant_id="globex"))}).items()],
            {"wrong": 1},
            id="another owner",
        ),
    ],
)
def test_an_index_that_is_not_is_found_out(
    found: list[tuple[Key, Fact]], counts: dict[str, int]
) -> None:
    assert compare(facts(), found).counts == counts


def test_a_row_that_was_written_is_expected_as_it_is_now() -> None:
    ledger = Ledger(ROWS)
    dearer = SAND._replace(price="13.00")

    with ledger.writing(key_of(SAND), fact_of(dearer)):
        assert ledger.expected() == facts()
    with ledger.writing(key_of(BRICK), None):
        pass

    assert ledger.expected() == {key_of(SAND): fact_of(dearer), key_of(WORK): fact_of(WORK)}


def test_a_row_is_judged_once_a_sync_has_ended_that_began_after_it_was_written() -> None:
    ledger = Ledger(ROWS)
    with ledger.writing(key_of(SAND), None):
        during = ledger.why_wrong(key_of(SAND), fact_of(SAND), settled=ledger.settled)
    before = ledger.why_wrong(key_of(SAND), fact_of(SAND), settled=ledger.settled)

    ledger.settle(began=1e12)
    after = ledger.why_wrong(key_of(SAND), fact_of(SAND), settled=ledger.settled)

    assert (during, before, after) == (None, None, "resurrected")


def test_a_row_that_nobody_wrote_is_judged_from_the_first_search_on() -> None:
    ledger = Ledger(ROWS)
    cheaper = fact_of(SAND._replace(price="1.00"))

    assert ledger.why_wrong(key_of(SAND), cheaper, settled=ledger.settled) == "outdated"
    assert ledger.why_wrong(key_of(SAND), fact_of(SAND), settled=ledger.settled) is None


QUESTION = Question(tenant="acme", text=fact_of(SAND).text, document_id="tenant-material-1")
FOREIGN = SAND._replace(id="7", tenant_id="globex")
GONE = SAND._replace(id="8")


@pytest.mark.parametrize(
    ("hits", "faults"),
    [
        pytest.param([hit(BRICK), hit(SAND)], [], id="a good answer"),
        pytest.param([], ["empty"], id="nothing"),
        pytest.param([hit(BRICK)], ["missed"], id="without what was asked for"),
        pytest.param([hit(SAND), hit(FOREIGN)], ["foreign"], id="another tenant's"),
        pytest.param([hit(SAND), hit(GONE)], ["resurrected"], id="a deleted one"),
        pytest.param([hit(SAND, text="Sand")], ["outdated"], id="an old text"),
    ],
)
def test_an_answer_is_looked_at_hit_by_hit(
    hits: list[dict[str, object]], faults: list[str]
) -> None:
    ledger = Ledger([*ROWS, FOREIGN])

    assert faults_of(QUESTION, hits, ledger=ledger, settled=ledger.settled) == faults


def test_a_shared_row_is_asked_for_as_each_tenant_in_turn() -> None:
    questions = questions_about([SAND, BRICK, BRICK], tenants=["acme", "globex"])

    assert [(it.tenant, it.document_id) for it in questions] == [
        ("acme", "tenant-material-1"),
        ("acme", "global-material-2"),
        ("globex", "global-material-2"),
    ]
