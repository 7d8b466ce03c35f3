"""Systems whose records land in tables: one class per kind, told apart by ``kind``.

To add a kind, add a class with its keys, and it to ``CONNECTIONS`` and ``AnyConnection``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final, Literal, Self, TypeAlias
from urllib.parse import unquote, urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    Secret,
    SecretStr,
    Tag,
    WithJsonSchema,
    model_validator,
)

from sync_pipeline.core.addresses import is_readable_on_the_way
from sync_pipeline.core.landing.fields import parse_field
from sync_pipeline.core.landing.origin_options import (
    Login,
    MongoConnection,
    RestConnection,
    Scalar,
)
from sync_pipeline.settings.rules import (
    HIDDEN_PART,
    NOT_A_BOOL,
    FromVariable,
    Located,
    Mistake,
    checked,
    refusal,
    refuse_all,
    why_not_a_connection_name,
    why_not_a_field,
    why_not_a_header,
    why_not_a_path,
    why_not_a_scheme,
)
from sync_pipeline.settings.sections import Seconds, Section
from sync_pipeline.settings.urls import why_not_an_http_url

_TEXT_FIX: Final = "write a text, or {env: NAME} for what a variable says"
_UNENCRYPTED: Final = Mistake(
    "would cross the network unencrypted",
    "use an https:// URL, or set allow_plain_http: true beside it if the network is private",
)
_PLAIN_HEADERS: Final = frozenset({"accept", "accept-language", "content-type", "user-agent"})
"""Headers that are nobody's secret; in lower case."""
_MONGO: Final = re.compile(r"mongodb(?:\+srv)?://")
_MONGO_DATABASE: Final = re.compile(r"[^\s/\\.\"$*<>:|?\x00]{1,63}")
_UNPRINTABLE: Final = re.compile(r"[\s\x00-\x1f\x7f]")
_HEADER_VALUE: Final = re.compile(r"[\x21-\x7e](?:[\x20-\x7e\t]*[\x21-\x7e])?")


def _as_text(value: Any) -> Any:
    """Take digits for a text; name what a mapping might have been meant as."""
    if type(value) is int:
        return str(value)
    if isinstance(value, str | SecretStr):
        return value
    raise refusal(Mistake("is no text", _TEXT_FIX))


def _why_not_scalar(value: Any) -> Mistake | None:
    is_scalar = isinstance(value, str | bool | int) or (
        isinstance(value, float) and math.isfinite(value)
    )
    return None if is_scalar else Mistake("is neither a text nor a number", _TEXT_FIX)


class SecretScalar(Secret[str | int | float | bool]):
    """A value of a body; shown as ``***``, whatever it is."""

    def _display(self) -> str:
        return "**********"


def _as_secret(value: Any) -> Any:
    if isinstance(value, SecretScalar):
        return value
    mistake = _why_not_scalar(value)
    if mistake is not None:
        raise refusal(mistake)
    return SecretScalar(str(value) if isinstance(value, str) else value)


def _as_parameter(value: Any) -> Any:
    """Keep what a variable said for a secret, and no other value."""
    if isinstance(value, SecretStr):
        return value
    mistake = _why_not_scalar(value)
    if mistake is not None:
        raise refusal(mistake)
    return SecretStr(str(value)) if isinstance(value, FromVariable) else value


def _header_value(value: SecretStr) -> SecretStr:
    if not _HEADER_VALUE.fullmatch(value.get_secret_value()):
        raise refusal(
            Mistake(
                "cannot be the value of a header",
                "write it in plain ASCII characters, without line breaks or spaces around it",
            )
        )
    return value


def _not_empty(value: SecretStr) -> SecretStr:
    if not value.get_secret_value():
        raise refusal(Mistake("is empty", "fill it in"))
    return value


SecretText = Annotated[SecretStr, BeforeValidator(_as_text)]
Header = Annotated[str, checked(why_not_a_header)]
ParameterName = Annotated[str, Field(min_length=1)]
_SECRET_TYPE: Final = WithJsonSchema({"type": "string", "format": "password"})
Body = dict[ParameterName, Annotated[SecretScalar, BeforeValidator(_as_secret), _SECRET_TYPE]]
Parameters = dict[
    ParameterName,
    Annotated[
        str | int | float | bool | SecretStr,
        BeforeValidator(_as_parameter),
        WithJsonSchema({"type": "string"}),
    ],
]
Attempts = Annotated[int, Field(ge=1, le=20), NOT_A_BOOL]
LongestWait = Annotated[float, Field(ge=0, le=86_400), NOT_A_BOOL]
FieldText = Annotated[str, checked(why_not_a_field)]
"""Where a value is in a record or an answer: ``Sklad.praha``."""
PathText = Annotated[str, checked(why_not_a_path)]
"""Of an address, below that of the connection."""


class BasicSettings(Section):
    """User and password of HTTP's basic authentication."""

    user: Annotated[SecretText, AfterValidator(_not_empty)]
    """User, or the key where an API takes it as one."""
    password: SecretText
    """Password; may be empty."""


class LoginSettings(Section):
    """How a token is got and shown. It is asked for anew after a 401, once per expired token."""

    path: PathText
    """Where to log in, below `base_url`."""
    method: Literal["POST", "GET"] = "POST"
    """How it is asked."""
    # `json` itself would hide a method of pydantic.
    json_body: Body | None = Field(default=None, alias="json")
    """What is sent, as JSON, or in the address of a GET: `{user: sync, password: {env:
    ERP_PASSWORD}}`."""
    form: Body | None = None
    """Or as a form."""
    token: FieldText
    """Where the token is in the answer, e.g. `token` or `data.access_token`."""
    header: Header = "Authorization"
    """The header that shows it."""
    scheme: Annotated[str, checked(why_not_a_scheme)] | None = None
    """Word before it in the header, e.g. `Bearer`. Null: none."""

    @model_validator(mode="after")
    def _has_one_body(self) -> Self:
        if self.json_body is not None and self.form is not None:
            mistake = Mistake("stands beside json", "keep one of the two")
            refuse_all("login", [Located(("form",), mistake)])
        return self

    @property
    def secret_values(self) -> list[str]:
        """What is sent."""
        return [
            str(it) for body in (self.json_body, self.form) for it in (_plain(body) or {}).values()
        ]

    def as_login(self) -> Login:
        """The same for the adapter."""
        return Login(
            path=self.path,
            method=self.method,
            json=_plain(self.json_body),
            form=_plain(self.form),
            token=parse_field(self.token),
            header=self.header,
            scheme=self.scheme,
        )


def _why_not_a_base_url(url: str) -> Mistake | None:
    return why_not_an_http_url(url, instead="basic, headers or params")


class RestConnectionSettings(Section):
    """A system with a REST API."""

    kind: Literal["rest"]
    """What kind of system it is."""
    base_url: Annotated[str, checked(_why_not_a_base_url)]
    """Address that all paths begin with, e.g. `https://erp.example.com/api/v1`."""
    headers: dict[Header, Annotated[SecretText, AfterValidator(_header_value)]] = Field(default={})
    """Headers of every request: `{X-API-Key: {env: ERP_API_KEY}}`."""
    params: Parameters = Field(default={})
    """Parameters of every request's address. What is no secret of all requests stands better in
    `request.params` of a landing."""
    basic: BasicSettings | None = None
    """User and password, where the API takes them with every request."""
    login: LoginSettings | None = None
    """How a token is got, where the API wants one."""
    concurrent_requests: Annotated[int, Field(ge=1, le=32), NOT_A_BOOL] = 3
    """Requests that are under way at the same time, all landings of one process together."""
    requests_per_minute: Annotated[float, Field(gt=0, le=1_000_000), NOT_A_BOOL] | None = None
    """Most requests in a minute. Null: as many as there is time for."""
    timeout_seconds: Seconds = 60
    """Longest wait for one answer."""
    longest_wait_seconds: LongestWait = 900
    """A longer `Retry-After` defers the pass, which goes on later; it is never cut short."""
    attempts: Attempts = 5
    """How often a request is tried before the run fails."""
    allow_plain_http: bool = False
    """Send secrets over `http://` to another machine, where the network itself is private."""

    @model_validator(mode="after")
    def _keeps_its_secrets(self) -> Self:
        refuse_all("connection", self._mistakes())
        return self

    def _mistakes(self) -> Iterator[Located]:
        names = {name.lower() for name in self.headers}
        if self.login is not None and self.login.header.lower() in names:
            yield Located(
                ("login", "header"), Mistake("stands in headers too", "leave it out of headers")
            )
        if self.basic is not None and (
            "authorization" in names
            or (self.login is not None and self.login.header.lower() == "authorization")
        ):
            yield Located(
                ("basic",),
                Mistake("is sent in the header Authorization, which has another value", "keep one"),
            )
        if self.allow_plain_http or not is_readable_on_the_way(self.base_url):
            return
        # Whether a parameter or a header is a secret, nobody can tell; so the adapter has it too.
        sent = {
            "headers": self.headers,
            "params": self.params,
            "basic": self.basic,
            "login": self.login,
        }
        for key in (key for key, value in sent.items() if value):
            yield Located((key,), _UNENCRYPTED)

    @property
    def secret_values(self) -> list[str]:
        """Every key and password, for redaction; of parameters those that variables say."""
        headers = (it for name, it in self.headers.items() if name.lower() not in _PLAIN_HEADERS)
        params = (it for it in self.params.values() if isinstance(it, SecretStr))
        basic = () if self.basic is None else (self.basic.user, self.basic.password)
        secrets = (it.get_secret_value() for it in (*headers, *params, *basic))
        login = [] if self.login is None else self.login.secret_values
        return [value for value in (*secrets, *login) if value]

    def as_connection(self, name: str) -> RestConnection:
        """The same for the adapter."""
        basic = self.basic
        return RestConnection(
            name=name,
            base_url=self.base_url,
            headers={key: value.get_secret_value() for key, value in self.headers.items()},
            params=_plain(self.params) or {},
            basic=None
            if basic is None
            else (basic.user.get_secret_value(), basic.password.get_secret_value()),
            login=None if self.login is None else self.login.as_login(),
            concurrent_requests=self.concurrent_requests,
            requests_per_minute=self.requests_per_minute,
            timeout_seconds=self.timeout_seconds,
            longest_wait_seconds=self.longest_wait_seconds,
            attempts=self.attempts,
            allows_plain_http=self.allow_plain_http,
        )


def why_not_a_mongo_url(url: str) -> Mistake | None:
    """Judge the address of a MongoDB deployment."""
    fix = "write mongodb://USER:PASSWORD@HOST:27017 or mongodb+srv://USER:PASSWORD@HOST"
    if _UNPRINTABLE.search(url) or not _MONGO.match(url):
        return Mistake("is not the URL of a MongoDB deployment", fix)
    try:
        hosts = urlsplit(url).netloc.rpartition("@")[2]
    except ValueError:
        hosts = ""
    return None if hosts else Mistake("names no host", fix)


class MongoUrl(Secret[Annotated[str, checked(why_not_a_mongo_url)]]):
    """The URL of a MongoDB deployment; shown without user, password and options."""

    def _display(self) -> str:
        scheme, _, rest = self.get_secret_value().partition("://")
        place = rest.partition("?")[0]
        user, at, hosts = place.rpartition("@")
        return f"{scheme}://{'***' if user else ''}{at}{hosts}"


def _why_not_a_database(value: str) -> Mistake | None:
    if _MONGO_DATABASE.fullmatch(value):
        return None
    return Mistake("is no name of a database", "write it as MongoDB does, at most 63 characters")


class MongoConnectionSettings(Section):
    """A MongoDB deployment. Needs `pip install 'sync-pipeline[mongodb]'`."""

    kind: Literal["mongodb"]
    """What kind of system it is."""
    url: MongoUrl
    """Its address: `{env: MONGODB_URL}`, which says `mongodb://USER:PASSWORD@HOST:27017` or
    `mongodb+srv://...`."""
    database: Annotated[str, checked(_why_not_a_database)]
    """Database with the collections."""
    timeout_seconds: Seconds = 60
    """Longest wait for one answer."""
    longest_wait_seconds: LongestWait = 900
    """Longest wait for a primary, as in an election, before the pass is deferred."""
    attempts: Attempts = 5
    """How often a page is asked for before the run fails."""

    @property
    def secret_values(self) -> list[str]:
        """The password, percent-encoded or not."""
        url = self.url.get_secret_value()
        userinfo = url.partition("://")[2].partition("?")[0].rpartition("@")[0]
        password = userinfo.partition(":")[2]
        return [part for part in dict.fromkeys((password, unquote(password))) if part]

    def as_connection(self, name: str) -> MongoConnection:
        """The same for the adapter."""
        return MongoConnection(
            name=name,
            url=self.url.get_secret_value(),
            database=self.database,
            timeout_seconds=self.timeout_seconds,
            longest_wait_seconds=self.longest_wait_seconds,
            attempts=self.attempts,
        )


ConnectionSettings: TypeAlias = RestConnectionSettings | MongoConnectionSettings

CONNECTIONS: Final[Mapping[str, type[ConnectionSettings]]] = {
    "rest": RestConnectionSettings,
    "mongodb": MongoConnectionSettings,
}
"""Per kind its class."""


def kind_of(value: Any) -> str | None:
    """Of what kind a connection is, read already or not; None where it says none that there is."""
    kind = value.get("kind") if isinstance(value, Mapping) else getattr(value, "kind", None)
    return kind if isinstance(kind, str) and kind in CONNECTIONS else None


def _of_one_kind(value: Any) -> Any:
    """Refuse a kind that there is not, at its own place."""
    if isinstance(value, Mapping) and kind_of(value) is None:
        what = "is not known here" if "kind" in value else "is missing"
        fix = f"write {' or '.join(f'kind: {kind}' for kind in CONNECTIONS)}"
        refuse_all("connection", [Located(("kind",), Mistake(what, fix), value.get("kind"))])
    return value


AnyConnection = Annotated[
    Annotated[RestConnectionSettings, Tag(f"{HIDDEN_PART}rest")]
    | Annotated[MongoConnectionSettings, Tag(f"{HIDDEN_PART}mongodb")],
    Discriminator(lambda value: f"{HIDDEN_PART}{kind_of(value) or 'rest'}"),
    BeforeValidator(_of_one_kind),
]
"""A connection of any kind."""

Connections = dict[Annotated[str, checked(why_not_a_connection_name)], AnyConnection]


def _plain(values: Mapping[str, Any] | None) -> dict[str, Scalar] | None:
    """Values in clear, for the request that sends them."""
    if values is None:
        return None
    return {
        name: value.get_secret_value() if isinstance(value, Secret | SecretStr) else value
        for name, value in values.items()
    }
