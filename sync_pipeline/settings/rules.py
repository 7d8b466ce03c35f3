"""What a single value must look like; each rule names the mistake and its fix, or None."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple, get_args

from pydantic import AfterValidator, BeforeValidator, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from sync_pipeline.core.cluster_options import AgreementWord
from sync_pipeline.core.entity import IDENTIFIER
from sync_pipeline.core.landing.fields import parse_field
from sync_pipeline.core.landing.spec import OWN_COLUMNS
from sync_pipeline.core.payload import RESERVED_FIELDS
from sync_pipeline.core.scope import GLOBAL_KEY, why_not_a_tenant_id

MISTAKE: Final = "mistake"
"""Type of the pydantic errors that carry a ``Mistake``."""

NOT_SHOWN: Final = object()
"""Stands for a rejected value of which a message shows nothing."""

HIDDEN_PART: Final = "<form>"
"""How a part of a mistake's place begins that only pydantic knows: which form a value has."""

MAX_COPIES: Final = 100
"""Most copies of a point that can be asked for."""

BM25_VECTOR: Final = "bm25"
"""Equal to ``core.point.BM25_VECTOR``, whose module would bring numpy (0.1 s) along."""

_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,62}")
_REQUEST_FIELDS: Final = frozenset({"input", "model", "dimensions", "encoding_format", "user"})
_DEVICE: Final = re.compile(r"auto|cpu|mps|xpu|cuda(:\d+)?")
_MAIL_ADDRESS: Final = re.compile(r"[^\s@<>,;:\"\\]{1,64}@[A-Za-z0-9.-]{1,255}")
_SHORT_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,47}")
_HEADER: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_NOT_IN_PATHS: Final = re.compile(r"[\s\x00-\x1f\x7f?#\\]")
_SYSTEM_COLUMNS: Final = frozenset({"tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"})
_ALIAS: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")


class Mistake(NamedTuple):
    """What is wrong with a value, and what to write instead."""

    what: str
    fix: str


class Located(NamedTuple):
    """A mistake of a value inside another one."""

    place: tuple[str | int, ...]
    """From the outer value on."""
    mistake: Mistake
    value: object = None
    """What is shown of it; None: nothing."""


class FromVariable(str):
    """A text that a variable said, and not the file: it may be a secret."""

    __slots__ = ()


Rule = Callable[[str], Mistake | None]
"""Judges one text."""


def refusal(mistake: Mistake) -> PydanticCustomError:
    """Wrap a mistake for pydantic, which collects it with the others."""
    return PydanticCustomError(MISTAKE, "{what}; fix: {fix}", mistake._asdict())


def refuse_all(title: str, found: Iterable[Located]) -> None:
    """Raise mistakes of inner values for pydantic, each at its place; nothing where there is none.

    Raises:
        ValidationError: naming all of them.
    """
    details = [
        InitErrorDetails(
            type=refusal(it.mistake),
            loc=it.place,
            input=NOT_SHOWN if it.value is None else it.value,
        )
        for it in found
    ]
    if details:
        raise ValidationError.from_exception_data(title, details)


def checked(rule: Rule) -> AfterValidator:
    """Make a rule part of a field's type."""

    def check(value: str) -> str:
        mistake = rule(value)
        if mistake is not None:
            raise refusal(mistake)
        return value

    return AfterValidator(check)


def _refuse_bool(value: Any) -> Any:
    if isinstance(value, bool):
        raise refusal(
            Mistake("must be a number", "write digits (yes, no, on and off mean true and false)")
        )
    return value


NOT_A_BOOL: Final = BeforeValidator(_refuse_bool)
"""Refuses the booleans that pydantic would take for 0 and 1."""


def as_id(value: Any) -> Any:
    """Take the number 7 for the id ``7``."""
    return str(value) if type(value) is int else value


def as_agreement(value: Any) -> Any:
    """How many copies have to agree: a word, or a number that may have come as text."""
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value)
    is_number = type(value) is int and 1 <= value <= MAX_COPIES
    if is_number or value is None or value in get_args(AgreementWord):
        return value
    words = ", ".join(get_args(AgreementWord))
    raise refusal(
        Mistake("is no number of copies", f"write {words}, or a number from 1 to {MAX_COPIES}")
    )


def repeated(names: Iterable[object]) -> list[object]:
    """Names that come up more than once, each once, in order."""
    seen: list[object] = []
    twice: list[object] = []
    for name in names:
        if name in seen and name not in twice:
            twice.append(name)
        seen.append(name)
    return twice


def why_not_a_column(value: str) -> Mistake | None:
    """Judge a column name."""
    if IDENTIFIER.fullmatch(value):
        return None
    return Mistake(
        "is not a safe column name",
        "use letters, digits and _ only, at most 63; offer other columns through a view",
    )


def why_not_a_table(value: str) -> Mistake | None:
    """Judge a table name, with or without its schema."""
    parts = value.split(".")
    if len(parts) <= 2 and all(map(IDENTIFIER.fullmatch, parts)):  # noqa: PLR2004 - schema.table
        return None
    return Mistake(
        "is not a safe table name", "write `table` or `schema.table` with letters, digits and _"
    )


def why_not_a_schema(value: str) -> Mistake | None:
    """Judge the name of a schema that will be created."""
    if not IDENTIFIER.fullmatch(value):
        return Mistake("is not a safe schema name", "use letters, digits and _ only, at most 63")
    if value.lower().startswith("pg_") or value.lower() == "information_schema":
        return Mistake("belongs to PostgreSQL itself", "choose another name")
    return None


def why_not_an_entity_name(value: str) -> Mistake | None:
    """Judge an entity name, which becomes part of every document id."""
    if _NAME.fullmatch(value):
        return None
    return Mistake(
        "is not an entity name", "start with a-z and go on with a-z, 0-9 and _, at most 63"
    )


def why_not_a_scope_key(value: str) -> Mistake | None:
    """Judge the key of a scope."""
    reason = None if value == GLOBAL_KEY else why_not_a_tenant_id(value)
    if reason is None:
        return None
    return Mistake(f"can be no tenant: {reason}", f"name a tenant's id, or {GLOBAL_KEY}")


def why_not_a_view_name(value: str) -> Mistake | None:
    """Judge a view name, which becomes the name of a vector."""
    if value == BM25_VECTOR:
        return Mistake("is the name of the sparse vector", "call the view something else")
    if _NAME.fullmatch(value):
        return None
    return Mistake("is not a view name", "start with a-z and go on with a-z, 0-9 and _, at most 63")


def why_not_a_payload_field(value: str) -> Mistake | None:
    """Judge a payload field; dots and brackets would be read as paths by Qdrant."""
    if value in RESERVED_FIELDS:
        return Mistake("is written by the pipeline itself", "choose another field name")
    if IDENTIFIER.fullmatch(value):
        return None
    return Mistake("is not a payload field", "use letters, digits and _ only, at most 63")


def why_not_an_alias(value: str) -> Mistake | None:
    """Judge the alias, from which collections and folders are named."""
    if _ALIAS.fullmatch(value):
        return None
    return Mistake("is not an alias", "use letters, digits, _ and -, at most 128")


def why_not_a_mail_address(value: str) -> Mistake | None:
    """Judge a mail address; one with a line break could add headers of its own."""
    if _MAIL_ADDRESS.fullmatch(value):
        return None
    return Mistake("is no mail address", "write NAME@HOST, e.g. ops@example.org")


def why_not_a_request_field(value: str) -> Mistake | None:
    """Judge a field of a request that people add to ours."""
    if value in _REQUEST_FIELDS:
        return Mistake("is a field that the pipeline fills in", "leave it out")
    if _NAME.fullmatch(value):
        return None
    return Mistake("is no name of a field", "start with a-z and go on with a-z, 0-9 and _")


def why_not_a_device(value: str) -> Mistake | None:
    """Judge where a model is to compute."""
    if _DEVICE.fullmatch(value):
        return None
    return Mistake("is no device", "choose auto, cpu, cuda, cuda:0, mps or xpu")


def why_not_a_connection_name(value: str) -> Mistake | None:
    """Judge the name of a connection, which becomes part of Dagster's pools."""
    return _why_not_a_short_name(value, "a connection")


_LAND_WORDS: Final = frozenset({"all", "follow", "rejected", "run", "status"})


def why_not_a_landing_name(value: str) -> Mistake | None:
    """Judge the name of a landing, which becomes part of assets, jobs and tables."""
    if value in _LAND_WORDS:
        return Mistake("is a word of the command `land`", "choose another name")
    return _why_not_a_short_name(value, "a landing")


def _why_not_a_short_name(value: str, whose: str) -> Mistake | None:
    if _SHORT_NAME.fullmatch(value):
        return None
    return Mistake(
        f"is no name of {whose}", "start with a-z and go on with a-z, 0-9 and _, at most 48"
    )


def why_not_a_field(value: str) -> Mistake | None:
    """Judge where a value is in a record."""
    try:
        parse_field(value)
    except ValueError:
        return Mistake(
            "names no field",
            "write keys with dots between them, [0] for an element of a list, [] for each of them, "
            'and "..." around a key with a dot or a bracket in it',
        )
    return None


def why_not_a_landed_column(value: str) -> Mistake | None:
    """Judge the name of a mapped column, beside those that every landing table has."""
    if value.lower() in OWN_COLUMNS:
        return Mistake("is written by the landing itself", "call the column something else")
    if value.lower() in _SYSTEM_COLUMNS:
        return Mistake("belongs to PostgreSQL itself", "call the column something else")
    if value.startswith("_"):
        return Mistake("begins as columns of our own do", "leave the _ in front out")
    return why_not_a_column(value)


def why_not_a_header(value: str) -> Mistake | None:
    """Judge the name of a header."""
    if _HEADER.fullmatch(value):
        return None
    return Mistake("is no name of a header", "write letters, digits and -, e.g. X-API-Key")


def why_not_a_scheme(value: str) -> Mistake | None:
    """Judge the word before a token."""
    if _HEADER.fullmatch(value):
        return None
    return Mistake("is no word before a token", "write one such as Bearer, or null")


def why_not_a_path(value: str) -> Mistake | None:
    """Judge a path below the address of a connection."""
    if "://" in value or value.startswith("//"):
        return Mistake(
            "leads to another address", "write what follows base_url, e.g. data/products"
        )
    if not value.strip("/"):
        return Mistake("is empty", "write what follows base_url, e.g. data/products")
    if _NOT_IN_PATHS.search(value):
        return Mistake(
            "has a ?, a # or a space in it", "write parameters under params, other signs as %20"
        )
    return None


def why_not_a_collection(value: str) -> Mistake | None:
    """Judge the name of a MongoDB collection."""
    if not value or "\x00" in value or "$" in value or value.startswith("system."):
        return Mistake("is no name of a collection", "write it as MongoDB does, without $")
    return None
