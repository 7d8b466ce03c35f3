"""How a REST API is asked for pages: one class per way, told apart by ``by``.

To add a way, add a class with its keys, and it to ``PAGES`` and ``Pages``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, ValidationInfo, field_validator

from sync_pipeline.core.landing.fields import parse_field
from sync_pipeline.core.landing.origin_options import ByKey, ByLink, ByOffset, ByPage, Paging
from sync_pipeline.settings.connections import FieldText, ParameterName
from sync_pipeline.settings.rules import (
    HIDDEN_PART,
    NOT_A_BOOL,
    Located,
    Mistake,
    refusal,
    refuse_all,
)
from sync_pipeline.settings.sections import Section

PageSize = Annotated[int, Field(ge=1, le=10_000), NOT_A_BOOL]


class OffsetPages(Section):
    """Pages by offset and number of records; the list has to be in a fixed order."""

    by: Literal["offset"]
    """How pages are asked for."""
    size: PageSize = 200
    """Records of a page."""
    overlap: Annotated[int, Field(ge=0, le=1000), NOT_A_BOOL] = Field(
        default=2, validate_default=True
    )
    """So many records of a page are asked for again with the next one: a record that is deleted
    meanwhile moves the list, and this shows it."""
    offset_param: ParameterName = "offset"
    """Parameter with the number of records before the page."""
    size_param: ParameterName = "limit"
    """Parameter with the size."""

    @field_validator("overlap")
    @classmethod
    def _moves_on(cls, overlap: int, info: ValidationInfo) -> int:
        size = info.data.get("size")
        if size is not None and overlap >= size:
            raise refusal(
                Mistake("is as large as a page", f"write less than size, which is {size}")
            )
        return overlap

    def as_paging(self) -> Paging:
        """The same for the adapter."""
        return ByOffset(
            size=self.size,
            overlap=self.overlap,
            offset_param=self.offset_param,
            size_param=self.size_param,
        )


class KeyPages(Section):
    """Each page begins after the last key of the one before."""

    by: Literal["key"]
    """How pages are asked for."""
    sort: FieldText
    """Field that the list is in the order of, and that never changes in a record: `ID`. It is the
    value of `sort_param` too."""
    key: FieldText | None = None
    """Where that field is in a record, where `sort` spells it for the API: `sort: "ID asc"`. Null:
    `sort`."""
    after: ParameterName = "after"
    """Parameter that takes the last key."""
    sort_param: ParameterName | None = "sort"
    """Parameter that takes `sort`. Null: the list is in that order by itself."""
    size: PageSize = 200
    """Records of a page."""
    size_param: ParameterName | None = "limit"
    """Parameter with the size. Null: none."""

    def as_paging(self) -> Paging:
        """The same for the adapter."""
        return ByKey(
            size=self.size,
            after_param=self.after,
            size_param=self.size_param,
            sort_param=self.sort_param,
            sort=None if self.sort_param is None else self.sort,
            key=parse_field(self.key or self.sort),
        )


class NumberPages(Section):
    """Pages by their number; what is deleted meanwhile may be missed or kept for a pass."""

    by: Literal["page"]
    """How pages are asked for."""
    size: PageSize = 200
    """Records of a page."""
    first: Annotated[int, Field(ge=0, le=1), NOT_A_BOOL] = 1
    """Number of the first page."""
    page_param: ParameterName = "page"
    """Parameter with the number."""
    size_param: ParameterName | None = "per_page"
    """Parameter with the size. Null: none."""

    def as_paging(self) -> Paging:
        """The same for the adapter."""
        return ByPage(
            size=self.size,
            first=self.first,
            page_param=self.page_param,
            size_param=self.size_param,
        )


class LinkPages(Section):
    """Each answer says where the next page is."""

    by: Literal["link"]
    """How pages are asked for."""
    next: FieldText | None = None
    """Where in the answer: an address, or a value for `cursor_param`. Null: in the header
    `Link`."""
    cursor_param: ParameterName | None = Field(default=None, validate_default=True)
    """Parameter that takes the value of `next`. Null: `next` is an address."""
    size: PageSize | None = None
    """Records of a page. Null: as many as the API gives."""
    size_param: ParameterName | None = Field(default=None, validate_default=True)
    """Parameter with the size."""

    @field_validator("cursor_param")
    @classmethod
    def _takes_a_value(cls, name: str | None, info: ValidationInfo) -> str | None:
        if name is not None and "next" in info.data and info.data["next"] is None:
            raise refusal(Mistake("takes a value that nothing names", "say where it is as `next`"))
        return name

    @field_validator("size_param")
    @classmethod
    def _takes_a_size(cls, name: str | None, info: ValidationInfo) -> str | None:
        if "size" in info.data and (name is None) != (info.data["size"] is None):
            raise refusal(
                Mistake("is missing, and size is said", "name the parameter that takes the size")
                if name is None
                else Mistake("takes a size that nothing says", "write size too")
            )
        return name

    def as_paging(self) -> Paging:
        """The same for the adapter."""
        return ByLink(
            next=None if self.next is None else parse_field(self.next),
            cursor_param=self.cursor_param,
            size=self.size,
            size_param=self.size_param,
        )


PAGES: Final[Mapping[str, type[Section]]] = {
    "offset": OffsetPages,
    "key": KeyPages,
    "page": NumberPages,
    "link": LinkPages,
}
"""Per way of asking for pages its class."""


def _way(value: Any) -> str:
    by = value.get("by") if isinstance(value, Mapping) else getattr(value, "by", None)
    return f"{HIDDEN_PART}{by if by in PAGES else 'offset'}"


def _of_one_way(value: Any) -> Any:
    """Refuse a way that there is not, at its own place."""
    if isinstance(value, Mapping) and value.get("by") not in PAGES:
        what = "is not known here" if "by" in value else "is missing"
        fix = f"choose {', '.join(PAGES)}"
        refuse_all("pages", [Located(("by",), Mistake(what, fix), value.get("by"))])
    return value


Pages = Annotated[
    Annotated[OffsetPages, Tag(f"{HIDDEN_PART}offset")]
    | Annotated[KeyPages, Tag(f"{HIDDEN_PART}key")]
    | Annotated[NumberPages, Tag(f"{HIDDEN_PART}page")]
    | Annotated[LinkPages, Tag(f"{HIDDEN_PART}link")],
    Discriminator(_way),
    BeforeValidator(_of_one_way),
]
