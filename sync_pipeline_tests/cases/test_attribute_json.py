"""Case attribute-json: attributes of any kind in one column, money in money (scenario S64)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pytest
from sqlalchemy import Engine

from sync_pipeline.core.entity import Entity
from sync_pipeline.core.scope import Scope
from sync_pipeline.engine.steps.export import preview_export
from sync_pipeline_tests.reliability.site import Site

TENANT: Final = "9007199254740993"
DEVICE: Final = Entity(
    name="device",
    table="devices",
    views=(("text", ("name",)),),
    payload=(
        ("attributes", "attributes"),
        ("listPrice", "list_price"),
        ("sizes", "sizes"),
        ("stock", "stock"),
        ("delivery", "delivery"),
        ("ip", "ip"),
        ("tags", "tags"),
    ),
)
DEVICES: Final = (
    """CREATE TABLE devices (id text PRIMARY KEY, tenant_id bigint, is_global boolean DEFAULT false,
    name text, attributes jsonb, list_price money, sizes numeric[], stock int4range,
    delivery interval, ip inet, tags jsonb)""",
    r"""INSERT INTO devices
    (id, tenant_id, name, attributes, list_price, sizes, stock, delivery, ip, tags) VALUES
    ('A', 9007199254740993, 'meter A',
     '{"imei"\: 356938035643809, "iccid"\: 89490200001234567890}',
     12.5, '{1.5, 2}', '[1,5)', '1 day 2 hours', '10.0.0.1', '["a", "b"]'),
    ('B', 9007199254740993, 'meter B', '{"imei"\: "356938035643809"}',
     12.5, '{1.5, NaN}', '[1,5)', '1 day', '10.0.0.2/24', '"plain"'),
    ('C', 9007199254740993, 'meter C', '{"a.b"\: {"c[0]"\: 1}, ""\: 2}',
     NULL, NULL, 'empty', NULL, NULL, 'null'),
    ('D', 9007199254740993, 'meter D', '{"big"\: 1e400}',
     1, '{}', NULL, '-1 mon', NULL, '[]')""",
)
EXPECTED: Final[dict[str, tuple[Any, ...]]] = {
    "A": (
        {"imei": 356938035643809, "iccid": "89490200001234567890"},
        *("$12.50", [1.5, 2], "[1,5)", "P1DT2H", "10.0.0.1/32", ["a", "b"]),
    ),
    "B": (
        {"imei": "356938035643809"},
        *("$12.50", [1.5, None], "[1,5)", "P1D", "10.0.0.2/24", "plain"),
    ),
    "C": ({"a.b": {"c[0]": 1}, "": 2}, None, None, "empty", None, None, None),
    "D": ({"big": f"{10**400}"}, "$1.00", [], None, "P-1M", None, []),
}


@pytest.fixture
def devices(engine: Engine, tmp_path: Path) -> Site:
    """The table of the case."""
    site = Site(engine, tmp_path, entity=DEVICE)
    site.sql(*DEVICES)
    return site


def test_every_row_is_synced_and_every_value_is_exact(devices: Site) -> None:
    report = devices.run(TENANT)

    fields = [field for field, _ in DEVICE.payload]
    found = {
        row_id: tuple(payload[field] for field in fields)
        for row_id, payload in devices.payloads(TENANT).items()
    }
    assert (report.documents, report.quarantined, report.failed) == (4, 0, 0)
    assert found == EXPECTED
    assert devices.is_clean(TENANT)


def test_what_could_not_be_kept_is_named_by_entity_and_field(
    devices: Site, caplog: pytest.LogCaptureFixture
) -> None:
    devices.run(TENANT)

    (message,) = [record.getMessage() for record in caplog.records]
    assert "entity 'device': payload field 'sizes' has null" in message
    assert "1 values in 1 rows" in message


def test_what_could_not_be_kept_is_counted(devices: Site) -> None:
    with preview_export(devices.sync, scope=Scope(TENANT), mode="full") as export:
        counted = (export.counts.documents, export.counts.dropped_values)

    assert counted == (4, 1)


def test_a_second_sync_writes_nothing(devices: Site) -> None:
    devices.run(TENANT)

    assert devices.run(TENANT).unchanged == 4
