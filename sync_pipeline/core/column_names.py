"""What names of tables and columns tell in the schemas that people have."""

from __future__ import annotations

import re
from typing import Final

_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")

TENANTS: Final = (
    "tenant", "account", "organization", "organisation", "org", "company", "workspace", "shop",
    "store", "merchant", "customer", "client", "team", "firm", "department", "dept", "branch",
    "owner", "site",
)  # fmt: skip
"""Whoever owns a row, the likeliest first."""
_BARE_TENANTS: Final = frozenset({"tenant", "account", "org", "workspace"})
"""Those that name an id also without ``_id``; the others may be somebody's name."""
_ID_ENDINGS: Final = ("_id", "_uuid", "_key", "_code", "_no")

FLAGS: Final = (
    "is_global", "global", "is_shared", "shared", "is_public", "public", "is_common", "common",
    "for_all", "is_system", "system",
)  # fmt: skip
"""Whether every tenant sees a row."""

CHANGES: Final = (
    "updated_at", "updated", "modified_at", "modified", "changed_at", "changed", "last_modified",
    "last_updated", "last_update", "last_changed", "last_change", "updated_on", "modified_on",
    "changed_on", "date_updated", "date_modified", "modification_date", "update_time",
    "modify_time", "updated_time", "modified_time", "write_date", "mtime", "last_modified_at",
    "last_updated_at",
)  # fmt: skip
"""When a row was last changed."""

DELETIONS: Final = ("deleted_at", "removed_at", "deleted_on", "deletion_date", "date_deleted")
"""When a row went without being deleted; NULL while it counts."""
DELETED_FLAGS: Final = ("is_deleted", "deleted", "is_removed", "removed", "is_trashed")
ACTIVE_FLAGS: Final = ("is_active", "active", "is_enabled", "enabled")

TITLES: Final = frozenset(
    {"name", "title", "label", "caption", "subject", "headline", "heading", "designation", "descr"}
)
"""Words that name a thing: their column comes first."""
TEXTS: Final = TITLES | {
    "description", "summary", "text", "body", "content", "comment", "comments", "note", "notes",
    "details", "abstract", "message", "question", "answer", "keywords", "tags", "specification",
    "remark", "remarks", "excerpt", "story",
}  # fmt: skip
TOPICS: Final = frozenset({
    "category", "type", "kind", "brand", "maker", "manufacturer", "vendor", "supplier", "unit",
    "material", "color", "colour", "size", "group", "collection", "genre", "author", "publisher",
    "producer", "family", "series", "model", "country", "city", "region",
})  # fmt: skip
"""Words that say of what kind a thing is: people search by them, and filter."""
STATES: Final = frozenset({
    "status", "state", "stage", "currency", "locale", "lang", "language", "gender", "role",
    "priority", "level", "mode", "format", "visibility",
})  # fmt: skip
"""Words of columns that people filter by and never search for."""
CODES: Final = frozenset({
    "sku", "ean", "gtin", "upc", "isbn", "code", "barcode", "number", "no", "nr", "num", "ref",
    "reference", "mpn", "asin", "article",
})  # fmt: skip
ADDRESSES: Final = frozenset({
    "url", "uri", "link", "href", "website", "path", "slug", "file", "filename", "image", "photo",
    "picture", "thumbnail", "icon", "avatar", "logo", "ip", "host", "hostname", "uuid", "guid",
    "checksum", "md5", "sha1", "sha256", "etag",
})  # fmt: skip
"""Words of columns that are neither text nor a filter."""
PRIVATE: Final = frozenset({
    "password", "passwd", "pwd", "hash", "salt", "secret", "token", "otp", "pin", "ssn", "iban",
    "email", "mail", "phone", "telephone", "mobile", "fax", "birthday", "birthdate", "dob",
})  # fmt: skip
"""Words of columns that a proposal leaves out, whatever is in them."""
SIGN_INS: Final = frozenset({"password", "passwd", "pwd", "password_hash", "encrypted_password"})
UPKEEP: Final = frozenset({
    "created_at", "created", "created_on", "date_created", "create_time", "created_by",
    "updated_by", "modified_by", "deleted_by", "version", "revision", "lock_version", "row_version",
    "sort", "sort_order", "position", "ordinal", "xmin",
})  # fmt: skip

_TECHNICAL: Final = re.compile(
    r"(?:.*_)?(?:migrations?|sessions?|audits?|logs?|queues?|tokens?|locks?|outbox|inbox|cache|"
    r"backups?|tmp|temp)|.+_(?:history|events?|jobs)|job_batches|alembic_version|flyway_.*|"
    r"databasechangelog(?:lock)?|ar_internal_metadata|schema_info|schema_version|goose_db_version|"
    r"(?:django|auth|celery|knex|oauth|pg_stat|pg_buffercache|pgbench|hdb|sqitch|que|qrtz|akka|"
    r"hangfire|delayed|solid_queue|good_job|spatial_ref|raster|geometry|geography)_.*|"
    r"audit_.*|log_.*|_.*|spatial_ref_sys|schema_migrations"
)


def normal(name: str) -> str:
    """``updatedAt``, ``UpdatedAt`` and ``UPDATED_AT`` as ``updated_at``."""
    return _CAMEL.sub("_", name).lower().strip("_")


def words_of(name: str) -> frozenset[str]:
    """The words of a name."""
    return frozenset(normal(name).split("_"))


def is_technical(table: str) -> bool:
    """Whether a table serves a program and nobody searches it."""
    name = table.rpartition(".")[2].lower()
    return _TECHNICAL.fullmatch(name) is not None


def tenant_rank(name: str, *, is_reference: bool, is_text: bool) -> int | None:
    """How likely a column names the tenant, 0 likeliest; None where nothing speaks for it."""
    plain = normal(name)
    for ending in _ID_ENDINGS:
        if plain.endswith(ending):
            stem = plain.removesuffix(ending)
            return TENANTS.index(stem) if stem in TENANTS else None
    if plain not in TENANTS or (is_text and plain not in _BARE_TENANTS and not is_reference):
        return None
    return TENANTS.index(plain)


def singular(table: str) -> str:
    """An entity's name for a table's: ``product`` for ``Products``, ``city`` for ``cities``."""
    plain = re.sub(r"\W+", "_", normal(table.rpartition(".")[2]))
    for ending, instead in (
        ("ies", "y"),
        ("sses", "ss"),
        ("xes", "x"),
        ("ches", "ch"),
        ("shes", "sh"),
        ("s", ""),
    ):
        stem = plain.removesuffix(ending)
        if stem == plain or len(stem) < 2 or plain.endswith(("ss", "us", "is", "news")):  # noqa: PLR2004 - `as`
            continue
        return stem + instead
    return plain


def camel(name: str) -> str:
    """``list_price`` as ``listPrice``."""
    first, *others = [part for part in normal(name).split("_") if part] or ["field"]
    return first + "".join(part[:1].upper() + part[1:] for part in others)
