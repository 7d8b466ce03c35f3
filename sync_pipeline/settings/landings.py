"""Records of other systems, and the tables that they land in: one class per kind of origin.

Which kind a landing is follows from its connection, or from ``from``; ``told_kinds`` notes it
before anything is read, so that a key of another kind is refused as such.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, ClassVar, Final, Literal, Self, TypeAlias

from pydantic import (
    BeforeValidator,
    Discriminator,
    Field,
    Tag,
    field_validator,
    model_validator,
)

from sync_pipeline.core.cleanup import CleanupPolicy
from sync_pipeline.core.hashing import digest
from sync_pipeline.core.landing.fields import parse_field
from sync_pipeline.core.landing.origin_options import (
    MongoRequest,
    RestRequest,
    TableRequest,
)
from sync_pipeline.core.landing.spec import (
    Confirmation,
    DeletionRules,
    FieldTest,
    Landing,
    TimeOfChange,
    split_table,
)
from sync_pipeline.core.landing.spec import Path as FieldPath
from sync_pipeline.settings.connections import FieldText, kind_of
from sync_pipeline.settings.entities import AcceptedValues
from sync_pipeline.settings.landing_pages import KeyPages, OffsetPages, Pages, PageSize
from sync_pipeline.settings.landing_parts import (
    ChangeSettings,
    Columns,
    ColumnSettings,
    DeletesSettings,
    GoneSettings,
    IncrementalSettings,
    LandingScheduleSettings,
    LoaderSignSettings,
    OwnerSettings,
    RecordId,
    Records,
    RecordsSettings,
    RequestSettings,
    Table,
    Total,
    TotalSettings,
    path_of,
)
from sync_pipeline.settings.rules import (
    HIDDEN_PART,
    NOT_A_BOOL,
    Located,
    Mistake,
    checked,
    refusal,
    refuse_all,
    repeated,
    why_not_a_collection,
    why_not_a_landing_name,
)
from sync_pipeline.settings.sections import Fraction, Section

LandingKind = Literal["rest", "mongodb", "table"]
Hours = Annotated[float, Field(gt=0, le=8760), NOT_A_BOOL]


class LandingSettings(Section):
    """Records of one kind of one system, and the table that they land in."""

    kind: ClassVar[LandingKind]
    default_confirm: ClassVar[Confirmation] = Confirmation.NONE

    name: Annotated[str, checked(why_not_a_landing_name)]
    """Its name: the asset is `landed_<name>`."""
    table: Table | None = None
    """Table that is made for it, with `id`, `tenant_id`, `is_global`, the columns below,
    `source_key`, `source_modified_at` and `updated_at`. Null: `landing.<name>`."""
    id: RecordId
    """Field that identifies a record, or a list of fields that do together."""
    required: tuple[FieldText, ...] = ()
    """Fields that every record should have: those without land and are told."""
    owner: OwnerSettings
    """Whose the rows are: `{global: true}`, `{tenant: acme}`, or `{tenant_field: Firma}`."""
    gone_when: GoneSettings | None = None
    """What the origin marks a deleted record with: `{field: Smazano, is: true}`."""
    where: Mapping[FieldText, AcceptedValues] = Field(default={})
    """Records that count, per field the accepted value or values: `{status: [published, null]}`.
    Others are as good as deleted."""
    columns: Columns
    """Per column the field that it is filled from, or `{field: Cena, type: numeric, decimal:
    ","}`."""
    modified: ChangeSettings | None = None
    """When a record was last changed, where nothing asks for changes by it: `{field: changed}`. Of
    records with one id the newest counts."""
    deletes: DeletesSettings = DeletesSettings()
    """When rows go whose record is gone."""
    max_pass_age_hours: Hours = 6
    """A pass that was cut off and began longer ago is begun anew."""
    max_rejected_fraction: Fraction = 0.1
    """Share of records without an id or with a value of another type above which nothing lands."""
    fresh_hours: Hours = 48
    """A last complete pass that began longer ago is told as old."""
    schedule: LandingScheduleSettings = LandingScheduleSettings()
    """When it runs by itself."""

    @field_validator("deletes", "schedule", mode="before")
    @classmethod
    def _may_be_empty(cls, value: object) -> object:
        # `deletes:` with every line below it commented out is null, and means nothing.
        return {} if value is None else value

    @field_validator("id")
    @classmethod
    def _each_once(cls, fields: RecordId) -> RecordId:
        for name in repeated([fields] if isinstance(fields, str) else fields):
            raise refusal(Mistake(f"names {name!r} twice", "name each field once"))
        return fields

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        refuse_all("landing", self._mistakes())
        return self

    def _mistakes(self) -> Iterator[Located]:
        """What contradicts itself; the kinds add theirs."""
        default = type(self.deletes).model_fields["max_lookups"].default
        if self.confirm is not Confirmation.LOOKUP and self.deletes.max_lookups != default:
            yield Located(
                ("deletes", "max_lookups"),
                Mistake("has no effect", "write confirm: lookup too, or leave it out"),
            )

    @property
    def table_name(self) -> str:
        """The table, the default filled in."""
        return self.table or f"landing.{self.name}"

    @property
    def confirm(self) -> Confirmation:
        """How absences are confirmed, the default filled in."""
        said = self.deletes.confirm
        return self.default_confirm if said is None else Confirmation(said)

    @property
    def connection_name(self) -> str:
        """Name of the connection; of a table of another loader its own."""
        return self.name

    def as_landing(self) -> Landing:
        """Convert to the value that the engine works with."""
        return Landing(
            name=self.name,
            connection=self.connection_name,
            table=self.table_name,
            id=tuple(map(parse_field, (self.id,) if isinstance(self.id, str) else self.id)),
            key=self._key,
            owner=self.owner.as_owner(),
            columns=tuple(
                (it if isinstance(it, ColumnSettings) else ColumnSettings(field=it)).as_rule(name)
                for name, it in self.columns.items()
            ),
            required=tuple(map(parse_field, self.required)),
            where=tuple(
                FieldTest(field=parse_field(field), accepted=accepted)
                for field, accepted in self.where.items()
            ),
            gone_when=None if self.gone_when is None else self.gone_when.as_test(),
            changed=self._changed,
            overlap_seconds=self._overlap_seconds,
            deletions=DeletionRules(
                confirm=self.confirm,
                policy=CleanupPolicy(
                    max_deleted_fraction=self.deletes.max_deleted_fraction,
                    min_deletions_guarded=self.deletes.min_deletions_guarded,
                ),
                max_lookups=self.deletes.max_lookups,
            ),
            max_pass_age_seconds=self.max_pass_age_hours * 3600,
            max_rejected_fraction=self.max_rejected_fraction,
            fresh_seconds=self.fresh_hours * 3600,
            request_digest=digest(repr(self.as_request())),
        )

    def as_request(self) -> RestRequest | MongoRequest | TableRequest:
        """What the adapter of its origin asks for."""
        raise NotImplementedError

    @property
    def _key(self) -> FieldPath | None:
        """What the origin itself calls a record by, where that is not the id."""
        return None

    @property
    def _changed(self) -> TimeOfChange | None:
        return None if self.modified is None else self.modified.as_time_of_change()

    @property
    def _overlap_seconds(self) -> float:
        return 600.0


class RestLanding(LandingSettings):
    """Records of a REST API."""

    kind: ClassVar[LandingKind] = "rest"
    default_confirm: ClassVar[Confirmation] = Confirmation.SECOND_PASS

    connection: str
    """One of `connections`."""
    request: RequestSettings
    """The list: `{path: data/products, params: {fields: all}}`."""
    records: Records = None
    """Where the records are in an answer; `{path: rows, pairs: columns}` where each is a list of
    `{name, value}` pairs. Null: the answer is the list."""
    total: Total = None
    """Where an answer says how many records there are, or `{header: X-Total-Count}`. Null: the API
    gives none; then every delete is confirmed one by one."""
    pages: Pages
    """How pages are asked for: `{by: offset}`, `{by: key, sort: ID}`, `{by: page}` or `{by:
    link}`."""
    incremental: IncrementalSettings | None = None
    """How changes are asked for, where the API can: `{param: modified_since, field:
    last_modified}`."""

    def _mistakes(self) -> Iterator[Located]:
        yield from super()._mistakes()
        if self.modified is not None and self.incremental is not None:
            yield Located(
                ("modified",),
                Mistake("stands beside incremental, which says the same", "leave it out"),
            )
        if self.schedule.incremental is not None and self.incremental is None:
            yield Located(
                ("schedule", "incremental"),
                Mistake("has no way to ask for changes", "say incremental too, or leave it out"),
            )
        yield from self._mistakes_of_deletes()

    def _mistakes_of_deletes(self) -> Iterator[Located]:
        deletes = self.deletes
        is_looked_up = self.confirm is Confirmation.LOOKUP
        if is_looked_up and deletes.lookup is None:
            yield Located(
                ("deletes", "lookup"),
                Mistake("is missing", 'say how one record is asked for: "data/products/{id}"'),
            )
        if not is_looked_up and deletes.lookup is not None:
            yield Located(
                ("deletes", "lookup"),
                Mistake("has no effect", "write confirm: lookup too, or leave it out"),
            )
        if deletes.lookup is None and deletes.lookup_record is not None:
            yield Located(
                ("deletes", "lookup_record"),
                Mistake("has no effect", "write lookup too, or leave it out"),
            )
        if self.confirm is Confirmation.NONE and not self._proves_its_end:
            yield Located(
                ("deletes", "confirm"),
                Mistake(
                    "lets rows go although nobody can tell the end of the list from a failure",
                    "say total, and pages by key or by offset with an overlap; or confirm by "
                    "lookup or second_pass",
                ),
                deletes.confirm,
            )

    @property
    def _proves_its_end(self) -> bool:
        pages = self.pages
        is_seamless = isinstance(pages, KeyPages) or (
            isinstance(pages, OffsetPages) and pages.overlap > 0
        )
        return self.total is not None and is_seamless

    @property
    def connection_name(self) -> str:
        """Name of the connection."""
        return self.connection

    @property
    def _changed(self) -> TimeOfChange | None:
        return (
            super()._changed if self.incremental is None else self.incremental.as_time_of_change()
        )

    @property
    def _overlap_seconds(self) -> float:
        return (
            super()._overlap_seconds
            if self.incremental is None
            else self.incremental.overlap_seconds
        )

    def as_request(self) -> RestRequest:
        """What the adapter asks for."""
        records, total = self.records, self.total
        if not isinstance(records, RecordsSettings):
            pairs, pair_name, pair_value = None, "name", "value"
        else:
            pairs, pair_name, pair_value = parse_field(records.pairs), records.name, records.value
            records = records.path
        return RestRequest(
            path=self.request.path,
            method=self.request.method,
            params=self.request.params,
            records=path_of(records) or (),
            pairs=pairs,
            pair_name=pair_name,
            pair_value=pair_value,
            total=None if isinstance(total, TotalSettings) else path_of(total),
            total_header=total.header if isinstance(total, TotalSettings) else None,
            paging=self.pages.as_paging(),
            since=None if self.incremental is None else self.incremental.as_since(),
            lookup=self.deletes.lookup,
            lookup_record=path_of(self.deletes.lookup_record) or (),
        )


class MongoLanding(LandingSettings):
    """Documents of a MongoDB collection."""

    kind: ClassVar[LandingKind] = "mongodb"

    connection: str
    """One of `connections`."""
    collection: Annotated[str, checked(why_not_a_collection)]
    """The collection."""
    id: RecordId = "_id"
    """Field that identifies a document, or a list of fields that do together; `_id` itself is kept
    as `source_key`."""
    page_size: PageSize = 500
    """Documents that are read at once."""
    follow: Literal["change_stream"] | None = None
    """`change_stream`: changes are told by MongoDB itself, which needs a replica set. Null: full
    passes only."""

    def _mistakes(self) -> Iterator[Located]:
        yield from super()._mistakes()
        yield from _no_path_of_lookups(self.deletes, "mongodb looks documents up by `_id`")
        if self.schedule.incremental is not None and self.follow is None:
            yield Located(
                ("schedule", "incremental"),
                Mistake(
                    "has no way to ask for changes",
                    "write follow: change_stream too, or leave it out",
                ),
            )

    @property
    def connection_name(self) -> str:
        """Name of the connection."""
        return self.connection

    @property
    def _key(self) -> FieldPath | None:
        return ("_id",)

    def as_request(self) -> MongoRequest:
        """What the adapter reads."""
        return MongoRequest(
            collection=self.collection,
            page_size=self.page_size,
            follows=self.follow is not None,
        )


class TableLanding(LandingSettings):
    """Rows of a table in the source database that another loader fills."""

    kind: ClassVar[LandingKind] = "table"

    # `from` is a word of Python's.
    source_table: Table = Field(alias="from")
    """The table that dlt, Sling, Airbyte or Meltano fills: `raw.products`."""
    complete_when: LoaderSignSettings | None = None
    """How the loader says that the table is complete: `{table: raw._dlt_loads, where: {status: 0},
    load_column: load_id, row_column: _dlt_load_id}`. Null: nothing says so, and nothing is ever
    deleted."""
    page_size: PageSize = 2_000
    """Rows that are read at once."""

    def _mistakes(self) -> Iterator[Located]:
        yield from super()._mistakes()
        yield from _no_path_of_lookups(self.deletes, "a table is read as a whole")
        if split_table(self.source_table) == split_table(self.table_name):
            yield Located(
                ("table",),
                Mistake(
                    "is the table that the loader fills",
                    f"write another one, e.g. landing.{self.name}",
                ),
                self.table,
            )
        if self.confirm is Confirmation.LOOKUP:
            yield Located(
                ("deletes", "confirm"),
                Mistake("belongs to rest and mongodb", "write none or second_pass"),
                self.deletes.confirm,
            )
        if self.schedule.incremental is not None:
            yield Located(
                ("schedule", "incremental"),
                Mistake(
                    "belongs to rest and mongodb: a table is read as a whole",
                    "write it as schedule.full",
                ),
            )

    def as_request(self) -> TableRequest:
        """What the adapter reads."""
        return TableRequest(
            table=self.source_table,
            page_size=self.page_size,
            complete_when=None if self.complete_when is None else self.complete_when.as_sign(),
        )


def _no_path_of_lookups(deletes: DeletesSettings, why: str) -> Iterator[Located]:
    said = {"lookup": deletes.lookup, "lookup_record": deletes.lookup_record}
    for key, value in said.items():
        if value is not None:
            yield Located(("deletes", key), Mistake(f"belongs to rest: {why}", "remove it"), value)


AnyLandingSettings: TypeAlias = RestLanding | MongoLanding | TableLanding

LANDINGS: Final[Mapping[str, type[LandingSettings]]] = {
    "rest": RestLanding,
    "mongodb": MongoLanding,
    "table": TableLanding,
}
"""Per kind of origin its class."""


class _OfKind(dict[Any, Any]):
    """What the settings say of a landing, and of which kind that makes it.

    Attributes:
        kind: Of its origin; a guess where its connection does not say.
        mistake: That there is no such connection.
    """

    def __init__(self, said: Mapping[Any, Any], kind: str, mistake: Mistake | None) -> None:
        super().__init__(said)
        self.kind, self.mistake = kind, mistake


def told_kinds(values: Any) -> Any:
    """Note with each landing what kind of origin its connection leads to.

    Args:
        values: All settings as they were given; what is no mapping is left for pydantic to refuse.
    """
    if not isinstance(values, Mapping) or not isinstance(values.get("landings"), list | tuple):
        return values
    connections = values.get("connections")
    known = connections if isinstance(connections, Mapping) else {}
    return {**values, "landings": [_told_kind(it, known) for it in values["landings"]]}


def _told_kind(said: Any, connections: Mapping[Any, Any]) -> Any:
    if not isinstance(said, Mapping):
        return said
    name = said.get("connection")
    if "from" in said or not isinstance(name, str):
        return _OfKind(said, _guessed(said), None)
    if name not in connections:
        return _OfKind(said, _guessed(said), no_connection(connections))
    return _OfKind(said, kind_of(connections[name]) or _guessed(said), None)


def no_connection(known: Iterable[str]) -> Mistake:
    """Say that a landing names no connection that there is."""
    names = ", ".join(known) or "none so far"
    return Mistake("is none of connections", f"add it there; there are: {names}")


def _of_a_connection(value: Any) -> Any:
    """Refuse one that leads nowhere: what it may say depends on where it leads."""
    if isinstance(value, _OfKind) and value.mistake is not None:
        refuse_all("landing", [Located(("connection",), value.mistake, value["connection"])])
    return value


def _guessed(said: Mapping[Any, Any]) -> str:
    if "from" in said:
        return "table"
    return "mongodb" if "collection" in said else "rest"


def _kind(value: Any) -> str:
    if isinstance(value, Mapping) and not isinstance(value, _OfKind):
        return f"{HIDDEN_PART}{_guessed(value)}"
    return f"{HIDDEN_PART}{getattr(value, 'kind', 'rest')}"


AnyLanding = Annotated[
    Annotated[RestLanding, Tag(f"{HIDDEN_PART}rest")]
    | Annotated[MongoLanding, Tag(f"{HIDDEN_PART}mongodb")]
    | Annotated[TableLanding, Tag(f"{HIDDEN_PART}table")],
    Discriminator(_kind),
    BeforeValidator(_of_a_connection),
]
"""A landing of any kind of origin."""
