"""The text of a settings file that is proposed: what is chosen, why, and what is open."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any, Final

from sync_pipeline.core.entity import Constant, Sharing, TimeKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sync_pipeline.core.described import DescribedDatabase
    from sync_pipeline.core.entity import Entity
    from sync_pipeline.core.proposal import Proposal, ProposedEntity

WIDTH: Final = 96
MOST_LEFT_OUT: Final = 100
"""Tables that are left out and named in the file."""


def settings_text(proposal: Proposal, *, database: DescribedDatabase, address: str | None) -> str:
    """A whole file.

    Args:
        proposal: What it says.
        database: What it is about.
        address: Of the database; None where the file says nothing of it.
    """
    lines = [
        *_comment(
            f"Proposed by `sync-pipeline init` for {database.name}. docs/configuration.md "
            "says what else there is; `sync-pipeline doctor` looks whether it fits."
        ),
        *_questions(proposal.questions, indent=""),
        "",
    ]
    if address is not None:
        lines += [f"source: {_flow({'url': address})}", ""]
    if proposal.entities:
        lines += ["entities:"]
        for one in proposal.entities:
            lines += _entity_lines(one, database)
    else:
        lines += _comment("No entity is proposed: name your tables under `entities`.")
    if proposal.left_out:
        lines += ["", *_comment("Left out:")]
        for table, reason in list(proposal.left_out.items())[:MOST_LEFT_OUT]:
            lines += _comment(f"- {table}: {reason}")
        more = len(proposal.left_out) - MOST_LEFT_OUT
        lines += _comment(f"- and {more} more") if more > 0 else []
    return "\n".join(lines) + "\n"


def entity_values(entity: Entity) -> dict[str, Any]:
    """An entity as a settings file has it; what is the default there is left out."""
    changed: object = entity.updated_at
    if entity.updated_at is not None and entity.updated_at_kind is not TimeKind.BY_TYPE:
        changed = {"column": entity.updated_at, "kind": entity.updated_at_kind.value}
    values: dict[str, Any] = {
        "name": entity.name,
        "table": entity.table,
        "id": entity.id[0] if len(entity.id) == 1 else list(entity.id),
        "tenant": {"value": entity.tenant.value}
        if isinstance(entity.tenant, Constant)
        else entity.tenant,
        "is_global": _sharing(entity.is_global),
        "only": {
            it.column: it.accepted[0] if len(it.accepted) == 1 else list(it.accepted)
            for it in entity.only
        },
        "updated_at": changed,
        "views": _views(entity),
        "payload": dict(entity.payload),
        "markup": entity.markup,
    }
    defaults: dict[str, object] = {"only": {}, "updated_at": None, "payload": {}, "markup": "none"}
    return {key: value for key, value in values.items() if defaults.get(key, ...) != value}


def _views(entity: Entity) -> dict[str, Any]:
    long = dict(entity.long_views)
    return {
        name: {"columns": list(columns), "long": True} if name in long else list(columns)
        for name, columns in entity.views
    }


def _sharing(is_global: str | Sharing) -> str | bool:
    if isinstance(is_global, str):
        return is_global
    if is_global is Sharing.WITHOUT_TENANT:
        return str(is_global.value)
    return is_global is Sharing.ALL


def _entity_lines(one: ProposedEntity, database: DescribedDatabase) -> Iterator[str]:
    """An entity, with the reason of a key behind it, or above where the key is left out."""
    table = next(it for it in database.tables if it.name == one.entity.table)
    values = entity_values(one.entity)
    rows = f", about {table.estimated_rows:,} rows" if table.estimated_rows else ""
    yield from _comment(f"{table.kind} {table.name}{rows}", indent="  ")
    yield from _questions(one.questions, indent="  ")
    for key, reason in one.reasons.items():
        if key not in values:
            yield from _comment(f"{key}: {reason}", indent="  ")
    for number, (key, value) in enumerate(values.items()):
        line = f"  {'-' if number == 0 else ' '} {key}: {_flow(value)}"
        reason = one.reasons.get(key, "")
        [behind] = _comment(reason, width=len(reason) + WIDTH) or [""]
        is_short = len(line) + len(behind) + 2 <= WIDTH
        if behind and not is_short and number:
            yield from _comment(reason, indent="    ")
        yield f"{line}  {behind}".rstrip() if is_short else line


def _questions(questions: tuple[str, ...], *, indent: str) -> Iterator[str]:
    for question in questions:
        yield from _comment(f"TO DECIDE: {question}", indent=indent)


def _comment(text: str, *, indent: str = "", width: int = WIDTH) -> list[str]:
    """Lines of a comment; names of tables may hold anything, and must not end it."""
    plain = "".join(it if it.isprintable() else "\ufffd" for it in text)
    prefix = f"{indent}# "
    return textwrap.wrap(
        plain,
        width=width,
        initial_indent=prefix,
        subsequent_indent=prefix,
        break_on_hyphens=False,
        break_long_words=False,
    )


def _flow(value: object) -> str:
    """A value on one line; words such as ``no`` in quotes, which YAML takes for false."""
    import yaml

    text = yaml.safe_dump(
        value, default_flow_style=True, width=100_000, allow_unicode=True, sort_keys=False
    )
    return str(text).removesuffix("...\n").strip()
