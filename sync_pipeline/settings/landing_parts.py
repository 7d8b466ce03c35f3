"""What a landing says beside pages: what is asked for, whose it is, columns, deletes, times."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from sync_pipeline.core.entity import Condition
from sync_pipeline.core.landing.fields import parse_field
from sync_pipeline.core.landing.origin_options import ChangesSince, LoaderSign
from sync_pipeline.core.landing.spec import (
    ColumnRule,
    ColumnType,
    FieldTest,
    Owner,
    TimeOfChange,
)
from sync_pipeline.core.landing.spec import Path as FieldPath
from sync_pipeline.settings.calendar_rules import why_not_a_cron, why_not_a_timezone
from sync_pipeline.settings.connections import FieldText, ParameterName, PathText
from sync_pipeline.settings.entities import AcceptedValues, Column, Only, TenantId
from sync_pipeline.settings.rules import (
    HIDDEN_PART,
    NOT_A_BOOL,
    Located,
    Mistake,
    checked,
    refusal,
    refuse_all,
    repeated,
    why_not_a_header,
    why_not_a_landed_column,
    why_not_a_path,
    why_not_a_table,
)
from sync_pipeline.settings.sections import Fraction, Section

Cron = Annotated[str, checked(why_not_a_cron)]
Timezone = Annotated[str, checked(why_not_a_timezone)]
Table = Annotated[str, checked(why_not_a_table)]
OverlapSeconds = Annotated[float, Field(ge=0, le=604_800), NOT_A_BOOL]
TimeType = Literal["timestamp", "epoch_seconds", "epoch_milliseconds"]

PLAIN: Final = f"{HIDDEN_PART}plain"


def form_of(value: Any) -> str:
    """Tell a section from a plain value, so that a mistake is named once."""
    return HIDDEN_PART if isinstance(value, Mapping | Section) else PLAIN


def _list_form(value: Any) -> str:
    """Tell a list from a plain value."""
    return HIDDEN_PART if isinstance(value, list | tuple) else PLAIN


Fields = Annotated[tuple[FieldText, ...], Field(min_length=1, max_length=16)]
RecordId = Annotated[
    Annotated[FieldText, Tag(PLAIN)] | Annotated[Fields, Tag(HIDDEN_PART)],
    Discriminator(_list_form),
]


class RequestSettings(Section):
    """The list that a landing asks for."""

    path: PathText
    """Of the list, below `base_url`, e.g. `data/products`."""
    method: Literal["GET", "POST"] = "GET"
    """How it is asked. Parameters are in the address of a GET and in the JSON body of a POST."""
    params: dict[ParameterName, str | int | float | bool] = Field(default={})
    """What is asked for beside pages: `{fields: all}`. Secrets stand in the connection."""

    @field_validator("params", mode="before")
    @classmethod
    def _are_plain(cls, params: Any) -> Any:
        if isinstance(params, Mapping):
            refuse_all(
                "params",
                [
                    Located(
                        (str(name),),
                        Mistake("is neither a text nor a number", "write a text or a number"),
                    )
                    for name, value in params.items()
                    if not isinstance(value, str | int | float)
                ],
            )
        return params


class RecordsSettings(Section):
    """Records whose fields are a list of names and values."""

    path: FieldText | None = None
    """Where the list of records is in the answer. Null: the answer is the list."""
    pairs: FieldText
    """Where the fields are in a record."""
    name: ParameterName = "name"
    """Key of a field's name there."""
    value: ParameterName = "value"
    """Key of its value."""


class TotalSettings(Section):
    """The number of records, in a header."""

    header: Annotated[str, checked(why_not_a_header)]
    """Which one, e.g. `X-Total-Count`."""


Records = Annotated[
    Annotated[FieldText | None, Tag(PLAIN)] | Annotated[RecordsSettings, Tag(HIDDEN_PART)],
    Discriminator(form_of),
]
Total = Annotated[
    Annotated[FieldText | None, Tag(PLAIN)] | Annotated[TotalSettings, Tag(HIDDEN_PART)],
    Discriminator(form_of),
]


class ChangeSettings(Section):
    """When the origin last changed a record."""

    field: FieldText
    """Where that is in a record."""
    type: TimeType = "timestamp"
    """`timestamp`: a text as ISO 8601 has it, or a time; or a number since 1970."""
    timezone: Timezone | None = None
    """Time zone of times without one, e.g. `Europe/Prague`; of the parameter too, where there is
    one."""

    @model_validator(mode="after")
    def _needs_its_zone(self) -> Self:
        if self.timezone is not None and self.type != "timestamp" and not self._asks_in_a_zone:
            mistake = Mistake("has no use with an epoch", "leave it out")
            refuse_all("change", [Located(("timezone",), mistake, self.timezone)])
        return self

    @property
    def _asks_in_a_zone(self) -> bool:
        return False

    def as_time_of_change(self) -> TimeOfChange:
        """The same for the engine."""
        return TimeOfChange(
            field=parse_field(self.field), type=ColumnType(self.type), timezone=self.timezone
        )


class IncrementalSettings(ChangeSettings):
    """How records are asked for that changed since a moment."""

    param: ParameterName
    """Parameter that takes the moment."""
    format: Literal["iso", "iso_seconds", "date", "epoch_seconds", "epoch_milliseconds"] = "iso"
    """How the moment is written; `iso_seconds` and `date` in `timezone`, where that is said."""
    overlap_seconds: OverlapSeconds = 600
    """So much further back is asked: for records that are written late, and clocks that differ."""

    @property
    def _asks_in_a_zone(self) -> bool:
        return not self.format.startswith("epoch")

    def as_since(self) -> ChangesSince:
        """The same for the adapter."""
        return ChangesSince(param=self.param, format=self.format, timezone=self.timezone)


class LoaderSignSettings(Section):
    """How another loader says that its table is complete."""

    table: Table
    """Where it keeps its loads, e.g. `raw._dlt_loads`."""
    where: Only = Field(default={})
    """What a finished load meets: `{status: 0}`."""
    load_column: Column | None = None
    """Column there that names a load, e.g. `load_id`: every load that a row names has to be
    finished."""
    row_column: Column | None = None
    """Column of the filled table that names the load of a row, e.g. `_dlt_load_id`."""
    newest_by: Column | None = None
    """Or the column by which the newest load is found, which has to be finished."""

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        refuse_all("complete_when", self._mistakes())
        return self

    def _mistakes(self) -> Iterator[Located]:
        if (self.load_column is None) != (self.row_column is None):
            lacking = "load_column" if self.load_column is None else "row_column"
            yield Located(
                (lacking,), Mistake("is missing", "name load_column and row_column together")
            )
        elif (self.load_column is None) == (self.newest_by is None):
            yield Located(
                ("newest_by",),
                Mistake(
                    "is missing, and so is load_column"
                    if self.newest_by is None
                    else "stands beside load_column",
                    "write load_column and row_column, or newest_by alone",
                ),
            )
        elif self.newest_by is not None and not self.where:
            yield Located(
                ("where",), Mistake("is missing", "say what a finished load meets: {status: 0}")
            )

    def as_sign(self) -> LoaderSign:
        """The same for the adapter."""
        return LoaderSign(
            table=self.table,
            where=tuple(Condition(column, values) for column, values in self.where.items()),
            newest_by=self.newest_by,
            load_column=self.load_column,
            row_column=self.row_column,
        )


class OwnerSettings(Section):
    """Whose the records are; exactly one of these."""

    # `global` is a word of Python's.
    is_global: bool | None = Field(default=None, alias="global")
    """`true`: every tenant's."""
    tenant: TenantId | None = None
    """All of this tenant."""
    tenant_field: FieldText | None = None
    """Or of the tenant that this field names."""

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        said = [it for it in (self.is_global, self.tenant, self.tenant_field) if it is not None]
        if len(said) != 1 or self.is_global is False:
            raise refusal(
                Mistake(
                    "names two owners" if len(said) > 1 else "names no owner",
                    "write {global: true}, {tenant: acme} or {tenant_field: FIELD}",
                )
            )
        return self

    def as_owner(self) -> Owner:
        """The same for the engine."""
        return Owner(tenant_id=self.tenant, tenant_field=path_of(self.tenant_field))


class GoneSettings(Section):
    """What a record is marked with that is deleted."""

    field: FieldText
    """The field with the mark."""
    # `is` is a word of Python's.
    accepted: AcceptedValues = Field(alias="is")
    """Its value, or a list of values, of deleted records."""

    def as_test(self) -> FieldTest:
        """The same for the engine."""
        return FieldTest(field=parse_field(self.field), accepted=self.accepted)


class ColumnSettings(Section):
    """A column that is more than the text of a field."""

    field: FieldText | None = None
    """Where its value is in a record."""
    fields: Fields | None = None
    """Or several fields that become one object, by their last keys; needs `type: jsonb`."""
    type: Literal[
        "text", "integer", "numeric", "boolean", "date", "timestamp", "epoch_seconds",
        "epoch_milliseconds", "jsonb",
    ] = "text"  # fmt: skip
    """What it holds. Other values are told and become null."""
    join: str | None = None
    """Stands between the elements of a list that becomes a text: `", "`."""
    decimal: Literal[".", ","] = "."
    """The sign before the fraction of a number that is given as a text."""
    timezone: Timezone | None = None
    """Of times that are given without one, e.g. `Europe/Prague`."""
    optional: bool = False
    """The origin may leave the field out of every record; else a pass without it is refused."""

    @model_validator(mode="after")
    def _fits_its_type(self) -> Self:
        refuse_all("column", self._mistakes())
        return self

    def _mistakes(self) -> Iterator[Located]:
        if (self.field is None) == (self.fields is None):
            what = "is missing" if self.field is None else "stands beside fields"
            yield Located(("field",), Mistake(what, "write field: NAME, or fields: [A, B]"))
        if self.fields is not None:
            yield from self._mistakes_of_an_object(self.fields)
        if self.join is not None and self.type != "text":
            yield _no_use("join", "only a text", type_=self.type)
        if self.decimal != "." and self.type not in {"integer", "numeric"}:
            yield _no_use("decimal", "only numeric and integer", type_=self.type)
        if self.timezone is not None and self.type not in {"timestamp", "date"}:
            yield _no_use("timezone", "only timestamp and date", type_=self.type)

    def _mistakes_of_an_object(self, fields: tuple[str, ...]) -> Iterator[Located]:
        if self.type != "jsonb":
            yield Located(
                ("type",), Mistake("cannot hold an object of fields", "write type: jsonb")
            )
        last = [parse_field(field)[-1] for field in fields]
        for place, step in enumerate(last):
            if not isinstance(step, str):
                yield Located(
                    ("fields", place), Mistake("ends with no key", "leave the [] at its end out")
                )
        for name in repeated(step for step in last if isinstance(step, str)):
            yield Located(
                ("fields",),
                Mistake(f"has two fields whose last key is {name!r}", "make columns of their own"),
            )

    def as_rule(self, name: str) -> ColumnRule:
        """The same for the engine."""
        fields = (self.field or "",) if self.fields is None else self.fields
        return ColumnRule(
            name=name,
            fields=tuple(map(parse_field, fields)),
            type=ColumnType(self.type),
            join=self.join,
            decimal=self.decimal,
            timezone=self.timezone,
            is_optional=self.optional,
            is_object=self.fields is not None,
        )


def _no_use(key: str, where: str, *, type_: str) -> Located:
    return Located((key,), Mistake(f"has no use with {type_}", f"{where} takes it; leave it out"))


Columns = Annotated[
    Mapping[
        Annotated[str, checked(why_not_a_landed_column)],
        Annotated[
            Annotated[FieldText, Tag(PLAIN)] | Annotated[ColumnSettings, Tag(HIDDEN_PART)],
            Discriminator(form_of),
        ],
    ],
    Field(min_length=1),
]


def _why_not_a_lookup(value: str) -> Mistake | None:
    if value.count("{id}") != 1 or set(value.replace("{id}", "")) & {"{", "}"}:
        return Mistake("does not say where the id goes", 'write it as "data/products/{id}"')
    return why_not_a_path(value.replace("{id}", "id"))


class DeletesSettings(Section):
    """When rows go whose record is gone."""

    confirm: Literal["none", "lookup", "second_pass"] | None = None
    """What has to be seen, beyond a complete pass: `lookup`, the origin is asked for the record and
    does not have it; `second_pass`, the next complete pass does not have it either; `none`. Null:
    `second_pass` for rest, else `none`."""
    lookup: Annotated[str, checked(_why_not_a_lookup)] | None = None
    """For rest, path of one record, with `{id}` where its id goes: `data/products/{id}`."""
    lookup_record: FieldText | None = None
    """Where the record is in that answer. Null: the answer is the record."""
    max_lookups: Annotated[int, Field(ge=1, le=1_000_000), NOT_A_BOOL] = 500
    """Most records that one pass asks for; the others stay for the next one."""
    max_deleted_fraction: Fraction = 0.1
    """Largest share of the table that one pass may delete; more is refused, and nothing is deleted.
    1 allows everything."""
    min_deletions_guarded: Annotated[int, Field(ge=0), NOT_A_BOOL] = 20
    """Up to so many deletes are allowed whatever their share; emptying the table is not."""


class LandingScheduleSettings(Section):
    """When records land by themselves, by `schedule.timezone`."""

    full: Cron | None = None
    """When all records are fetched, as a cron expression of five fields: `"0 1 * * *"`. Null:
    never."""
    incremental: Cron | None = None
    """When those are fetched that changed, e.g. `"*/15 * * * *"`. Null: never."""


def path_of(field: str | None) -> FieldPath | None:
    """Where a value is; None where nothing is said."""
    return None if field is None else parse_field(field)
