"""Landings: what is written leads to what engine and adapters take; what cannot work is told."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest
import yaml

from sync_pipeline.core.cleanup import CleanupPolicy
from sync_pipeline.core.entity import Condition
from sync_pipeline.core.errors import SettingsError, UnknownLandingError
from sync_pipeline.core.landing.origin_options import (
    ByKey,
    ByLink,
    ByOffset,
    ByPage,
    ChangesSince,
    LoaderSign,
    MongoRequest,
    Paging,
    RestRequest,
    TableRequest,
)
from sync_pipeline.core.landing.spec import (
    OWN_COLUMNS,
    ColumnRule,
    ColumnType,
    Confirmation,
    DeletionRules,
    FieldTest,
    Landing,
    Owner,
    TimeOfChange,
)
from sync_pipeline.settings import (
    AnyLandingSettings,
    MongoLanding,
    RestLanding,
    Settings,
    TableLanding,
    load_settings,
)
from sync_pipeline_tests.settings.conftest import WriteYaml

Kind = TypeVar("Kind", RestLanding, MongoLanding, TableLanding)

PRODUCTS = """
connections:
  bluejet:
    kind: rest
    base_url: https://erp.example.com/api/v1
    login:
      path: users/authenticate
      json: {tokenID: {env: BLUEJET_API_TOKEN_ID}, tokenHash: {env: BLUEJET_API_TOKEN_HASH}}
      token: token
      header: X-Token
    concurrent_requests: 3
    requests_per_minute: null
    longest_wait_seconds: 900
landings:
  - name: products
    connection: bluejet
    table: landing.products
    request: {path: data/products, params: {fields: all}}
    records: data
    total: total
    pages: {by: offset, size: 200, overlap: 2}
    incremental: {param: modified_since, field: last_modified, overlap_seconds: 600,
                  timezone: Europe/Prague}
    id: ID
    required: [Nazev]
    owner: {global: true}
    gone_when: {field: Smazano, is: true}
    columns:
      name: Nazev
      description: Popis
      price: {field: Cena, type: numeric, decimal: ","}
      tags: {field: Stitky, join: ", "}
      tag_list: {field: Stitky, type: jsonb}
      stock_prague: {field: Sklad.praha, type: integer}
    deletes: {confirm: lookup, lookup: "data/products/{id}", max_deleted_fraction: 0.1}
    schedule: {full: "0 1 * * *", incremental: "*/15 * * * *"}
entities:
  - {name: product, table: landing.products, updated_at: updated_at,
     views: {text: [name, description, tags]}, payload: {price: price, tags: tag_list}}
"""

TOOLS = """
connections:
  directory: {kind: mongodb, url: {env: MONGODB_URL}, database: directory}
landings:
  - name: tools
    connection: directory
    table: landing.tools
    collection: tools
    id: id
    where: {status: published}
    owner: {global: true}
    required: [name]
    columns:
      name: name
      categories: {field: categories, join: ", "}
      status: status
      facets: {fields: [functionality, categories, interface, deployment], type: jsonb}
    follow: change_stream
    schedule: {full: "0 2 * * *"}
entities:
  - name: tool
    table: landing.tools
    updated_at: updated_at
    views: {text: [name], usecases: [categories], interface: [status]}
    payload: {facets: facets}
"""

LOADED = """
landings:
  - name: products
    from: raw.products
    table: landing.products
    id: id
    owner: {tenant: acme}
    columns: {name: name}
    complete_when: {table: raw._dlt_loads, where: {status: 0}, load_column: load_id,
                    row_column: _dlt_load_id}
"""

ENV = {
    "BLUEJET_API_TOKEN_ID": "token-id",
    "BLUEJET_API_TOKEN_HASH": "token-hash",
    "MONGODB_URL": "mongodb://app:secret@db.example/?replicaSet=rs",
}

REST: dict[str, Any] = {
    "name": "products",
    "connection": "erp",
    "request": {"path": "products"},
    "pages": {"by": "offset"},
    "id": "ID",
    "owner": {"global": True},
    "columns": {"name": "Nazev"},
}
MONGO: dict[str, Any] = {
    "name": "tools",
    "connection": "directory",
    "collection": "tools",
    "owner": {"global": True},
    "columns": {"name": "name"},
}
TABLE: dict[str, Any] = {
    "name": "loaded",
    "from": "raw.products",
    "id": "id",
    "owner": {"global": True},
    "columns": {"name": "name"},
}
CONNECTIONS: dict[str, Any] = {
    "erp": {"kind": "rest", "base_url": "https://erp.example"},
    "directory": {"kind": "mongodb", "url": "mongodb://db.example", "database": "d"},
}


def settings_of(*landings: dict[str, Any], **more: Any) -> Settings:
    """Settings with these landings, read as from a file."""
    return load_settings(
        config=written({"connections": CONNECTIONS, "landings": list(landings), **more}), env={}
    )


def written(values: dict[str, Any]) -> Path:
    """A settings file with these values."""
    path = Path("written.yaml")
    path.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
    return path


def mistakes(*landings: dict[str, Any], **more: Any) -> list[str]:
    """What is said of these landings."""
    with pytest.raises(SettingsError, match="in the settings") as caught:
        settings_of(*landings, **more)
    return list(caught.value.mistakes)


def rest(**more: Any) -> RestLanding:
    """One landing of a REST API that differs so from the plainest."""
    return only(RestLanding, {**REST, **more})


def only(kind: type[Kind], said: dict[str, Any]) -> Kind:
    """The landing that these words make, which has to be of a kind."""
    (landing,) = settings_of(said).landings
    assert isinstance(landing, kind)
    return landing


# --- what is written ----------------------------------------------------------------------


def test_the_rest_landing_of_the_design_is_what_engine_and_adapter_take(
    write_yaml: WriteYaml,
) -> None:
    settings = load_settings(config=write_yaml(PRODUCTS), env=ENV)

    landing = settings.landing("products")
    assert replace(landing.as_landing(), request_digest="") == Landing(
        name="products",
        connection="bluejet",
        table="landing.products",
        id=(("ID",),),
        owner=Owner(),
        columns=(
            ColumnRule(name="name", fields=(("Nazev",),)),
            ColumnRule(name="description", fields=(("Popis",),)),
            ColumnRule(name="price", fields=(("Cena",),), type=ColumnType.NUMERIC, decimal=","),
            ColumnRule(name="tags", fields=(("Stitky",),), join=", "),
            ColumnRule(name="tag_list", fields=(("Stitky",),), type=ColumnType.JSONB),
            ColumnRule(name="stock_prague", fields=(("Sklad", "praha"),), type=ColumnType.INTEGER),
        ),
        required=(("Nazev",),),
        gone_when=FieldTest(field=("Smazano",), accepted=(True,)),
        changed=TimeOfChange(field=("last_modified",), timezone="Europe/Prague"),
        overlap_seconds=600,
        deletions=DeletionRules(
            confirm=Confirmation.LOOKUP,
            policy=CleanupPolicy(max_deleted_fraction=0.1, min_deletions_guarded=20),
            max_lookups=500,
        ),
        max_pass_age_seconds=21_600,
        max_rejected_fraction=0.1,
        fresh_seconds=172_800,
    )
    assert isinstance(landing, RestLanding)
    assert landing.as_request() == RestRequest(
        path="data/products",
        params={"fields": "all"},
        records=("data",),
        total=("total",),
        paging=ByOffset(size=200, overlap=2),
        since=ChangesSince(param="modified_since", timezone="Europe/Prague"),
        lookup="data/products/{id}",
    )
    assert (landing.schedule.full, landing.schedule.incremental) == ("0 1 * * *", "*/15 * * * *")
    assert landing.connection_name == "bluejet"


def test_the_mongodb_landing_of_the_design_keeps_the_origin_s_own_key(
    write_yaml: WriteYaml,
) -> None:
    settings = load_settings(config=write_yaml(TOOLS), env=ENV)

    landing = settings.landing("tools")
    told = landing.as_landing()
    assert (told.id, told.key) == ((("id",),), ("_id",))
    assert told.where == (FieldTest(field=("status",), accepted=("published",)),)
    assert told.deletions.confirm is Confirmation.NONE
    assert told.columns[-1] == ColumnRule(
        name="facets",
        fields=(("functionality",), ("categories",), ("interface",), ("deployment",)),
        type=ColumnType.JSONB,
        is_object=True,
    )
    assert isinstance(landing, MongoLanding)
    assert landing.as_request() == MongoRequest(collection="tools", follows=True)


def test_another_loader_s_table_is_an_origin(write_yaml: WriteYaml) -> None:
    settings = load_settings(config=write_yaml(LOADED), env={})

    landing = settings.landing("products")
    told = landing.as_landing()
    assert (told.connection, told.key, told.owner) == ("products", None, Owner(tenant_id="acme"))
    assert told.deletions.confirm is Confirmation.NONE
    assert isinstance(landing, TableLanding)
    assert landing.as_request() == TableRequest(
        table="raw.products",
        complete_when=LoaderSign(
            table="raw._dlt_loads",
            where=(Condition("status", (0,)),),
            load_column="load_id",
            row_column="_dlt_load_id",
        ),
    )


def test_what_is_left_out_is_filled_in() -> None:
    settings = settings_of(REST, MONGO, TABLE)

    products, tools, loaded = settings.core_landings
    assert [it.table for it in settings.core_landings] == [
        "landing.products", "landing.tools", "landing.loaded",
    ]  # fmt: skip
    assert (tools.id, tools.key) == ((("_id",),), ("_id",))
    assert [it.deletions.confirm for it in (products, tools, loaded)] == [
        Confirmation.SECOND_PASS, Confirmation.NONE, Confirmation.NONE,
    ]  # fmt: skip
    assert products.changed is None
    request = settings.landings[0].as_request()
    assert isinstance(request, RestRequest)
    assert (request.records, request.total, request.since) == ((), None, None)


@pytest.mark.parametrize(
    ("written", "paging"),
    [
        pytest.param(
            {"by": "offset", "size": 50, "overlap": 5, "offset_param": "skip", "size_param": "top"},
            ByOffset(size=50, overlap=5, offset_param="skip", size_param="top"),
            id="offset",
        ),
        pytest.param(
            {"by": "key", "sort": "ID", "after": "after"},
            ByKey(sort="ID", key=("ID",)),
            id="key",
        ),
        pytest.param(
            {"by": "key", "sort": "ID asc", "key": "data.ID", "sort_param": "orderby"},
            ByKey(sort="ID asc", sort_param="orderby", key=("data", "ID")),
            id="key that is spelled another way",
        ),
        pytest.param(
            {"by": "key", "sort": "ID", "sort_param": None, "size_param": None},
            ByKey(sort=None, sort_param=None, size_param=None, key=("ID",)),
            id="key of a list in order",
        ),
        pytest.param(
            {"by": "page", "first": 0, "size": 10, "page_param": "p", "size_param": None},
            ByPage(first=0, size=10, page_param="p", size_param=None),
            id="page",
        ),
        pytest.param({"by": "link"}, ByLink(), id="link in the header"),
        pytest.param(
            {"by": "link", "next": "meta.next", "cursor_param": "c", "size": 9, "size_param": "n"},
            ByLink(next=("meta", "next"), cursor_param="c", size=9, size_param="n"),
            id="cursor",
        ),
    ],
)
def test_pages_are_asked_for_in_four_ways(written: dict[str, Any], paging: Paging) -> None:
    assert rest(pages=written).as_request().paging == paging


def test_records_of_pairs_and_a_total_in_a_header() -> None:
    request = rest(
        records={"path": "rows", "pairs": "columns", "name": "key"},
        total={"header": "X-Total-Count"},
        request={"path": "query", "method": "POST", "params": {"deep": True, "n": 3}},
    ).as_request()

    assert (request.records, request.pairs) == (("rows",), ("columns",))
    assert (request.pair_name, request.pair_value) == ("key", "value")
    assert (request.total, request.total_header) == (None, "X-Total-Count")
    assert (request.method, request.params) == ("POST", {"deep": True, "n": 3})


@pytest.mark.parametrize(
    ("said", "owner"),
    [
        pytest.param({"global": True}, Owner(), id="everybody"),
        pytest.param({"tenant": 7}, Owner(tenant_id="7"), id="one tenant"),
        pytest.param({"tenant_field": "a.b"}, Owner(tenant_field=("a", "b")), id="by a field"),
    ],
)
def test_records_have_an_owner(said: dict[str, Any], owner: Owner) -> None:
    assert rest(owner=said).as_landing().owner == owner


def test_a_time_of_change_needs_no_incremental_requests() -> None:
    changed = {"field": "changed", "type": "epoch_seconds"}

    found = [
        only(RestLanding, {**REST, "modified": changed}).as_landing().changed,
        only(MongoLanding, {**MONGO, "modified": changed}).as_landing().changed,
        only(TableLanding, {**TABLE, "modified": changed}).as_landing().changed,
    ]

    assert found == [TimeOfChange(field=("changed",), type=ColumnType.EPOCH_SECONDS)] * 3


def test_several_fields_are_one_id_and_null_is_a_value() -> None:
    landing = rest(id=["firm", "nr"], where={"state": ["on", None, 1]}).as_landing()

    assert landing.id == (("firm",), ("nr",))
    assert landing.where == (FieldTest(field=("state",), accepted=("on", None, 1)),)


def test_sections_that_are_empty_mean_nothing() -> None:
    assert rest(deletes=None, schedule=None) == rest()


def test_landings_can_be_set_by_variables() -> None:
    settings = load_settings(
        env={
            "SYNC_PIPELINE__CONNECTIONS": json.dumps(CONNECTIONS),
            "SYNC_PIPELINE__LANDINGS": json.dumps([MONGO]),
        }
    )

    assert [type(it) for it in settings.landings] == [MongoLanding]


def test_an_environment_replaces_landings_as_a_whole(write_yaml: WriteYaml) -> None:
    config = write_yaml(
        json.dumps(
            {
                "connections": CONNECTIONS,
                "landings": [REST],
                "environments": {"dev": {"landings": [MONGO]}},
            }
        )
    )

    chosen = load_settings(config=config, environment="dev", env={})

    assert [it.name for it in chosen.landings] == ["tools"]


def environments(**of_dev: Any) -> Path:
    """A file whose landings two environments would fill in one database."""
    source = {"source": {"url": "postgresql://db.example/catalogue"}}
    prod = {**source, "protected": True, "state": {"url": "postgresql://db.example/prod"}}
    dev = {**source, "state": {"url": "postgresql://db.example/dev"}, **of_dev}
    values = {"connections": CONNECTIONS, "landings": [REST]}
    return written({**values, "environments": {"dev": dev, "prod": prod}})


def test_two_environments_do_not_land_in_one_table() -> None:
    with pytest.raises(SettingsError, match=r"both lead to the same table landing\.products"):
        load_settings(config=environments(), environment="dev", env={})

    chosen = load_settings(config=environments(landings=[]), environment="dev", env={})

    assert chosen.landings == ()


def test_a_name_that_there_is_not_is_told_with_those_there_are() -> None:
    settings = settings_of(REST, TABLE)

    with pytest.raises(UnknownLandingError, match="there are: products, loaded"):
        settings.landing("tools")


def test_the_fingerprint_follows_the_mapping() -> None:
    columns = {"name": {"field": "Nazev"}}

    prints = {settings_of(it).fingerprint() for it in (REST, {**REST, "columns": columns}, TABLE)}

    assert len(prints) == 3


def test_the_dump_says_it_as_a_file_does() -> None:
    settings = settings_of(REST, MONGO, TABLE)

    dumped = json.loads(settings.model_dump_json(by_alias=True, include={"landings"}))
    again = settings_of(*dumped["landings"])

    assert again.core_landings == settings.core_landings


def test_settings_can_be_made_of_landings_that_were_read() -> None:
    read = settings_of(REST, TABLE)

    again = Settings(connections=read.connections, landings=read.landings)

    assert again.landings == read.landings


# --- what is refused ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("base", "more", "told"),
    [
        pytest.param(
            REST,
            {"collection": "x"},
            "collection: belongs to the kind mongodb, this is rest; fix: remove it",
            id="a collection of a REST API",
        ),
        pytest.param(
            MONGO,
            {"pages": {"by": "offset"}},
            "pages: belongs to the kind rest, this is mongodb; fix: remove it",
            id="pages of MongoDB",
        ),
        pytest.param(
            REST,
            {"page_size": 7},
            "page_size: belongs to the kind mongodb and table, this is rest; fix: remove it",
            id="a size that pages have",
        ),
        pytest.param(
            TABLE,
            {"connection": "erp"},
            "connection: belongs to the kind rest and mongodb, this is table; fix: remove it",
            id="a connection of a table",
        ),
        pytest.param(
            TABLE,
            {"incremental": {"param": "a", "field": "b"}},
            "incremental: belongs to the kind rest, this is table; fix: remove it",
            id="changes of a table",
        ),
        pytest.param(
            REST,
            {"pages": {"by": "offset", "after": "x"}},
            "pages.after: belongs to pages by key, these are by offset; fix: remove it",
            id="a key of other pages",
        ),
        pytest.param(
            MONGO,
            {"deletes": {"confirm": "lookup", "lookup": "x/{id}"}},
            "deletes.lookup: belongs to rest: mongodb looks documents up by `_id` (got 'x/{id}')",
            id="a path to look documents up",
        ),
        pytest.param(
            TABLE, {"deletes": {"confirm": "lookup"}}, "belongs to rest and mongodb", id="look-ups"
        ),
        pytest.param(REST, {"tabel": "x"}, "tabel: is no setting; fix: did you mean 'table'?",
                     id="misspelt"),
        pytest.param(REST, {"kind": "rest"}, "kind: is no setting", id="a kind that is told"),
    ],
)  # fmt: skip
def test_a_key_of_another_kind_is_refused_with_whose_it_is(
    base: dict[str, Any], more: dict[str, Any], told: str
) -> None:
    [mistake] = mistakes({**base, **more})

    assert mistake.startswith("landings[0].")
    assert told in mistake


@pytest.mark.parametrize(
    ("more", "place", "told"),
    [
        pytest.param({"name": "Products"}, "name", "is no name of a landing", id="upper case"),
        pytest.param({"name": "a" * 49}, "name", "at most 48", id="a long name"),
        pytest.param({"table": "a b"}, "table", "is not a safe table name", id="table"),
        pytest.param({"id": "a..b"}, "id", "names no field", id="id"),
        pytest.param({"id": ["a", "a"]}, "id", "names 'a' twice", id="id twice"),
        pytest.param({"id": []}, "id", "is empty", id="no id"),
        pytest.param({"required": ["a["]}, "required[0]", "names no field", id="required"),
        pytest.param({"owner": {}}, "owner", "names no owner", id="no owner"),
        pytest.param({"owner": {"global": False}}, "owner", "names no owner", id="not global"),
        pytest.param(
            {"owner": {"global": True, "tenant": "a"}}, "owner", "two owners", id="two owners"
        ),
        pytest.param(
            {"owner": {"tenant": "global"}}, "owner.tenant", "cannot be a tenant", id="tenant"
        ),
        pytest.param({"columns": {}}, "columns", "is empty", id="no columns"),
        pytest.param({"columns": {"a b": "x"}}, "columns.a b", "safe column name", id="column"),
        pytest.param({"columns": {"xmin": "x"}}, "columns.xmin", "PostgreSQL", id="system"),
        pytest.param({"columns": {"_page": "x"}}, "columns._page", "begins as", id="underscore"),
        pytest.param({"columns": {"a": {}}}, "columns.a.field", "is missing", id="no field"),
        pytest.param(
            {"columns": {"a": {"field": "x", "fields": ["y"], "type": "jsonb"}}},
            "columns.a.field", "stands beside fields", id="field and fields",
        ),
        pytest.param(
            {"columns": {"a": {"fields": ["x"]}}}, "columns.a.type", "write type: jsonb",
            id="object of text",
        ),
        pytest.param(
            {"columns": {"a": {"fields": ["x.n", "y.n"], "type": "jsonb"}}},
            "columns.a.fields", "two fields whose last key is 'n'", id="object with a key twice",
        ),
        pytest.param(
            {"columns": {"a": {"fields": ["x[]"], "type": "jsonb"}}},
            "columns.a.fields[0]", "ends with no key", id="object of elements",
        ),
        pytest.param(
            {"columns": {"a": {"field": "x", "type": "jsonb", "join": ","}}},
            "columns.a.join", "has no use with jsonb", id="join",
        ),
        pytest.param(
            {"columns": {"a": {"field": "x", "decimal": ","}}},
            "columns.a.decimal", "has no use with text", id="decimal",
        ),
        pytest.param(
            {"columns": {"a": {"field": "x", "type": "integer", "timezone": "UTC"}}},
            "columns.a.timezone", "has no use with integer", id="time zone",
        ),
        pytest.param(
            {"columns": {"a": {"field": "x", "type": "money"}}}, "columns.a.type",
            "is not known here", id="type",
        ),
        pytest.param({"request": {"path": "http://x/y"}}, "request.path", "another address",
                     id="an address"),
        pytest.param({"request": {"path": "//x/y"}}, "request.path", "another address",
                     id="an address without scheme"),
        pytest.param({"request": {"path": "a?b=c"}}, "request.path", "under params", id="query"),
        pytest.param({"request": {"path": "/"}}, "request.path", "is empty", id="no path"),
        pytest.param(
            {"request": {"path": "a", "params": {"b": [1]}}}, "request.params.b",
            "neither a text nor a number", id="a list as parameter",
        ),
        pytest.param({"pages": {}}, "pages.by", "choose offset, key, page, link", id="no pages"),
        pytest.param({"pages": {"by": "luck"}}, "pages.by", "is not known here (got 'luck')",
                     id="pages"),
        pytest.param({"pages": {"by": "key"}}, "pages.sort", "is missing", id="no key"),
        pytest.param({"pages": {"by": "offset", "size": 5, "overlap": 5}}, "pages.overlap",
                     "write less than size, which is 5", id="overlap"),
        pytest.param({"pages": {"by": "link", "cursor_param": "c"}}, "pages.cursor_param",
                     "takes a value that nothing names", id="cursor of nothing"),
        pytest.param({"pages": {"by": "link", "size": 5}}, "pages.size_param",
                     "name the parameter", id="size for nobody"),
        pytest.param({"pages": {"by": "link", "size_param": "n"}}, "pages.size_param",
                     "write size too", id="parameter without size"),
        pytest.param({"total": {"header": "a b"}}, "total.header", "no name of a header",
                     id="header"),
        pytest.param({"records": {"path": "rows"}}, "records.pairs", "is missing", id="no pairs"),
        pytest.param(
            {"incremental": {"param": "p", "field": "f", "format": "epoch_seconds",
                             "type": "epoch_seconds", "timezone": "UTC"}},
            "incremental.timezone", "has no use with an epoch", id="zone of an epoch",
        ),
        pytest.param(
            {"modified": {"field": "f", "timezone": "Mars"}}, "modified.timezone",
            "is not a time zone", id="no zone",
        ),
        pytest.param(
            {"modified": {"field": "f"}, "incremental": {"param": "p", "field": "f"}},
            "modified", "stands beside incremental", id="changed twice",
        ),
        pytest.param({"gone_when": {"field": "x"}}, "gone_when.is", "is missing", id="no mark"),
        pytest.param({"where": {"x": []}}, "where.x", "is empty", id="nothing counts"),
        pytest.param({"where": {"x": [1.5]}}, "where.x[0]", "no value to compare", id="fraction"),
        pytest.param({"deletes": {"confirm": "lookup"}}, "deletes.lookup", "is missing",
                     id="no look-up"),
        pytest.param({"deletes": {"confirm": "lookup", "lookup": "x"}}, "deletes.lookup",
                     "does not say where the id goes", id="look-up without id"),
        pytest.param({"deletes": {"lookup": "x/{id}"}}, "deletes.lookup", "has no effect",
                     id="look-up that is not asked for"),
        pytest.param({"deletes": {"max_lookups": 5}}, "deletes.max_lookups", "has no effect",
                     id="limit of no look-ups"),
        pytest.param({"deletes": {"lookup_record": "x"}}, "deletes.lookup_record",
                     "has no effect", id="record of no look-up"),
        pytest.param({"deletes": {"confirm": "none"}}, "deletes.confirm",
                     "nobody can tell the end of the list from a failure", id="no total"),
        pytest.param(
            {"deletes": {"confirm": "none"}, "total": "n", "pages": {"by": "page"}},
            "deletes.confirm", "(got 'none')", id="pages without seams",
        ),
        pytest.param(
            {"deletes": {"confirm": "none"}, "total": "n", "pages": {"by": "offset", "overlap": 0}},
            "deletes.confirm", "by offset with an overlap", id="seams that are not compared",
        ),
        pytest.param({"schedule": {"full": "daily"}}, "schedule.full", "1 cron fields", id="cron"),
        pytest.param({"schedule": {"incremental": "* * * * *"}}, "schedule.incremental",
                     "say incremental too", id="changes that cannot be asked for"),
        pytest.param({"max_pass_age_hours": 0}, "max_pass_age_hours", "more than 0", id="age"),
    ],
)  # fmt: skip
def test_a_landing_that_cannot_work_is_refused(more: dict[str, Any], place: str, told: str) -> None:
    [mistake] = mistakes({**REST, **more})

    assert mistake.startswith(f"landings[0].{place}: ")
    assert told in mistake


@pytest.mark.parametrize("name", [*OWN_COLUMNS, "ID"])
def test_no_column_is_called_as_one_of_the_landing_s_own(name: str) -> None:
    [mistake] = mistakes({**REST, "columns": {name: "x"}})

    assert f"columns.{name}: is written by the landing itself" in mistake


@pytest.mark.parametrize("pages", [{"by": "key", "sort": "ID"}, {"by": "offset"}])
def test_deletes_need_no_confirmation_where_the_end_is_proven(pages: dict[str, Any]) -> None:
    landing = rest(deletes={"confirm": "none"}, total="n", pages=pages)

    assert landing.confirm is Confirmation.NONE


@pytest.mark.parametrize(
    ("more", "place", "told"),
    [
        pytest.param({"schedule": {"incremental": "* * * * *"}}, "schedule.incremental",
                     "write follow: change_stream too", id="nothing to follow"),
        pytest.param({"collection": "$cmd"}, "collection", "no name of a collection", id="name"),
        pytest.param({"follow": "oplog"}, "follow", "choose 'change_stream'", id="the oplog"),
    ],
)  # fmt: skip
def test_a_landing_of_mongodb_that_cannot_work_is_refused(
    more: dict[str, Any], place: str, told: str
) -> None:
    [mistake] = mistakes({**MONGO, **more})

    assert mistake.startswith(f"landings[0].{place}: ")
    assert told in mistake


@pytest.mark.parametrize(
    ("more", "place", "told"),
    [
        pytest.param({"table": "raw.products"}, "table", "is the table that the loader fills",
                     id="itself"),
        pytest.param({"from": "products", "table": "public.products"}, "table",
                     "is the table that the loader fills", id="itself in public"),
        pytest.param({"schedule": {"incremental": "* * * * *"}}, "schedule.incremental",
                     "write it as schedule.full", id="changes"),
        pytest.param({"complete_when": {"table": "a"}}, "complete_when.newest_by", "is missing",
                     id="no sign"),
        pytest.param({"complete_when": {"table": "a", "newest_by": "b"}}, "complete_when.where",
                     "say what a finished load meets", id="every load finished"),
        pytest.param({"complete_when": {"table": "a", "load_column": "b"}},
                     "complete_when.row_column", "is missing", id="load of no row"),
        pytest.param(
            {"complete_when": {"table": "a", "load_column": "b", "row_column": "c",
                               "newest_by": "d"}},
            "complete_when.newest_by", "stands beside load_column", id="two signs",
        ),
    ],
)  # fmt: skip
def test_a_landing_of_a_table_that_cannot_work_is_refused(
    more: dict[str, Any], place: str, told: str
) -> None:
    [mistake] = mistakes({**TABLE, **more})

    assert mistake.startswith(f"landings[0].{place}: ")
    assert told in mistake


def test_everything_that_is_missing_is_named_at_once() -> None:
    found = mistakes({"name": "a"}, {"name": "b", "connection": "directory"})

    assert [line.partition(":")[0] for line in found] == [
        "landings[0].id", "landings[0].owner", "landings[0].columns", "landings[0].connection",
        "landings[0].request", "landings[0].pages", "landings[1].owner", "landings[1].columns",
        "landings[1].collection",
    ]  # fmt: skip
    assert "name one of connections, or write from: TABLE" in found[3]


def test_a_connection_that_there_is_not_is_refused_beside_other_mistakes() -> None:
    found = mistakes({**REST, "connection": "erpp", "collection": 7}, {**MONGO, "follow": "x"})

    assert found[0] == (
        "landings[0].connection: is none of connections (got 'erpp'); "
        "fix: add it there; there are: erp, directory"
    )
    assert [line.partition(":")[0] for line in found[1:]] == ["landings[1].follow"]


def test_the_mistakes_of_a_connection_do_not_spread_to_its_landings() -> None:
    connections = {"directory": {"kind": "mongodb", "database": "d"}}

    found = mistakes(MONGO, connections=connections)

    assert found == ["connections.directory.url: is missing; fix: add it"]


def test_two_landings_of_one_name_or_one_table_are_refused() -> None:
    found = mistakes(
        {**REST, "table": "goods"},
        {**MONGO, "name": "products", "table": "public.goods"},
    )

    assert found == [
        ("landings: has two landings called 'products'; fix: give each a name of its own"),
        (
            "landings: has one table, public.goods, for products and products, which would delete "
            "each other's rows; fix: give each a table of its own"
        ),
    ]


def test_a_landing_that_was_read_needs_its_connection_too() -> None:
    landing = settings_of(REST).landings

    with pytest.raises(ValueError, match="is none of connections"):
        Settings(landings=landing)
    with pytest.raises(ValueError, match="is of the kind mongodb, and this reads rest"):
        Settings(
            landings=landing,
            connections={"erp": settings_of().connections["directory"]},
        )


# --- entities over landed tables ----------------------------------------------------------

ENTITY = {"name": "product", "table": "landing.products", "views": {"text": ["name"]}}


def test_an_entity_over_a_landed_table_says_neither_id_nor_owner() -> None:
    settings = settings_of(REST, entities=[{**ENTITY, "updated_at": "updated_at"}])

    (entity,) = settings.core_entities
    assert (entity.id, entity.tenant, entity.is_global) == (("id",), "tenant_id", "is_global")


@pytest.mark.parametrize(
    ("more", "place", "told"),
    [
        pytest.param({"id": "ID"}, "id", "is another column than id", id="id"),
        pytest.param({"id": ["id", "name"]}, "id", "is another column than id", id="ids"),
        pytest.param({"tenant": "firm"}, "tenant", "column than tenant_id", id="tenant"),
        pytest.param({"tenant": {"value": "acme"}}, "tenant", "leave it out", id="one tenant"),
        pytest.param({"is_global": True}, "is_global", "column than is_global", id="global"),
        pytest.param(
            {"updated_at": "source_modified_at"}, "updated_at", "write updated_at: updated_at",
            id="the origin's time",
        ),
        pytest.param(
            {"updated_at": {"column": "updated_at", "kind": "epoch_seconds"}}, "updated_at",
            "write updated_at: updated_at", id="another kind of time",
        ),
        pytest.param(
            {"views": {"text": ["name", "nam"]}}, "views.text[1]",
            "is no column of landing.products (got 'nam'); fix: add it to the columns of the "
            "landing products, or choose from name, id, tenant_id",
            id="view",
        ),
        pytest.param(
            {"views": {"text": {"columns": ["nam"], "long": True}}}, "views.text.columns[0]",
            "is no column of", id="view in full",
        ),
        pytest.param({"payload": {"a": "b"}}, "payload.a", "is no column of", id="payload"),
        pytest.param({"only": {"a": 1}}, "only.a", "is no column of", id="only"),
        pytest.param(
            {"priority": [{"when": {"a": 1}}]}, "priority[0].when.a", "is no column of",
            id="priority",
        ),
        pytest.param(
            {"priority": [{"column": "a", "order": "ascending"}]}, "priority[0].column",
            "is no column of", id="priority by a column",
        ),
        pytest.param(
            {"updated_at": "updated_at", "archive": {"when": {"a": 1}, "older_than_days": 1}},
            "archive.when.a", "is no column of", id="archive",
        ),
    ],
)  # fmt: skip
def test_an_entity_that_does_not_fit_its_landed_table_is_refused(
    more: dict[str, Any], place: str, told: str
) -> None:
    [mistake] = mistakes(REST, entities=[{**ENTITY, **more}])

    assert mistake.startswith(f"entities[0].{place}: ")
    assert told in mistake


def test_an_entity_may_read_what_the_landing_writes_itself() -> None:
    entity = {
        **ENTITY,
        "updated_at": {"column": "updated_at"},
        "payload": {"since": "source_modified_at", "key": "source_key"},
    }

    landings: tuple[AnyLandingSettings, ...] = settings_of(REST, entities=[entity]).landings

    assert len(landings) == 1


def test_a_list_that_is_asked_for_otherwise_has_another_digest() -> None:
    digests = {
        rest(**more).as_landing().request_digest
        for more in ({}, {"pages": {"by": "offset", "overlap": 3}}, {"records": "items"})
    }

    assert len(digests) == 3
    assert rest().as_landing() == rest().as_landing()
