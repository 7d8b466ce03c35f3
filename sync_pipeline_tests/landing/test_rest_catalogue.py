"""From a REST system to searchable: what costs nothing when nothing has changed, and what changes.

With ``SYNC_PIPELINE_LANDING_PRODUCTS=109000`` it is the size of a real catalogue: `make landing`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from sync_pipeline_tests.landing.program import HASHING, Program
from sync_pipeline_tests.landing.told import tell
from sync_pipeline_tests.origins.rest_server import (
    Catalogue,
    Credentials,
    Erp,
    product_of,
    running_erp,
)

COUNT = int(os.environ.get("SYNC_PIPELINE_LANDING_PRODUCTS", "2000"))
IS_LONG = COUNT > 2000

pytestmark = [pytest.mark.process, pytest.mark.slow, pytest.mark.timeout(1800 if IS_LONG else 300)]


def settings_of(erp: Erp) -> dict[str, Any]:
    """What a user writes."""
    return {
        "connections": {
            "erp": {
                "kind": "rest",
                "base_url": erp.url,
                "login": {
                    "path": "users/authenticate",
                    "json": {"tokenID": {"env": "ERP_ID"}, "tokenHash": {"env": "ERP_HASH"}},
                    "token": "token",
                    "header": "X-Token",
                },
            }
        },
        "landings": [
            {
                "name": "products",
                "connection": "erp",
                "table": "landing.products",
                "request": {"path": "data/products"},
                "records": "data",
                "total": "total",
                "pages": {"by": "offset", "size": 200, "overlap": 2},
                "incremental": {"param": "modified_since", "field": "last_modified"},
                "id": "ID",
                "required": ["Nazev"],
                "owner": {"tenant_field": "Firma"},
                "gone_when": {"field": "Smazano", "is": True},
                "columns": {
                    "name": "Nazev",
                    "description": "Popis",
                    "price": {"field": "Cena", "type": "numeric"},
                    "tags": {"field": "Stitky", "join": ", "},
                    "tag_list": {"field": "Stitky", "type": "jsonb"},
                    "stock_prague": {"field": "Sklad.praha", "type": "integer"},
                },
                "deletes": {"confirm": "lookup", "lookup": "data/products/{id}"},
            }
        ],
        "entities": [
            {
                "name": "product",
                "table": "landing.products",
                "updated_at": "updated_at",
                "views": {"text": ["name", "description", "tags"]},
                "payload": {"price": "price", "tags": "tag_list"},
            }
        ],
    }


@pytest.fixture
def erp() -> Iterator[Erp]:
    with running_erp(Catalogue.of(COUNT), credentials=Credentials()) as erp:
        yield erp


@pytest.fixture
def run(short_folder: Path, database_url: str, erp: Erp) -> Program:
    credentials = erp.credentials
    assert credentials is not None
    return Program.of(
        short_folder,
        settings_of(erp),
        database_url=database_url,
        environment={
            **HASHING,
            "ERP_ID": credentials.token_id,
            "ERP_HASH": credentials.token_hash,
        },
    )


@contextmanager
def written(engine: Engine) -> Iterator[dict[str, int]]:
    """What is written to the table, and told by the feed, inside the ``with``."""
    told: dict[str, int] = {}
    query = text(
        "SELECT n_tup_ins + n_tup_upd + n_tup_del AS tuples, "
        "(SELECT count(*) FROM sync_pipeline.change_event) AS events FROM "
        "pg_stat_all_tables WHERE schemaname = 'landing' AND relname = 'products'"
    )

    def read() -> dict[str, int]:
        with engine.connect() as connection:
            # What other sessions have counted is seen once they have ended.
            return dict(connection.execute(query).mappings().one())

    before = read()
    yield told
    after = read()
    told.update({name: after[name] - before[name] for name in after})


def test_an_unchanged_catalogue_costs_nothing_and_a_changed_one_what_has_changed(
    run: Program, erp: Erp, engine: Engine
) -> None:
    first = run("land", "products")["landings"][0]
    run("feed", "install")
    synced = run("sync", "all")
    with written(engine) as unchanged:
        again = run("land", "products")["landings"][0]
    skipped = run("sync", "all")

    assert (first["rows"], first["new"], first["rejected"]) == (COUNT, COUNT, {})
    assert synced["totals"]["documents"] == COUNT
    assert (again["unchanged"], again["complete"]) == (COUNT, True)
    assert unchanged == {"tuples": 0, "events": 0}
    assert {scope["status"] for scope in skipped["scopes"]} == {"skipped"}

    some = COUNT // 100
    for number in range(some):
        erp.catalogue.update(f"{number * 97:08}", Nazev=f"Přejmenováno {number}")
    erp.catalogue.update(f"{1:08}", Cena=1.5)
    erp.catalogue.insert(product_of(COUNT + 5, Nazev="Zcela nový výrobek"))
    erp.catalogue.delete(f"{50:08}")
    erp.catalogue.bury(f"{51:08}")
    with written(engine) as changed:
        incremental = run("land", "products", "--mode", "incremental")["landings"][0]
    with written(engine) as gone:
        full = run("land", "products")["landings"][0]
    resynced = run("sync", "all", "--mode", "incremental")

    assert (incremental["mode"], incremental["new"], incremental["changed"]) == (
        "incremental",
        1,
        some + 1,
    )
    assert incremental["deleted"] == 1  # it says so itself
    assert changed == {"tuples": some + 3, "events": some + 3}
    assert (full["new"], full["changed"], full["deleted"]) == (0, 0, 1)
    assert gone == {"tuples": 1, "events": 1}
    assert resynced["totals"]["embedded_texts"] == some + 1
    assert resynced["totals"]["payload_changed"] == 1
    assert resynced["totals"]["deleted"] == 2
    assert run("verify", "all")["ok"]
    tell(
        "an unchanged catalogue and a changed one",
        products=COUNT,
        requests=dict(erp.requests),
        fetch_seconds=first["fetch_seconds"],
        apply_seconds=first["apply_seconds"],
        unchanged=unchanged,
        changed=changed,
        embedded=resynced["totals"]["embedded_texts"],
    )


def test_no_secret_is_told_or_kept(run: Program, erp: Erp, engine: Engine) -> None:
    assert erp.credentials is not None
    run("land", "products")
    run.environment["ERP_HASH"] = "another-secret-that-is-wrong"
    failed = run_failing(run, "land", "products")

    with engine.connect() as connection:
        kept = "".join(
            str(row)
            for table in ("landing_cursor", "landing_pass", "landing_rejected")
            for row in connection.execute(text(f"TABLE sync_pipeline.{table}"))
        )
    files = "".join(
        path.read_text(errors="ignore")
        for path in (run.folder / "home").rglob("*")
        if path.is_file() and path.stat().st_size < 1_000_000
    )
    for secret in (erp.credentials.token_hash, "another-secret-that-is-wrong"):
        assert secret not in failed
        assert secret not in kept
        assert secret not in files
    assert "401" in failed


def run_failing(run: Program, *words: str) -> str:
    """What a command says that cannot do what it should."""
    with pytest.raises(AssertionError) as failed:
        run(*words)
    return str(failed.value)
