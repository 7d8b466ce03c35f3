"""The source tables: which they are and how their rows become documents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    Tag,
    ValidationInfo,
    field_validator,
)

from sync_pipeline.core.entity import (
    Archive,
    Condition,
    Constant,
    Criterion,
    Entity,
    Sharing,
    TimeKind,
)
from sync_pipeline.core.priority import MAX_CRITERIA
from sync_pipeline.core.scope import why_not_a_tenant_id
from sync_pipeline.settings.calendar_rules import why_not_a_timezone
from sync_pipeline.settings.rules import (
    HIDDEN_PART,
    NOT_A_BOOL,
    Mistake,
    as_id,
    checked,
    refusal,
    repeated,
    why_not_a_column,
    why_not_a_payload_field,
    why_not_a_table,
    why_not_a_view_name,
    why_not_an_entity_name,
)
from sync_pipeline.settings.sections import Section

DEFAULT_PASSAGE_TOKENS: Final = 100

Column = Annotated[str, checked(why_not_a_column)]
Columns = Annotated[tuple[Column, ...], Field(min_length=1)]
Payload = Mapping[Annotated[str, checked(why_not_a_payload_field)], Column]


def _why_not_a_tenant(value: str) -> Mistake | None:
    reason = why_not_a_tenant_id(value)
    return None if reason is None else Mistake(f"cannot be a tenant: {reason}", "choose another id")


TenantId = Annotated[str, BeforeValidator(as_id), checked(_why_not_a_tenant)]


class TenantSettings(Section):
    """One tenant who owns every row of the table."""

    value: TenantId
    """Its id."""


class TimeSettings(Section):
    """A time of change that its type does not explain."""

    column: Column
    """Its column."""
    kind: Literal["local", "epoch_seconds", "epoch_milliseconds"] | None = None
    """`local`: a time without zone, or a day, of `timezone`. Null: what its type says."""
    timezone: Annotated[str, checked(why_not_a_timezone)] | None = Field(
        default=None, validate_default=True
    )
    """Time zone of a `local` time, e.g. `Europe/Prague`."""

    @field_validator("timezone")
    @classmethod
    def _belongs_to_local(cls, timezone: str | None, info: ValidationInfo) -> str | None:
        kind = info.data.get("kind")
        if kind == "local" and timezone is None:
            raise refusal(
                Mistake("is missing", "name the zone of the times: timezone: Europe/Prague")
            )
        if timezone is not None and kind in ("epoch_seconds", "epoch_milliseconds"):
            raise refusal(Mistake("has no use with an epoch", "leave it out"))
        return timezone


def _as_list(value: Any) -> Any:
    """Take one accepted value for a list of one."""
    return value if isinstance(value, list | tuple) else (value,)


def _refuse_other_values(value: Any) -> Any:
    if value is None or type(value) in (bool, int, str):
        return value
    raise refusal(
        Mistake("is no value to compare with", "write a text in quotes, a number, true or null")
    )


def _refuse_other_rules(value: Any) -> Any:
    if type(value) in (bool, str):
        return value
    raise refusal(
        Mistake("is no rule", "name a boolean column, or write true, false or tenant_is_null")
    )


def _check_column(value: Any) -> Any:
    mistake = why_not_a_column(value) if isinstance(value, str) else None
    if mistake is not None:
        raise refusal(mistake)
    return value


def _tag(value: Any) -> str:
    """Tell a section from the name of a column, so that a mistake is named once."""
    is_column = not isinstance(value, Mapping | Section | list | tuple)
    return f"{HIDDEN_PART}column" if is_column else HIDDEN_PART


_COLUMN: Final = Tag(f"{HIDDEN_PART}column")
_SECTION: Final = Tag(HIDDEN_PART)
_BY_FORM: Final = Discriminator(_tag)

Id = Annotated[
    Annotated[Column, _COLUMN]
    | Annotated[tuple[Column, ...], Field(min_length=1, max_length=16), _SECTION],
    _BY_FORM,
]
Tenant = Annotated[
    Annotated[Column, _COLUMN] | Annotated[TenantSettings, _SECTION],
    _BY_FORM,
]
UpdatedAt = Annotated[
    Annotated[Column | None, _COLUMN] | Annotated[TimeSettings, _SECTION],
    _BY_FORM,
]
IsGlobal = Annotated[
    bool | str, BeforeValidator(_refuse_other_rules), AfterValidator(_check_column)
]
Accepted = Annotated[bool | int | str | None, BeforeValidator(_refuse_other_values)]
AcceptedValues = Annotated[tuple[Accepted, ...], Field(min_length=1), BeforeValidator(_as_list)]
"""One accepted value, or a list of them."""
Only = Mapping[Column, AcceptedValues]


class ViewSettings(Section):
    """A view that is more than columns."""

    columns: Columns
    """The columns that are joined to its text, in this order."""
    long: bool = False
    """Cut the text into passages at the ends of sentences, each with a vector of its own: all of a
    text is found by its meaning, and not only what the model reads of it."""
    passage_tokens: Annotated[int, Field(ge=16, le=8192), NOT_A_BOOL] = Field(
        default=DEFAULT_PASSAGE_TOKENS, validate_default=True
    )
    """Most tokens of a passage of a `long` view; no more than the model reads. Shorter ones find
    more and take more room."""
    model: Annotated[str, Field(min_length=1)] | None = None
    """One of `embedding.models`. Null: the model of `embedding` itself."""

    @field_validator("passage_tokens")
    @classmethod
    def _has_effect(cls, tokens: int, info: ValidationInfo) -> int:
        if tokens != DEFAULT_PASSAGE_TOKENS and not info.data.get("long"):
            raise refusal(Mistake("has no effect", "write long: true too, or leave it out"))
        return tokens


def _view_tag(value: Any) -> str:
    """Tell a section from a list of columns, so that a mistake is named once."""
    return HIDDEN_PART if isinstance(value, Mapping | Section) else f"{HIDDEN_PART}columns"


View = Annotated[
    Annotated[Columns, Tag(f"{HIDDEN_PART}columns")] | Annotated[ViewSettings, Tag(HIDDEN_PART)],
    Discriminator(_view_tag),
]
Views = Annotated[Mapping[Annotated[str, checked(why_not_a_view_name)], View], Field(min_length=1)]


class ArchiveSettings(Section):
    """Documents that keep text and payload and lose their vectors."""

    when: Only = Field(default_factory=dict)
    """As `only`: `{status: [completed, cancelled]}`. Empty: every row that is old enough."""
    older_than_days: Annotated[int, Field(ge=1, le=36_500), NOT_A_BOOL]
    """Days since the row was last changed, by `updated_at`."""


class CriterionSettings(Section):
    """What comes first: rows that meet conditions, or one end of a column's values."""

    when: Only = Field(default_factory=dict)
    """As `only`: rows that meet it come before those that do not."""
    column: Column | None = Field(default=None, validate_default=True)
    """Or a column with a number, a time, a date or a boolean; rows without a value come last."""
    order: Literal["ascending", "descending"] | None = Field(default=None, validate_default=True)
    """`ascending`: the smallest or oldest first. `descending`: the largest or newest."""

    @field_validator("column")
    @classmethod
    def _says_one_thing(cls, column: str | None, info: ValidationInfo) -> str | None:
        if "when" in info.data and (column is None) == (not info.data["when"]):
            raise refusal(
                Mistake(
                    "is missing, and so is `when`" if column is None else "stands beside `when`",
                    "write when: {status: active}, or column: updated_at and an order; one of them "
                    "per element of the list",
                )
            )
        return column

    @field_validator("order")
    @classmethod
    def _belongs_to_a_column(cls, order: str | None, info: ValidationInfo) -> str | None:
        if "column" in info.data and (order is None) != (info.data["column"] is None):
            raise refusal(
                Mistake(
                    "is missing" if order is None else "has no use with `when`",
                    "write ascending (the smallest or oldest first) or descending (the largest or "
                    "newest first)"
                    if order is None
                    else "leave it out: rows that meet the conditions come first",
                )
            )
        return order

    def as_criterion(self) -> Criterion:
        """Convert to the value that the engine works with."""
        return Criterion(
            when=_conditions(self.when),
            column=self.column,
            is_descending=self.order == "descending",
        )


class EntitySettings(Section):
    """A source table and how its rows become documents."""

    name: Annotated[str, checked(why_not_an_entity_name)]
    """Entity type, e.g. `material`: part of every document id, and the payload field `type`."""
    table: Annotated[str, checked(why_not_a_table)]
    """Table, or `schema.table`."""
    id: Id = "id"
    """Column that is unique in the table, or a list of columns that are unique together, e.g.
    `[shop_id, sku]`."""
    tenant: Tenant = "tenant_id"
    """Column with the tenant that owns the row, or `{value: acme}` where all rows are one
    tenant's."""
    is_global: IsGlobal = "is_global"
    """Boolean column; true shares the row with every tenant. Or `true` or `false` for all rows, or
    `tenant_is_null`: rows without a tenant are shared."""
    only: Only = Field(default_factory=dict)
    """Rows that count, per column the accepted value or values: `{deleted_at: null, status:
    [active, draft]}`. For other rows it is as if they were not there."""
    updated_at: UpdatedAt = None
    """Column with the time of the last change; or `{column: changed, kind: local, timezone:
    Europe/Prague}` for times without zone, kind `epoch_seconds` or `epoch_milliseconds` for
    numbers; null where there is none, then every sync of the table is a full one."""
    views: Views
    """Per view the columns that are joined to its text, in this order: `{text: [name, unit]}`. Each
    view is one vector; with `{story: {columns: [description], long: true}}` it is one per passage
    of a long text, and with `model: NAME` its vectors are of another model."""
    payload: Payload = Field(default_factory=dict)
    """Per payload field the column it is filled from."""
    markup: Literal["none", "html"] = "none"
    """`html` where texts are HTML: tags separate words, entities are decoded."""
    archive: ArchiveSettings | None = Field(default=None, validate_default=True)
    """Documents that lose their vectors and are still found by their words: `{when: {status:
    [completed, cancelled]}, older_than_days: 90}`. They get them back when the rule holds no
    more. Needs `updated_at`."""

    priority: Annotated[tuple[CriterionSettings, ...], Field(max_length=MAX_CRITERIA)] = ()
    """What is embedded and written first within a scope, the deciding criterion in front: `[{when:
    {status: active}}, {column: updated_at, order: descending}]`. A change of it embeds and writes
    nothing."""

    @field_validator("id")
    @classmethod
    def _each_once(cls, columns: Id) -> Id:
        for name in repeated([columns] if isinstance(columns, str) else columns):
            raise refusal(Mistake(f"names {name!r} twice", "name each column once"))
        return columns

    @field_validator("is_global")
    @classmethod
    def _fits_the_tenant(cls, is_global: IsGlobal, info: ValidationInfo) -> bool | str:
        is_constant = isinstance(info.data.get("tenant"), TenantSettings)
        if is_constant and is_global == Sharing.WITHOUT_TENANT.value:
            raise refusal(
                Mistake(
                    "asks for rows without a tenant, and all have one", "write false or a column"
                )
            )
        return is_global

    @field_validator("archive")
    @classmethod
    def _has_ages(
        cls, archive: ArchiveSettings | None, info: ValidationInfo
    ) -> ArchiveSettings | None:
        if archive is not None and "updated_at" in info.data and info.data["updated_at"] is None:
            raise refusal(
                Mistake("has no time to tell an age by", "name the column of `updated_at` too")
            )
        return archive

    @property
    def view_settings(self) -> dict[str, ViewSettings]:
        """Each view in full."""
        return {
            name: view if isinstance(view, ViewSettings) else ViewSettings(columns=view)
            for name, view in self.views.items()
        }

    def as_entity(self) -> Entity:
        """Convert to the value that the engine works with."""
        changed = self.updated_at
        if not isinstance(changed, TimeSettings):
            changed = None if changed is None else TimeSettings(column=changed)
        return Entity(
            name=self.name,
            table=self.table,
            id=(self.id,) if isinstance(self.id, str) else self.id,
            tenant=Constant(self.tenant.value)
            if isinstance(self.tenant, TenantSettings)
            else self.tenant,
            is_global=_sharing(is_global=self.is_global),
            only=_conditions(self.only),
            updated_at=None if changed is None else changed.column,
            updated_at_kind=TimeKind.BY_TYPE
            if changed is None or changed.kind is None
            else TimeKind(changed.kind),
            updated_at_zone=None if changed is None else changed.timezone,
            views=tuple((name, view.columns) for name, view in self.view_settings.items()),
            long_views=tuple(
                (name, view.passage_tokens)
                for name, view in self.view_settings.items()
                if view.long
            ),
            payload=tuple(self.payload.items()),
            markup=self.markup,
            archive=None
            if self.archive is None
            else Archive(
                when=_conditions(self.archive.when),
                older_than_days=self.archive.older_than_days,
            ),
            priority=tuple(criterion.as_criterion() for criterion in self.priority),
        )


def _conditions(accepted: Only) -> tuple[Condition, ...]:
    return tuple(Condition(column, values) for column, values in accepted.items())


def _sharing(*, is_global: bool | str) -> str | Sharing:
    if isinstance(is_global, bool):
        return Sharing.ALL if is_global else Sharing.NONE
    return Sharing.WITHOUT_TENANT if is_global == Sharing.WITHOUT_TENANT.value else is_global


DEFAULT_ENTITIES: Final = (
    EntitySettings(
        name="material",
        table="materials",
        updated_at="updated_at",
        views={"text": ("name", "category", "supplier", "unit")},
        payload={
            "categoryId": "category",
            "supplierId": "supplier",
            "unit": "unit",
            "price": "price",
        },
    ),
    EntitySettings(
        name="work",
        table="works",
        updated_at="updated_at",
        views={"text": ("name", "category", "unit")},
        payload={"categoryId": "category", "unit": "unit"},
    ),
)
"""A construction catalogue."""


def repeated_name(name: object) -> Mistake:
    """Say that two entities share a name."""
    return Mistake(f"has two entities called {name!r}", "give each table a name of its own")


def _distinct(entities: tuple[EntitySettings, ...]) -> tuple[EntitySettings, ...]:
    for name in repeated(entity.name for entity in entities):
        raise refusal(repeated_name(name))
    return entities


def _alike(entities: tuple[EntitySettings, ...]) -> tuple[EntitySettings, ...]:
    """Views of one name are one vector of the index, whatever table their text is from."""
    first: dict[str, tuple[str, ViewSettings]] = {}
    for entity in entities:
        for name, view in entity.view_settings.items():
            owner, known = first.setdefault(name, (entity.name, view))
            if _kind(known) != _kind(view):
                raise refusal(
                    Mistake(
                        f"has the view {name!r} in two forms: {owner} and {entity.name} differ in "
                        "long, passage_tokens or model",
                        "write the same for both, or give one of them another name",
                    )
                )
    return entities


def _kind(view: ViewSettings) -> tuple[object, ...]:
    return view.long, view.passage_tokens, view.model


Entities = Annotated[
    tuple[EntitySettings, ...],
    Field(min_length=1),
    AfterValidator(_distinct),
    AfterValidator(_alike),
]
"""At least one table, each under a name of its own."""
