"""What a column of every type becomes: words of a view, and a payload value."""
# ruff: noqa: S608 - the tests compose their own tables

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sync_pipeline.core.document import MAX_TEXT_CHARACTERS, Document, DocumentBuilder
from sync_pipeline.core.entity import Entity
from sync_pipeline.core.numbers import stored_floats
from sync_pipeline.core.scope import Scope
from sync_pipeline.sources.postgres import PostgresRowSource
from sync_pipeline.sources.values import json_words, parse_json, range_words
from sync_pipeline_tests.sources.feed_support import installed, take_events

ACME: Final = Scope("acme")
SAME: Final = object()


@dataclass(frozen=True, slots=True)
class Case:
    """A literal of a type, and what it becomes."""

    literal: str
    text: str | None
    payload: Any = SAME
    """Where it is not the text."""
    element: Any = SAME
    """What it is in the payload of an array, where it is not ``payload``."""

    @property
    def value(self) -> Any:
        return self.text if self.payload is SAME else self.payload

    @property
    def inside(self) -> Any:
        return self.value if self.element is SAME else self.element


MADE: Final = (
    "CREATE TYPE mood AS ENUM ('very happy', 'sad')",
    "CREATE TYPE pair AS (x int, y text, ok boolean, inner_range int4range)",
    "CREATE TYPE textrange AS RANGE (subtype = text)",
    "CREATE DOMAIN positive AS integer CHECK (VALUE > 0)",
    "CREATE DOMAIN facets AS jsonb",
    "CREATE DOMAIN tags AS text[]",
    "CREATE DOMAIN span AS int4range",
)

TYPES: Final[Mapping[str, Case]] = {
    "text": Case("'Beton  C25'", "Beton  C25"),
    "varchar(20)": Case("'Beton'", "Beton"),
    "char(8)": Case("'Beton'", "Beton", element="Beton   "),
    "name": Case("'Beton'", "Beton"),
    '"char"': Case("'B'", "B"),
    "bool": Case("true", "true", True),
    "int2": Case("-7", "-7", -7),
    "int4": Case("42", "42", 42),
    "int8": Case("9007199254740993", "9007199254740993", 9007199254740993),
    "numeric": Case("12.50", "12.50", 12.5),
    "numeric(20,0)": Case("12345678901234567890", "12345678901234567890"),
    "numeric(25,19)": Case("0.1234567890123456789", "0.1234567890123456789"),
    "float4": Case("0.1", "0.1", 0.1),
    "float8": Case("1e300", "1e+300", 1e300),
    "money": Case("12.5::money", "$12.50"),
    "oid": Case("7", "7"),
    "date": Case("'2026-02-03'", "2026-02-03"),
    "time": Case("'04:05:06'", "04:05:06"),
    "timetz": Case("'04:05:06+03'", "04:05:06+03"),
    "timestamp": Case("'2026-02-03 04:05:06'", "2026-02-03 04:05:06", "2026-02-03T04:05:06"),
    "timestamptz": Case(
        "'2026-02-03 04:05:06+03'", "2026-02-03 01:05:06+00", "2026-02-03T01:05:06+00:00"
    ),
    "interval": Case("'1 day 2 hours'", "P1DT2H"),
    "uuid": Case("'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
    "inet": Case("'10.0.0.2/24'", "10.0.0.2/24"),
    "cidr": Case("'10.0.0.0/24'", "10.0.0.0/24"),
    "macaddr": Case("'08:00:2b:01:02:03'", "08:00:2b:01:02:03"),
    "macaddr8": Case("'08:00:2b:01:02:03:04:05'", "08:00:2b:01:02:03:04:05"),
    "bit(3)": Case("B'101'", "101"),
    "varbit": Case("B'1011'", "1011"),
    "point": Case("'(1,2)'", "(1,2)"),
    "line": Case("'{1,2,3}'", "{1,2,3}"),
    "lseg": Case("'[(1,2),(3,4)]'", "[(1,2),(3,4)]"),
    "box": Case("'(3,4),(1,2)'", "(3,4),(1,2)"),
    "path": Case("'[(1,2),(3,4)]'", "[(1,2),(3,4)]"),
    "polygon": Case("'((1,2),(3,4))'", "((1,2),(3,4))"),
    "circle": Case("'<(1,2),3>'", "<(1,2),3>"),
    "json": Case(
        r"""'{"ru": "\u0411\u0435\u0442\u043e\u043d", "n": [25, true, null, {"k": "\"M8\""}]}'""",
        'Бетон 25 "M8"',
        {"ru": "Бетон", "n": [25, True, None, {"k": '"M8"'}]},
    ),
    "jsonb": Case(r"""'{"a": 9007199254740993}'""", "9007199254740993", {"a": 9007199254740993}),
    "jsonpath": Case("'$.a'", '$."a"'),
    "tsvector": Case("'''fat cat'':2 ''b25'':1A'", "b25 fat cat", "'b25':1A 'fat cat':2"),
    "tsquery": Case("'fat & cat'", "'fat' & 'cat'"),
    "xid": Case("'7'", "7"),
    "xid8": Case("'7'", "7"),
    "cid": Case("'7'", "7"),
    "tid": Case("'(1,2)'", "(1,2)"),
    "pg_lsn": Case("'0/7'", "0/7"),
    "pg_snapshot": Case("'1:2:'", "1:2:"),
    "txid_snapshot": Case("'1:2:'", "1:2:"),
    "refcursor": Case("'c'", "c"),
    "regclass": Case("'pg_class'", "pg_class"),
    "regcollation": Case("""'"C"'""", '"C"'),
    "regconfig": Case("'simple'", "simple"),
    "regdictionary": Case("'simple'", "simple"),
    "regnamespace": Case("'pg_catalog'", "pg_catalog"),
    "regoper": Case("'||/'", "||/"),
    "regoperator": Case("'+(integer,integer)'", "+(integer,integer)"),
    "regproc": Case("'now'", "now"),
    "regprocedure": Case("'now()'", "now()"),
    "regrole": Case("'pg_monitor'", "pg_monitor"),
    "regtype": Case("'integer'", "integer"),
    "aclitem": Case("'pg_monitor=r/pg_monitor'", "pg_monitor=r/pg_monitor"),
    "int4range": Case("'[1,5)'", "1 5", "[1,5)"),
    "int8range": Case("'(,5)'", "5", "(,5)"),
    "numrange": Case("'[1.50,)'", "1.50", "[1.50,)"),
    "tsrange": Case(
        "'[2026-01-01,2026-02-01)'",
        "2026-01-01 00:00:00 2026-02-01 00:00:00",
        '["2026-01-01 00:00:00","2026-02-01 00:00:00")',
    ),
    "tstzrange": Case(
        "'[2026-01-01 00:00+00,)'", "2026-01-01 00:00:00+00", '["2026-01-01 00:00:00+00",)'
    ),
    "daterange": Case(
        "'[2026-01-01,2026-01-31]'", "2026-01-01 2026-02-01", "[2026-01-01,2026-02-01)"
    ),
    "int4multirange": Case("'{[1,5),[7,9)}'", "1 5 7 9", "{[1,5),[7,9)}"),
    "int8multirange": Case("'{}'", None, "{}"),
    "nummultirange": Case("'{[1.5,2]}'", "1.5 2", "{[1.5,2]}"),
    "tsmultirange": Case("'{[2026-01-01,)}'", "2026-01-01 00:00:00", '{["2026-01-01 00:00:00",)}'),
    "tstzmultirange": Case("'{(,)}'", None, "{(,)}"),
    "datemultirange": Case("'{[2026-01-01,)}'", "2026-01-01", "{[2026-01-01,)}"),
    "mood": Case("'very happy'", "very happy"),
    "positive": Case("5", "5", 5),
    "facets": Case("""'["a", 1]'""", "a 1", ["a", 1]),
    "span": Case("'empty'", None, "empty"),
    "textrange": Case("""'["a ""b"" ,",z]'""", 'a "b" , z', '["a ""b"" ,",z]'),
    "pair": Case(
        "ROW(1, 'a, \"b\"', true, '[1,5)')",
        '1 a, "b" [1,5)',
        '(1,"a, ""b""",t,"[1,5)")',
        {"x": 1, "y": 'a, "b"', "ok": True, "inner_range": "[1,5)"},
    ),
}
"""Every type, by the name of a column's declaration."""

NOT_READ: Final = {
    "bytea": "refused, see check",
    "gtsvector": "has no literals",
    "xml": "the embedded server is built without it",
}


def run_sql(engine: sa.Engine, *statements: str) -> None:
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement.replace("%", "%%"))


def create(engine: sa.Engine, columns: Mapping[str, tuple[str, str]]) -> Entity:
    """Make a table of one row with these columns, each a type and a literal."""
    declared = "".join(f", {name} {kind}" for name, (kind, _) in columns.items())
    literals = "".join(f", {literal}" for _, literal in columns.values())
    run_sql(
        engine,
        f"CREATE TABLE things (id text PRIMARY KEY, tenant_id text, is_global boolean{declared})",
        f"INSERT INTO things VALUES ('a', 'acme', false{literals})",
    )
    return Entity(
        name="thing",
        table="things",
        views=(("text", tuple(columns)),),
        payload=tuple((name, name) for name in columns),
    )


def read(engine: sa.Engine, entity: Entity) -> list[Sequence[Any]]:
    with PostgresRowSource(engine).open_snapshot([entity]) as snapshot:
        return [row for batch in snapshot.iter_rows(entity=entity, scope=ACME) for row in batch]


def became(engine: sa.Engine, columns: Mapping[str, tuple[str, str]]) -> dict[str, tuple[Any, Any]]:
    """Per column its words and its payload value."""
    ((*_, words),) = [(row[3:],) for row in read(engine, create(engine, columns))]
    texts, payloads = words[: len(columns)], words[len(columns) :]
    return dict(zip(columns, zip(texts, payloads, strict=True), strict=True))


@pytest.fixture
def made(engine: sa.Engine) -> sa.Engine:
    """A database with types of people's own."""
    run_sql(engine, *MADE)
    return engine


def columns_of(types: Mapping[str, Case], *, form: str) -> dict[str, tuple[str, str]]:
    """Columns ``c0``, ``c1`` and so on; ``form`` is a literal around the type's."""
    suffix = "[]" if "ARRAY" in form else ""
    return {
        f"c{place}": (
            f"{name}{suffix}",
            form.format(literal=f"({case.literal})", name=name, kind=f"{name}{suffix}"),
        )
        for place, (name, case) in enumerate(types.items())
    }


def test_every_type_of_the_server_is_in_the_table(engine: sa.Engine) -> None:
    with engine.connect() as connection:
        server = set(
            connection.scalars(
                sa.text(
                    "SELECT typname FROM pg_type WHERE typtype IN ('b', 'r', 'm') "
                    "AND typnamespace = 'pg_catalog'::regnamespace AND typcategory <> 'A' "
                    # Of the server's own statistics.
                    "AND NOT (typcategory = 'Z' AND typname <> 'char')"
                )
            )
        )
    named = {name.partition("(")[0].strip('"') for name in TYPES} | NOT_READ.keys()

    assert server - named - {"bpchar"} == set()


def test_a_column_of_every_type_becomes_words_and_a_payload_value(made: sa.Engine) -> None:
    found = became(made, columns_of(TYPES, form="{literal}::{name}"))

    assert dict(zip(TYPES, found.values(), strict=True)) == {
        name: (case.text, case.value) for name, case in TYPES.items()
    }


def test_an_array_of_every_type_is_the_words_of_its_elements(made: sa.Engine) -> None:
    found = became(made, columns_of(TYPES, form="ARRAY[{literal}, NULL]::{kind}"))

    assert dict(zip(TYPES, found.values(), strict=True)) == {
        name: (case.text, [case.inside, None]) for name, case in TYPES.items()
    }


def test_an_empty_array_of_every_type_has_no_words(made: sa.Engine) -> None:
    found = became(made, columns_of(TYPES, form="ARRAY[]::{kind}"))

    assert set(map(repr, found.values())) == {"(None, [])"}


def test_null_of_every_type_is_none(made: sa.Engine) -> None:
    found = became(made, columns_of(TYPES, form="NULL"))

    assert set(found.values()) == {(None, None)}


def test_the_digest_follows_a_column_of_every_type(made: sa.Engine) -> None:
    columns = columns_of(TYPES, form="{literal}::{name}")
    entity = create(made, columns)
    source = PostgresRowSource(made)
    seen = [source.digest_by_scope([entity])["acme"]]
    for name in columns:
        run_sql(made, f"UPDATE things SET {name} = NULL")
        seen.append(source.digest_by_scope([entity])["acme"])

    with source.open_snapshot([entity]) as snapshot:
        assert snapshot.digest(entities=[entity], scope=ACME) == seen[-1]
    assert len({found["thing"].xor for found in seen}) == len(columns) + 1


def test_the_feed_names_a_row_when_a_column_of_any_type_changes(made: sa.Engine) -> None:
    columns = columns_of(TYPES, form="{literal}::{name}")
    installed(made, create(made, columns))

    run_sql(made, *(f"UPDATE things SET {name} = NULL" for name in columns))

    assert take_events(made) == [("update", "a", "acme", "acme")] * len(columns)


@pytest.mark.parametrize(
    ("kind", "literal", "text", "payload"),
    [
        pytest.param("tags", "'{a,NULL,b}'", "a b", ["a", None, "b"], id="domain over array"),
        pytest.param("facets[]", """ARRAY['{"k": "v"}'::facets]""", "v", [{"k": "v"}], id="those"),
        pytest.param("tags[]", """ARRAY['{a,b}'::tags]""", "{a,b}", [["a", "b"]], id="of arrays"),
        pytest.param(
            "text[]",
            r"""'{"a \"b\"","C:\\x",""}'""",
            r'a "b" C:\x',
            ['a "b"', r"C:\x", ""],
            id="quotes",
        ),
        pytest.param("int[]", "'{{1,2},{3,NULL}}'", "1 2 3", [[1, 2], [3, None]], id="nested"),
        pytest.param("int[]", "'[5:6]={1,2}'", "1 2", [1, 2], id="bounds of its own"),
        pytest.param("numeric[]", "'{1.50,NaN,7}'", "1.50 NaN 7", None, id="NaN"),
        pytest.param("int2vector", "'1 2'", "1 2", [1, 2], id="int2vector"),
        pytest.param("json", r"""'"\ud83d x\u0000y"'""", " xy", None, id="half a character"),
        pytest.param("json", r"""'"\u0413\u0438\u043f\u0441"'""", "Гипс", "Гипс", id="a string"),
        pytest.param("jsonb", "'null'", None, None, id="JSON null"),
        pytest.param("jsonb", "'true'", None, True, id="JSON true"),
    ],
)  # fmt: skip
def test_of_special_columns(
    made: sa.Engine, kind: str, literal: str, text: str | None, payload: Any
) -> None:
    ((found, value),) = became(made, {"c": (kind, literal)}).values()

    assert (found or "").replace("\0", "") == (text or "")
    assert payload is None or value == payload


@pytest.mark.parametrize("kind", ["numeric", "float8", "float4"])
def test_what_is_not_a_number_costs_that_value_alone(made: sa.Engine, kind: str) -> None:
    entity = create(
        made,
        {
            "name": ("text", "'Beton'"),
            "price": (kind, "'NaN'"),
            "sizes": (f"{kind}[]", "'{1.5,NaN,-Infinity,NULL}'"),
            "extra": ("json", r"""'{"a": "\ud800", "b": 1}'"""),
        },
    )
    (row,) = read(made, entity)

    built = DocumentBuilder(entity=entity, scope=ACME, model_id="m").build(row)

    assert isinstance(built, Document)
    payload = json.loads(built.payload)
    assert (payload["price"], payload["sizes"]) == (None, [1.5, None, None, None])
    assert payload["extra"] == {"a": None, "b": 1}
    assert built.dropped == ("price", "sizes", "sizes", "extra")


@pytest.mark.parametrize(
    ("extension", "literal", "text", "payload"),
    [
        ("citext", "'Beton'", "Beton", "Beton"),
        ("hstore", """'"colour name"=>"deep red", size=>"25", none=>NULL'""", "25 deep red",
         {"colour name": "deep red", "size": "25", "none": None}),
    ],
)  # fmt: skip
def test_a_type_of_an_extension_is_read_too(
    engine: sa.Engine, extension: str, literal: str, text: str, payload: Any
) -> None:
    try:
        run_sql(engine, f"CREATE EXTENSION {extension}")
    except sa.exc.DBAPIError:
        pytest.skip(f"this server has no {extension}")

    (alone, array) = became(
        engine,
        {"c": (extension, literal), "d": (f"{extension}[]", f"ARRAY[{literal}]::{extension}[]")},
    ).values()

    assert sorted(str(alone[0]).split()) == sorted(text.split())
    assert sorted(str(array[0]).split()) == sorted(text.split())
    assert (alone[1], array[1]) == (payload, [payload])


def test_xml_is_what_stands_in_it(engine: sa.Engine) -> None:
    xml = '<a code="C25"><b>Beton &amp; Stahl</b><b>grau</b></a>'
    if is_missing(engine, "xml"):
        pytest.skip("this server is built without xml")

    found = became(engine, {"c": ("xml", f"'{xml}'"), "d": ("xml[]", f"ARRAY['{xml}'::xml]")})

    assert found == {
        "c": ("C25 Beton & Stahl grau", xml),
        "d": ("C25 Beton & Stahl grau", [xml]),
    }


@pytest.mark.parametrize(
    "literal",
    [
        pytest.param("""('{"k": "' || repeat('xy ', 4000000) || '"}')::json""", id="json"),
        pytest.param("to_jsonb(repeat('xy ', 4000000))", id="jsonb"),
        pytest.param("ARRAY['xy ', repeat('xy ', 4000000)]", id="array"),
        pytest.param("array_fill('xy '::text, ARRAY[1000000])", id="many elements"),
    ],
)
def test_values_of_10_mb_are_cut_by_the_server(engine: sa.Engine, literal: str) -> None:
    kind = "json" if "json" in literal else "text[]"
    kind = "jsonb" if "jsonb" in literal else kind

    ((text, payload),) = became(engine, {"c": (kind, literal)}).values()

    assert MAX_TEXT_CHARACTERS / 3 < len(text) <= MAX_TEXT_CHARACTERS
    assert set(text.split()) <= {"xy", "x"}
    assert len(payload) == MAX_TEXT_CHARACTERS


DOCUMENTED: Final = re.compile(
    r"^\| `(?P<kind>[^`]+)` \| `(?P<literal>[^`]+)` "
    r"\| `(?P<text>[^`]+)` \| `(?P<payload>[^`]+)` \|$",
    re.MULTILINE,
)
PAGE: Final = Path(__file__).resolve().parents[2] / "docs" / "configuration.md"
ROWS: Final = [found.groupdict() for found in DOCUMENTED.finditer(PAGE.read_text())]


def is_missing(engine: sa.Engine, kind: str) -> bool:
    """Whether this server has no such type, or only its name."""
    try:
        if kind == "hstore":
            run_sql(engine, "CREATE EXTENSION hstore")
        if kind == "xml":
            run_sql(engine, "SELECT '<a/>'::xml")
    except sa.exc.DBAPIError:
        return True
    return False


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['kind']} {row['literal'][:20]}")
def test_a_column_becomes_what_the_documentation_says(
    engine: sa.Engine, row: dict[str, str]
) -> None:
    if is_missing(engine, row["kind"]):
        pytest.skip(f"this server has no {row['kind']}")
    entity = create(engine, {"name": ("text", "'n'"), "c": (row["kind"], row["literal"])})
    (found,) = read(engine, entity)

    built = DocumentBuilder(entity=entity, scope=ACME, model_id="m").build(found)

    assert found[4] == row["text"]
    assert isinstance(built, Document)
    assert json.loads(built.payload)["c"] == json.loads(row["payload"])


def test_the_documentation_has_its_table() -> None:
    assert len(ROWS) == 20


# Others are kept as their text, see core/test_numbers.py.
KEPT_FLOATS = st.floats(allow_nan=False, allow_infinity=False).filter(
    lambda number: stored_floats(number) == [number]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | KEPT_FLOATS
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


def words_of(value: object) -> list[str]:
    """Every string and number inside a value, in order."""
    if isinstance(value, dict | list):
        return [
            word
            for inner in (value.values() if isinstance(value, dict) else value)
            for word in words_of(inner)
        ]
    if value is None or isinstance(value, bool) or value == "":
        return []
    return [value if isinstance(value, str) else json.dumps(value)]


@given(value=VALUES)
@pytest.mark.parametrize(
    "style", [{"ensure_ascii": True}, {"ensure_ascii": False}, {"indent": 1}], ids=str
)
def test_json_is_the_words_of_its_values_however_it_is_written(
    value: object, style: Mapping[str, Any]
) -> None:
    text = json.dumps(value, **style)

    assert json_words(text) == (" ".join(words_of(value)) or None)


@given(value=VALUES)
def test_json_comes_back_from_the_payload_as_it_was(value: object) -> None:
    parsed = parse_json(json.dumps(value))

    assert _exact(parsed) == _exact(value)


def _exact(value: object) -> object:
    """Numbers as decimals, whether they were kept as numbers or as text."""
    if isinstance(value, dict):
        return {key: _exact(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_exact(inner) for inner in value]
    if isinstance(value, int | float) and not isinstance(value, bool):
        whole = isinstance(value, int) and value not in range(-(2**63), 2**63)
        return str(value) if whole else Decimal(repr(value))
    return value


@given(text=st.text(alphabet='{}[]",:\\u0041dx 1-e', max_size=60) | st.text(max_size=40))
def test_any_text_can_be_read_for_words(text: str) -> None:
    (json_words(text) or "").encode()
    range_words(text)
    parse_json(text)


@given(cut=st.integers(min_value=0, max_value=200))
def test_of_json_that_is_cut_off_no_key_becomes_a_word(cut: int) -> None:
    text = json.dumps({"key": ["Бетон", "x\\"], "other key": {"inner key": "grau 25"}, "key2": 5})

    words = json_words(text[:cut]) or ""

    assert "key" not in words
    assert "Бетон x\\ grau 25 5".startswith(words.rstrip("\\u0"))


@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    elements=st.lists(
        st.none() | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
    )
)
def test_any_array_of_texts_comes_through(engine: sa.Engine, elements: list[str | None]) -> None:
    run_sql(engine, "DROP TABLE IF EXISTS things")
    entity = create(engine, {"c": ("text[]", "NULL")})
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE things SET c = :c"), {"c": elements})

    (row,) = read(engine, entity)

    assert row[-1] == elements
    assert row[-2] == (" ".join(filter(None, elements)) or None)
