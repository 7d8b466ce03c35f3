"""Rules that follow other libraries follow them closely."""

from __future__ import annotations

from typing import get_args

import pytest
from dagster._utils.schedules import is_valid_cron_schedule
from pydantic import ValidationError

from sync_pipeline.core.cleanup import CleanupPolicy
from sync_pipeline.core.entity import Entity
from sync_pipeline.core.point import BM25_VECTOR
from sync_pipeline.embedding.bm25 import Bm25Encoder
from sync_pipeline.settings import EntitySettings, Settings, SyncSettings, rules
from sync_pipeline.settings.calendar_rules import why_not_a_cron, why_not_a_timezone
from sync_pipeline.settings.sections import Bm25Language


@pytest.mark.parametrize(
    "cron",
    [
        "0 3 * * *",
        "*/15 * * * *",
        "0 3,15 1-7 * mon-fri",
        "5 4 * jan,JUL 0",
        "0-30/10 2 29 2 *",
        "0  3 * * 7",
        "59 23 31 12 SUN",
    ],
)
def test_an_accepted_cron_expression_suits_dagster(cron: str) -> None:
    assert why_not_a_cron(cron) is None
    assert is_valid_cron_schedule(cron)


@pytest.mark.parametrize(
    "cron",
    [
        pytest.param("", id="nothing"),
        pytest.param("0 3 * *", id="four fields"),
        pytest.param("0 0 3 * * *", id="six fields"),
        pytest.param("60 3 * * *", id="minute 60"),
        pytest.param("0 24 * * *", id="hour 24"),
        pytest.param("0 3 0 * *", id="day 0"),
        pytest.param("0 3 * 13 *", id="month 13"),
        pytest.param("0 3 * foo *", id="no month"),
        pytest.param("0 3 * * 8", id="weekday 8"),
        pytest.param("*/0 3 * * *", id="step of zero"),
        pytest.param("0 5-3 * * *", id="backwards"),
        pytest.param("0 3,,4 * * *", id="empty part"),
        pytest.param("0 3 30 2 *", id="30 February"),
        pytest.param("0 3 31 APR *", id="31 April"),
        pytest.param("٣ 3 * * *", id="digits of another script"),
    ],
)
def test_a_cron_expression_that_never_runs_is_refused(cron: str) -> None:
    assert why_not_a_cron(cron) is not None


@pytest.mark.parametrize("name", ["UTC", "Europe/Prague", "Asia/Almaty"])
def test_a_time_zone_is_known(name: str) -> None:
    assert why_not_a_timezone(name) is None


@pytest.mark.parametrize("name", ["", "Mars/Phobos", "../../etc/passwd", "Europe", "+03:00"])
def test_what_is_no_time_zone_is_refused(name: str) -> None:
    assert why_not_a_timezone(name) is not None


@pytest.mark.parametrize("language", get_args(Bm25Language))
def test_every_offered_language_can_be_encoded(language: str) -> None:
    assert Bm25Encoder(language).encode_query("Ротбанд 30").indices


def test_the_reserved_view_name_is_that_of_the_sparse_vector() -> None:
    assert rules.BM25_VECTOR == BM25_VECTOR


def test_the_deletion_limits_are_those_of_the_policy() -> None:
    policy, settings = CleanupPolicy(), SyncSettings()

    assert settings.max_deleted_fraction == policy.max_deleted_fraction
    assert settings.min_deletions_guarded == policy.min_deletions_guarded


def test_an_entity_keeps_the_order_of_its_columns_for_the_engine() -> None:
    entity = EntitySettings(
        name="tool",
        table="s.tools",
        views={"b": ("two", "one"), "a": ("three",)},
        payload={"y": "one", "x": "four"},
    )

    assert entity.as_entity() == Entity(
        name="tool",
        table="s.tools",
        views=(("b", ("two", "one")), ("a", ("three",))),
        payload=(("y", "one"), ("x", "four")),
    )


def test_settings_cannot_change() -> None:
    settings = Settings()

    with pytest.raises(ValidationError, match="frozen"):
        settings.sync.part_rows = 5


def test_settings_made_in_code_are_checked_too() -> None:
    entity = Settings().entities[0]

    with pytest.raises(ValidationError, match="has two entities called 'material'"):
        Settings(entities=(entity, entity))
