"""Connections: where records come from, and that what opens them shows up nowhere."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sync_pipeline.core.errors import SettingsError
from sync_pipeline.core.landing.origin_options import Login, MongoConnection, RestConnection
from sync_pipeline.settings import Settings, load_settings
from sync_pipeline_tests.settings.conftest import WriteYaml

CANARY = "hunter2"

REST = """
connections:
  erp:
    kind: rest
    base_url: https://erp.example.com/api
    headers: {X-API-Key: {env: ERP_KEY}, Accept: application/json, X-Literal: hunter2-literal}
    params: {lang: cs, deep: true, key: "${ERP_PARAM}"}
    login:
      path: users/authenticate
      json: {user: sync, password: {env: ERP_PASSWORD}, days: 30, keep: true}
      token: data.token
      scheme: Bearer
    requests_per_minute: 120
    attempts: 3
"""
ENV = {
    "ERP_KEY": f"{CANARY}-key",
    "ERP_PARAM": f"{CANARY}-param",
    "ERP_PASSWORD": f"{CANARY}-password",
    "MONGODB_URL": f"mongodb://app:{CANARY}%40x@a.example:27017,b.example/?replicaSet=rs",
}


def connection(form: dict[str, Any], env: dict[str, str] | None = None) -> Settings:
    """Settings with one connection ``erp``."""
    return load_settings(
        env={"SYNC_PIPELINE__CONNECTIONS": json.dumps({"erp": form}), **(env or {})}
    )


def mistakes(text: str, write_yaml: WriteYaml, env: dict[str, str] | None = None) -> list[str]:
    """What is said of a file."""
    with pytest.raises(SettingsError, match="in the settings") as caught:
        load_settings(config=write_yaml(text), env=env or {})
    assert CANARY not in str(caught.value)
    return list(caught.value.mistakes)


def rest(more: str) -> str:
    """A file with a connection that says this too."""
    return f"connections: {{erp: {{kind: rest, base_url: 'https://erp.example', {more}}}}}"


def test_a_rest_connection_is_what_its_adapter_takes(write_yaml: WriteYaml) -> None:
    settings = load_settings(config=write_yaml(REST), env=ENV)

    assert settings.rest_connection("erp") == RestConnection(
        name="erp",
        base_url="https://erp.example.com/api",
        headers={
            "X-API-Key": "hunter2-key",
            "Accept": "application/json",
            "X-Literal": "hunter2-literal",
        },
        params={"lang": "cs", "deep": True, "key": "hunter2-param"},
        login=Login(
            path="users/authenticate",
            json={"user": "sync", "password": "hunter2-password", "days": 30, "keep": True},
            token=("data", "token"),
            scheme="Bearer",
        ),
        requests_per_minute=120,
        attempts=3,
    )
    assert settings.references == ("ERP_KEY", "ERP_PARAM", "ERP_PASSWORD")


def test_a_user_and_a_password_may_be_digits_and_the_password_empty() -> None:
    settings = connection(
        {
            "kind": "rest",
            "base_url": "http://erp.example",
            "basic": {"user": 12345, "password": ""},
            "allow_plain_http": True,
        }
    )

    told = settings.rest_connection("erp")
    assert (told.basic, told.allows_plain_http) == (("12345", ""), True)
    assert settings.secret_values == ["12345"]


def test_a_mongodb_connection_is_what_its_adapter_takes(write_yaml: WriteYaml) -> None:
    config = write_yaml(
        "connections: {tools: {kind: mongodb, url: {env: MONGODB_URL}, database: directory}}"
    )

    settings = load_settings(config=config, env=ENV)

    assert settings.mongo_connection("tools") == MongoConnection(
        name="tools", url=ENV["MONGODB_URL"], database="directory"
    )
    assert settings.secret_values == ["hunter2%40x", "hunter2@x"]
    assert "mongodb://***@a.example:27017,b.example/" in repr(settings)


def test_no_way_of_showing_settings_shows_a_secret_of_a_connection(write_yaml: WriteYaml) -> None:
    config = write_yaml(
        REST + "  m: {kind: mongodb, url: {env: MONGODB_URL}, database: d}\n"
        "  b: {kind: rest, base_url: 'https://b', basic: {user: u, password: {env: ERP_KEY}},\n"
        "      login: {path: l, form: {p: {env: ERP_KEY}}, token: t, header: X-Token}}\n"
    )

    settings = load_settings(config=config, env=ENV)

    shown = [
        repr(settings),
        str(settings),
        str(settings.model_dump()),
        settings.model_dump_json(),
        repr(settings.connections["erp"]),
    ]
    assert CANARY not in "".join(shown)
    assert {"hunter2-key", "hunter2-literal", "hunter2-param", "hunter2-password"} <= set(
        settings.secret_values
    )
    assert "cs" not in settings.secret_values
    assert "application/json" not in settings.secret_values


def test_the_fingerprint_follows_addresses_and_not_secrets(write_yaml: WriteYaml) -> None:
    config = write_yaml(REST)
    other_secrets = dict.fromkeys(ENV, "other")

    first = load_settings(config=config, env=ENV)
    second = load_settings(config=config, env=other_secrets)
    elsewhere = load_settings(config=write_yaml(REST.replace("erp.ex", "crm.ex")), env=ENV)

    assert first.fingerprint() == second.fingerprint()
    assert first.fingerprint() != elsewhere.fingerprint()


def test_a_variable_that_is_not_set_is_named_once_with_its_place(write_yaml: WriteYaml) -> None:
    found = mistakes(
        "connections:\n"
        "  erp: {kind: rest, base_url: 'https://x', login: {path: l, token: t, json: "
        "{p: {env: NOPE}}}}\n"
        "  m: {kind: mongodb, url: {env: NONE}, database: d}",
        write_yaml,
        {"NONE": ""},
    )

    assert found == [
        (
            "connections.erp.login.json.p: is left to the variable NOPE, which is not set; "
            "fix: set NOPE"
        ),
        "connections.m.url: is left to the variable NONE, which is not set; fix: set NONE",
    ]


def test_an_environment_that_is_not_chosen_needs_no_variables_of_its_connections(
    write_yaml: WriteYaml,
) -> None:
    config = write_yaml(
        "environments: {prod: {connections: {m: {kind: mongodb, url: {env: M}, database: d}}}}"
    )

    loaded = load_settings(config=config, env={})
    chosen = load_settings(config=config, environment="prod", env={"M": "mongodb://h"})

    assert (loaded.connections, chosen.references) == ({}, ("M",))
    with pytest.raises(SettingsError, match=r"environments\.prod\.connections\.m\.url: is left to"):
        load_settings(config=config, environment="prod", env={})


def test_variables_may_refer_to_variables() -> None:
    form = {"kind": "mongodb", "url": {"env": "M"}, "database": "d"}

    settings = connection(form, {"M": "mongodb+srv://h"})

    assert settings.mongo_connection("erp").url == "mongodb+srv://h"
    assert settings.references == ("M",)
    with pytest.raises(SettingsError, match=r"connections\.erp\.url: is left to the variable M"):
        connection(form)


def test_a_mapping_may_have_a_key_called_env(write_yaml: WriteYaml) -> None:
    config = write_yaml(rest("params: {env: production}"))

    settings = load_settings(config=config, env={"production": "x"})

    assert settings.rest_connection("erp").params == {"env": "production"}
    assert settings.references == ()


@pytest.mark.parametrize(
    "url",
    ["https://erp.example", "http://localhost:8080", "http://127.0.0.1/api", "http://[::1]/"],
)
def test_secrets_go_where_nobody_listens(url: str) -> None:
    settings = connection({"kind": "rest", "base_url": url, "headers": {"X-Key": CANARY}})

    assert settings.rest_connection("erp").headers == {"X-Key": CANARY}


def test_secrets_do_not_cross_a_network_unencrypted(write_yaml: WriteYaml) -> None:
    found = mistakes(
        "connections: {erp: {kind: rest, base_url: 'http://erp.example', headers: {X-Key: hunter2},"
        " login: {path: l, token: t, header: X-T}}, open: {kind: rest, base_url: 'http://x'}}",
        write_yaml,
    )

    unencrypted = (
        "would cross the network unencrypted; fix: use an https:// URL, or set allow_plain_http: "
        "true beside it if the network is private"
    )
    assert found == [
        f"connections.erp.headers: {unencrypted}",
        f"connections.erp.login: {unencrypted}",
    ]


@pytest.mark.parametrize(
    ("more", "place", "told"),
    [
        pytest.param("base_url: 'https://u:hunter2@x'", "base_url", "set `basic", id="userinfo"),
        pytest.param("base_url: 'https://x?k=hunter2'", "base_url", "has a ? or #", id="query"),
        pytest.param("base_url: 'ftp://x'", "base_url", "is not an http://", id="scheme"),
        pytest.param("hedders: {}", "hedders", "did you mean 'headers'?", id="misspelt"),
        pytest.param("database: x", "database", "belongs to the kind mongodb", id="other kind"),
        pytest.param("headers: {'a b': hunter2}", "headers.a b", "no name of a header", id="name"),
        pytest.param(
            'headers: {X: "hunter2\\nX: y"}', "headers.X", "cannot be the value", id="line break"
        ),
        pytest.param("headers: {X: [hunter2]}", "headers.X", "{env: NAME}", id="a list"),
        pytest.param("headers: {X: {evn: X}}", "headers.X", "{env: NAME}", id="misspelt env"),
        pytest.param("params: {k: {env: 'a b'}}", "params.k", "{env: NAME}", id="no variable"),
        pytest.param("params: {k: .inf}", "params.k", "neither a text nor a number", id="endless"),
        pytest.param("params: {k: null}", "params.k", "neither a text nor a number", id="null"),
        pytest.param("basic: {user: u}", "basic.password", "is missing", id="no password"),
        pytest.param("basic: {user: '', password: p}", "basic.user", "is empty", id="no user"),
        pytest.param("basic: hunter2", "basic", "must be a mapping", id="password as section"),
        pytest.param(
            "headers: {authorization: hunter2}, basic: {user: u, password: p}",
            "basic", "which has another value", id="two authorizations",
        ),
        pytest.param(
            "basic: {user: u, password: p}, login: {path: l, token: t}",
            "basic", "which has another value", id="password and token in one header",
        ),
        pytest.param(
            "headers: {x-token: y}, login: {path: l, token: t, header: X-Token}",
            "login.header", "stands in headers too", id="token twice",
        ),
        pytest.param("login: {token: t}", "login.path", "is missing", id="no path"),
        pytest.param("login: {path: 'https://y/l', token: t}", "login.path", "another address",
                     id="login elsewhere"),
        pytest.param("login: {path: l, token: 'hunter2..x'}", "login.token", "names no field",
                     id="the token itself"),
        pytest.param("login: {path: l, token: 7}", "login.token", "must be text", id="a number"),
        pytest.param("login: {path: l, token: t, scheme: 'a b'}", "login.scheme", "no word",
                     id="scheme"),
        pytest.param("login: {path: l, token: t, json: {a: 1}, form: {a: 1}}", "login.form",
                     "stands beside json", id="two bodies"),
        pytest.param("login: {path: l, token: t, json: {a: [hunter2]}}", "login.json.a",
                     "neither a text nor a number", id="nested body"),
        pytest.param("attempts: 0", "attempts", "at least 1", id="no attempt"),
        pytest.param("concurrent_requests: 100", "concurrent_requests", "(got 100)", id="many"),
    ],
)  # fmt: skip
def test_a_rest_connection_that_cannot_work_is_refused(
    write_yaml: WriteYaml, more: str, place: str, told: str
) -> None:
    text = rest(more)
    if more.startswith("base_url"):
        text = f"connections: {{erp: {{kind: rest, {more}}}}}"

    [mistake] = mistakes(text, write_yaml)

    assert mistake.startswith(f"connections.erp.{place}: ")
    assert told in mistake


@pytest.mark.parametrize(
    ("text", "place", "told"),
    [
        pytest.param("url: 'postgresql://u:hunter2@h'", "url", "is not the URL", id="scheme"),
        pytest.param("url: hunter2", "url", "is not the URL", id="no URL"),
        pytest.param("url: 'mongodb://u:hunter2@'", "url", "names no host", id="no host"),
        pytest.param("url: 'mongodb://h', database: a/b", "database", "no name", id="database"),
        pytest.param("url: 'mongodb://h', base_url: x", "base_url", "kind rest", id="of REST"),
    ],
)
def test_a_mongodb_connection_that_cannot_work_is_refused(
    write_yaml: WriteYaml, text: str, place: str, told: str
) -> None:
    database = "" if "database" in text else ", database: d"

    [mistake] = mistakes(f"connections: {{m: {{kind: mongodb, {text}{database}}}}}", write_yaml)

    assert mistake.startswith(f"connections.m.{place}: ")
    assert told in mistake


def test_a_connection_has_a_kind_and_a_name(write_yaml: WriteYaml) -> None:
    found = mistakes(
        "connections:\n  a: {base_url: 'https://x'}\n  b: {kind: soap}\n  c: [1]\n"
        "  D-e: {kind: rest, base_url: 'https://x'}",
        write_yaml,
    )

    assert found == [
        "connections.a.kind: is missing; fix: write kind: rest or kind: mongodb",
        (
            "connections.b.kind: is not known here (got 'soap'); "
            "fix: write kind: rest or kind: mongodb"
        ),
        "connections.c: must be a mapping; fix: write `key: value` lines below it",
        (
            "connections.D-e: is no name of a connection; fix: start with a-z and go on with a-z, "
            "0-9 and _, at most 48"
        ),
    ]


def test_a_connection_of_another_kind_is_none(write_yaml: WriteYaml) -> None:
    settings = load_settings(config=write_yaml(REST), env=ENV)

    with pytest.raises(KeyError, match="erp"):
        settings.mongo_connection("erp")
    with pytest.raises(KeyError, match="other"):
        settings.rest_connection("other")
