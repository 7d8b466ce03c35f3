"""What comes first is set per entity and per scope, and a slip is told."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest

from sync_pipeline.core.entity import Condition, Criterion
from sync_pipeline.core.errors import SettingsError
from sync_pipeline.core.run_order import RunOrder
from sync_pipeline.settings import ScopeSettings, load_settings
from sync_pipeline_tests.settings.conftest import WriteYaml

ENTITY = "entities:\n  - name: material\n    table: materials\n    views: {text: [name]}\n"


def test_the_defaults_are_those_of_the_engine() -> None:
    assert ScopeSettings().as_run_order() == RunOrder()
    assert all(not entity.as_entity().priority for entity in load_settings(env={}).entities)


def test_what_is_set_reaches_the_engine(write_yaml: WriteYaml) -> None:
    config = write_yaml(
        "scopes: {priority: {acme: 10, 7: -3, global: 0}, order: recent, max_wait_minutes: 5}\n"
        f"{ENTITY}"
        "    priority: [{when: {status: [active, draft], gone: null}}, "
        "{column: updated_at, order: descending}, {column: price, order: ascending}]\n"
    )

    settings = load_settings(config=config, env={})

    assert settings.scopes.as_run_order() == RunOrder(
        priorities={"acme": 10, "7": -3, "global": 0},
        is_recent_first=True,
        max_wait=timedelta(minutes=5),
    )
    assert settings.entities[0].as_entity().priority == (
        Criterion(when=(Condition("status", ("active", "draft")), Condition("gone", (None,)))),
        Criterion(column="updated_at", is_descending=True),
        Criterion(column="price"),
    )


def test_priorities_of_scopes_are_written_as_json_in_a_variable() -> None:
    name = "SYNC_PIPELINE__SCOPES__PRIORITY"

    assert load_settings(env={name: '{"acme": 2}'}).scopes.priority == {"acme": 2}
    message = re.escape("""write a mapping such as '{"acme": 10}'""")
    with pytest.raises(SettingsError, match=message):
        load_settings(env={name: "acme=2"})


@pytest.mark.parametrize(
    ("scopes", "message"),
    [
        pytest.param(
            "priority: {Global: 1}",
            "scopes.priority.Global: can be no tenant: 'global' names the shared rows (got "
            "'Global'); fix: name a tenant's id, or global",
            id="global otherwise spelled",
        ),
        pytest.param("priority: {acme: 101}", "is too large (got 101)", id="too great"),
        pytest.param("priority: {acme: yes}", "must be a number", id="yes"),
        pytest.param("priority: {acme: 1.5}", "must be a whole number", id="fraction"),
        pytest.param("order: newest", "scopes.order: is not known here", id="order"),
        pytest.param("max_wait_minutes: 0", "scopes.max_wait_minutes: is too small", id="wait"),
    ],
)
def test_what_orders_no_scopes_is_refused(write_yaml: WriteYaml, scopes: str, message: str) -> None:
    config = write_yaml(f"scopes:\n  {scopes}\n")

    with pytest.raises(SettingsError, match=re.escape(message)):
        load_settings(config=config, env={})


@pytest.mark.parametrize(
    ("priority", "message"),
    [
        pytest.param(
            "{}",
            "entities[0].priority[0].column: is missing, and so is `when` (got null); fix: "
            "write when: {status: active}, or column: updated_at and an order; one of",
            id="nothing",
        ),
        pytest.param(
            "{when: {status: active}, column: price, order: ascending}",
            "entities[0].priority[0].column: stands beside `when`",
            id="both",
        ),
        pytest.param(
            "{column: price}",
            "entities[0].priority[0].order: is missing (got null); fix: write ascending "
            "(the smallest or oldest first) or descending (the largest or newest first)",
            id="no order",
        ),
        pytest.param(
            "{when: {status: active}, order: ascending}",
            "entities[0].priority[0].order: has no use with `when`",
            id="order of conditions",
        ),
        pytest.param(
            "{column: price DESC, order: ascending}",
            "entities[0].priority[0].column: is not a safe column name",
            id="an expression",
        ),
        pytest.param(
            '{when: {"a\' OR 1=1 --": 1}}', "is not a safe column name", id="an injection"
        ),
        pytest.param(
            "{when: {status: 1.5}}", "is no value to compare with", id="no value to compare with"
        ),
        pytest.param(
            "{colum: price, order: ascending}", "did you mean 'column'?", id="a slip of the pen"
        ),
    ],
)
def test_what_ranks_no_rows_is_refused(write_yaml: WriteYaml, priority: str, message: str) -> None:
    config = write_yaml(f"{ENTITY}    priority: [{priority}]\n")

    with pytest.raises(SettingsError, match=re.escape(message)):
        load_settings(config=config, env={})
