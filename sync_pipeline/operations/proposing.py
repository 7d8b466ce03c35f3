"""First settings for a database that nobody has described: proposed, shown, written."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from sync_pipeline.core.document import Document, Rejection
from sync_pipeline.core.errors import ConfigurationError
from sync_pipeline.core.proposal import Proposal, propose, scopes_in_sample
from sync_pipeline.core.scope import Scope
from sync_pipeline.operations.exporting import line_of
from sync_pipeline.operations.settings_file import entity_values, settings_text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from sync_pipeline.core.described import DescribedDatabase
    from sync_pipeline.settings import Settings
    from sync_pipeline.wiring import UnknownSource

SHOWN_DOCUMENTS: Final = 10
MOST_SCOPES: Final = 3
"""Scopes of an entity whose documents are shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownDocument:
    """What one row would become."""

    scope_key: str
    entity_type: str
    document_id: str
    text: str
    payload: dict[str, object]
    rejected: str | None = None
    """Why the row cannot become a document; it is set aside then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstSettings:
    """A proposal, what it would look like, and the file that says it."""

    database: DescribedDatabase
    proposal: Proposal
    documents: Sequence[ShownDocument]
    text: str
    """Of the settings file."""

    @property
    def questions(self) -> list[str]:
        """All of them, those that concern everything first."""
        return [
            *self.proposal.questions,
            *(question for one in self.proposal.entities for question in one.questions),
        ]

    def answer(self, *, file: str) -> dict[str, object]:
        """As JSON."""
        return {
            "ok": True,
            "file": file,
            "database": self.database.name,
            "entities": [
                {
                    **entity_values(one.entity),
                    "reasons": dict(one.reasons),
                    "questions": list(one.questions),
                }
                for one in self.proposal.entities
            ],
            "left_out": dict(self.proposal.left_out),
            "questions": self.questions,
            "documents": self.documents,
        }


def first_settings(
    source: UnknownSource,
    *,
    address: str | None,
    tables: Sequence[str] | None = None,
    now: datetime | None = None,
) -> FirstSettings:
    """Look at a database and propose settings; nothing is written.

    Args:
        source: The database.
        address: What the file says of it: a URL without a password; None for nothing.
        tables: Only these.
        now: The time; None asks the clock.

    Raises:
        ConfigurationError: a table that was named is not there.
        SourceUnavailableError: the database cannot be read.
    """
    from sync_pipeline.settings.entities import DEFAULT_ENTITIES

    database = source.describe(tables)
    _require_found(database, tables)
    proposal = propose(
        database,
        now=datetime.now(tz=UTC) if now is None else now,
        known=[entity.as_entity() for entity in DEFAULT_ENTITIES],
        wanted=[table.name for table in database.tables] if tables else None,
    )
    proposal, documents = _previewed(source, database, _loadable(proposal))
    return FirstSettings(
        database=database,
        proposal=proposal,
        documents=documents,
        text=settings_text(proposal, database=database, address=address),
    )


def address_for_file(url: str | None) -> tuple[str | None, str | None]:
    """What a settings file may say of a database, and otherwise what to set.

    Returns:
        The URL where it holds no secret, and a remark where it does.
    """
    from sync_pipeline.settings.urls import passwords_of

    if url is None:
        return None, None
    if passwords_of(url) or urlsplit(url).query:
        return None, (
            "The address of the database is not in the file, for it may hold a password: set "
            "DATABASE_URL."
        )
    return url, None


def write_settings(path: Path, text: str, *, replaces: bool) -> None:
    """Write the file.

    Raises:
        ConfigurationError: it is there already, or cannot be written.
    """
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        if not replaces:
            with path.open("x", encoding="utf-8") as file:
                file.write(text)
            return
        # In one step: whoever reads it meanwhile finds the old file or the new one.
        draft.write_text(text, encoding="utf-8")
        draft.replace(path)
    except FileExistsError as error:
        raise ConfigurationError(
            f"{path} is there already; nothing was written.",
            remedy="Say --force to replace it, or --output FILE to write another one.",
        ) from error
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error.strerror}.") from error


def _require_found(database: DescribedDatabase, tables: Sequence[str] | None) -> None:
    found = {table.name.rpartition(".")[2] for table in database.tables}
    missing = [name for name in tables or () if name.rpartition(".")[2] not in found]
    if missing:
        raise ConfigurationError(
            f"there is no table {missing[0]!r} in {database.name}, or role and schema do not "
            "show it; nothing was written.",
            remedy="Write it as schema.table; without --table all of them are looked at.",
        )


def _loadable(proposal: Proposal) -> Proposal:
    """Leave out what the settings would refuse, whatever a stranger calls tables and columns."""
    from pydantic import ValidationError

    from sync_pipeline.settings import EntitySettings

    kept, left_out = [], dict(proposal.left_out)
    for one in proposal.entities:
        try:
            loaded = EntitySettings.model_validate(entity_values(one.entity)).as_entity()
        except ValidationError as error:
            left_out[one.entity.table] = f"settings cannot say it: {error.errors()[0]['msg']}"
            continue
        kept.append(replace(one, entity=loaded))
    return replace(proposal, entities=tuple(kept), left_out=left_out)


def _previewed(
    source: UnknownSource, database: DescribedDatabase, proposal: Proposal
) -> tuple[Proposal, list[ShownDocument]]:
    """Show the first documents; what does not fit becomes a question."""
    from sync_pipeline.engine.questions.preview import preview_documents

    tables = {table.name: table for table in database.tables}
    entities = [one.entity for one in proposal.entities]
    scopes = {
        entity.name: [
            Scope.from_key(key) for key in _few(scopes_in_sample(tables[entity.table], entity))
        ]
        for entity in entities
    }
    preview = preview_documents(
        source.rows, entities=entities, scopes=scopes, limit=SHOWN_DOCUMENTS
    )
    asked = tuple(
        replace(one, questions=(*one.questions, preview.faults[one.entity.name]))
        if one.entity.name in preview.faults
        else one
        for one in proposal.entities
    )
    shown = [_shown(built, entity=entity) for entity, built in preview.built]
    return replace(proposal, entities=asked), shown


def _few(keys: Sequence[str]) -> list[str]:
    """Some tenants, and the last key, which is the global one where there is any."""
    return list(dict.fromkeys([*islice(keys, MOST_SCOPES - 1), *keys[-1:]]))


def _shown(built: Document | Rejection, *, entity: Any) -> ShownDocument:
    if isinstance(built, Rejection):
        return ShownDocument(
            scope_key="",
            entity_type=built.entity_type,
            document_id=built.db_id,
            text="",
            payload={},
            rejected=f"{built.reason.value}: {built.detail}",
        )
    line: dict[str, Any] = line_of(built, entity=entity)
    payload = line["payload"]
    return ShownDocument(
        scope_key=str(payload["scope_key"]),
        entity_type=entity.name,
        document_id=built.document_id,
        text=str(line["text"]),
        payload={field: payload.get(field) for field, _ in entity.payload},
    )


def read_address(settings: Settings) -> str | None:
    """The address of the source that settings name; None for the embedded database."""
    url = settings.source.url
    return None if url is None else url.get_secret_value()
