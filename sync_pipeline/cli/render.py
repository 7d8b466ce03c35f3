"""Results as tables for people; 100 columns suffice."""

from __future__ import annotations

import json
import math
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from rich.table import Table

from sync_pipeline.cli.tables import add_row as _add
from sync_pipeline.cli.tables import new_table as _table
from sync_pipeline.core.entity import Constant
from sync_pipeline.core.payload import SCOPE_KEY
from sync_pipeline.core.shortening import beginning
from sync_pipeline.core.vocabulary import HELPS, told_high
from sync_pipeline.operations.answers import totals

if TYPE_CHECKING:
    from datetime import datetime

    from sync_pipeline.core.changes import FeedStatus
    from sync_pipeline.core.document import Rejection
    from sync_pipeline.core.entity import Entity
    from sync_pipeline.core.point import Hit
    from sync_pipeline.core.ports import DocumentRecord
    from sync_pipeline.core.reports import ScopeReport
    from sync_pipeline.engine.landing.ages import LandingAge
    from sync_pipeline.engine.questions.cache import CacheReport
    from sync_pipeline.engine.questions.doctor import Finding
    from sync_pipeline.engine.questions.entities import EntityReport
    from sync_pipeline.engine.questions.generations import GenerationPlan, GenerationStatus
    from sync_pipeline.engine.questions.plan import ScopePlan
    from sync_pipeline.engine.questions.status import ScopeStatusReport
    from sync_pipeline.engine.questions.verify import Verification
    from sync_pipeline.engine.removal.cache import PruneReport
    from sync_pipeline.operations.filling import RecordedGeneration
    from sync_pipeline.operations.proposing import ShownDocument
    from sync_pipeline.sample.loading import LoadReport

NAMED: Final = 5
"""Most scopes that one line names."""
SHOWN_CHARACTERS: Final = 600
"""Of the text of a hit."""
PREVIEW_CHARACTERS: Final = 120
"""Of the text and of the payload of a document that is only proposed."""
LIST_QUARANTINE: Final = "`sync-pipeline quarantine list` names them"
LIST_FAILED: Final = "`sync-pipeline failed list` names them"
UNKNOWN_SHOWN: Final = 5
"""Most scopes and views of which the model knows little that are told one by one."""


def sync_table(reports: Sequence[ScopeReport]) -> Table:
    """One row per scope of a sync, and their sum."""
    sums = totals(reports)
    table = _table(
        "scope", "status", "+rows", "+new", "+changed", "+payload", "+same", "+deleted",
        "+failed", "+embedded", "+seconds",
    )  # fmt: skip
    for report in reports:
        status = report.status if report.stopped_reason is None else "stopped"
        _add(
            table, report.scope_key, status, report.rows, report.new, report.changed,
            report.payload_changed, report.unchanged, report.deleted, report.failed,
            report.embedded_texts,
            report.seconds.total,
        )  # fmt: skip
    if len(reports) > 1:
        table.add_section()
        _add(
            table, f"{len(reports)} scopes", "", sums.rows, sums.new, sums.changed,
            sums.payload_changed, sums.unchanged, sums.deleted, sums.failed,
            sums.embedded_texts, "",
        )  # fmt: skip
    return table


def sync_remarks(reports: Sequence[ScopeReport], *, duration_seconds: float) -> list[str]:
    """What the table of a sync cannot say: where vectors came from, and what went wrong."""
    sums = totals(reports)
    embedded = f"{sums.embedded_texts:,} texts embedded, {sums.cache_hits:,} from the cache"
    remarks = [f"{sums.documents:,} documents in {duration_seconds:.1f} s: {embedded}."]
    if sums.repaired:
        remarks.append(f"Records that did not match the index and were mended: {sums.repaired}.")
    if sums.failed:
        remarks.append(
            f"Documents that could not be embedded or written: {sums.failed}; {LIST_FAILED}."
        )
    if sums.pending:
        remarks.append(
            f"Documents that wait for vectors, found by their words meanwhile: {sums.pending}."
        )
    if sums.quarantined:
        remarks.append(f"Rows that cannot become documents: {sums.quarantined}; {LIST_QUARANTINE}.")
    remarks += _unknown_remarks(reports)
    remarks += [_what_went_wrong(report) for report in reports if report.error]
    return remarks + scope_notes({report.scope_key: report.note for report in reports})


def _what_went_wrong(report: ScopeReport) -> str:
    """One line about a scope that is not done: why, and of a stopped run what it had done."""
    if report.stopped_reason is None:
        return f"{report.scope_key}: {report.status}: {report.error}"
    return (
        f"{report.scope_key}: stopped, {report.stopped_reason}: {report.rows:,} rows read, "
        f"{report.embedded_texts:,} texts embedded, {report.points_written:,} points and "
        f"{report.payloads_written:,} payloads written, {report.points_deleted:,} points deleted; "
        "run the same command again for the rest."
    )


def scope_notes(notes: Mapping[str, str | None]) -> list[str]:
    """What is to be said of scopes: each thing once, with the scopes it is about."""
    about: dict[str, list[str]] = {}
    for key, note in notes.items():
        if note:
            about.setdefault(note, []).append(key)
    return [f"{_named(keys)}: {note}" for note, keys in about.items()]


def left_remarks(left: Mapping[str, int]) -> list[str]:
    """One line for each entity that left the settings.

    Args:
        left: Its documents, by name.
    """
    return [
        f"{count:,} documents of entity {name}, which the settings do not name: kept; "
        f"`sync-pipeline entities remove {shlex.quote(name)}` removes them."
        for name, count in left.items()
    ]


def surplus_remarks(statuses: Sequence[ScopeStatusReport]) -> list[str]:
    """One line for each entity with more documents than rows that can become one."""
    surplus_by_entity: dict[str, dict[str, int]] = {}
    for status in statuses:
        for entity in status.entities:
            if entity.surplus:
                surplus_by_entity.setdefault(entity.entity_type, {})[status.scope_key] = (
                    entity.surplus
                )
    return [
        f"{sum(counts.values()):,} documents of entity {name} more than rows ({_named(counts)}): "
        "rows that are gone; the next sync of the scope removes them, or says why not."
        for name, counts in surplus_by_entity.items()
    ]


def _named(keys: Iterable[str]) -> str:
    """The first of these, and how many more there are."""
    all_keys = list(keys)
    more = len(all_keys) - NAMED
    return ", ".join(all_keys[:NAMED]) + (f" and {more} more" if more > 0 else "")


def _unknown_remarks(reports: Sequence[ScopeReport]) -> list[str]:
    """Scopes of whose texts the model knows too little to find them by what they mean."""
    lines = [
        f"{report.scope_key}: {line}" for report in reports for line in told_high(report.unknown)
    ]
    if not lines:
        return []
    left = len(lines) - UNKNOWN_SHOWN
    more = [f"... and {left} more"] if left > 0 else []
    return [*lines[:UNKNOWN_SHOWN], *more, f"Such texts are found by their words only; {HELPS}."]


def plan_table(plans: Sequence[ScopePlan]) -> Table:
    """One row per planned scope."""
    table = _table(
        "scope", "+new", "+changed", "+payload", "+same", "+deletes", "+to embed", "+tokens",
        "+seconds", "+cost",
    )  # fmt: skip
    for plan in plans:
        _add(
            table, plan.scope_key, plan.new, plan.changed, plan.payload_changed, plan.unchanged,
            plan.deletes, plan.texts_to_embed, plan.tokens,
            "?" if plan.estimated_seconds is None else plan.estimated_seconds,
            "" if plan.estimated_cost is None else f"{plan.estimated_cost:.4f}",
        )  # fmt: skip
    return table


def plan_remarks(plans: Sequence[ScopePlan]) -> list[str]:
    """What the table of a plan cannot say."""
    remarks = [f"{plan.scope_key}: {plan.blocked_by}" for plan in plans if plan.blocked_by]
    remarks += scope_notes({plan.scope_key: plan.note for plan in plans})
    if any(plan.estimated_seconds is None for plan in plans):
        remarks.append("Seconds are known once the model has embedded something here.")
    return [*remarks, "Nothing was written."]


def feed_table(statuses: Sequence[FeedStatus]) -> Table:
    """One row per entity."""
    table = _table("entity", "feed", "+pending", "oldest")
    for status in statuses:
        _add(
            table, status.entity_type, status.state.value, status.pending,
            _age(status.oldest_seconds),
        )  # fmt: skip
    return table


def feed_remarks(statuses: Sequence[FeedStatus]) -> list[str]:
    """What the table of feeds cannot say: why one is in its state, and what it does not see."""
    details = [f"{status.entity_type}: {status.detail}" for status in statuses if status.detail]
    blind = [
        f"{status.entity_type}: not seen: {spot}"
        for status in statuses
        for spot in status.blind_spots
    ]
    return [*details, *blind]


def followed(report: ScopeReport) -> str:
    """One line per sync of a followed change."""
    if report.error:
        return _what_went_wrong(report)
    return (
        f"{report.scope_key}: {report.new} new, {report.changed} changed, "
        f"{report.payload_changed} payload, {report.deleted} deleted "
        f"in {report.seconds.total:.1f} s" + (f" ({report.note})" if report.note else "")
    )


def verification_table(verifications: Sequence[Verification]) -> Table:
    """One row per verified scope."""
    table = _table(
        "scope", "", "+source", "+records", "+points", "+missing", "+extra", "+wrong scope",
        "+mismatched",
    )  # fmt: skip
    for verification in verifications:
        _add(
            table, verification.scope_key, _agreement(verification),
            verification.source_documents, verification.state_documents, verification.points,
            verification.missing, verification.extra, verification.wrong_scope,
            verification.mismatched,
        )  # fmt: skip
    return table


def _agreement(verification: Verification) -> str:
    if verification.error:
        return "NOT COMPARED"
    return "equal" if verification.is_clean else "DIFFERS"


def verification_examples(verifications: Sequence[Verification]) -> list[str]:
    """Documents that differ, a line per scope and kind, and what kept a scope from comparing."""
    differing = [
        f"{verification.scope_key}: {kind.replace('_', ' ')}: {', '.join(ids)}"
        for verification in verifications
        for kind, ids in verification.examples.items()
    ]
    return differing + [
        f"{verification.scope_key}: {verification.error}"
        for verification in verifications
        if verification.error
    ]


def status_table(statuses: Sequence[ScopeStatusReport], *, now: datetime) -> Table:
    """One row per scope."""
    table = _table(
        "scope", "+rows", "+documents", "+points", "+coverage", "+failed", "+quarantined",
        "+pending", "last success", "waiting",
    )  # fmt: skip
    for status in statuses:
        _add(
            table, status.scope_key, status.source_rows, status.documents, status.points,
            _coverage(status), status.failed, status.quarantined, status.pending,
            _ago(status.last_success_at, now=now), _age(status.oldest_unsynced_seconds),
        )  # fmt: skip
    return table


def landings_table(ages: Sequence[LandingAge], *, now: datetime) -> Table:
    """One row per landing."""
    table = _table("landing", "+rows", "last complete", "", "+rejected", "running")
    for age in ages:
        _add(
            table, age.name, age.rows, _ago(age.complete_at, now=now),
            "" if age.is_fresh else "OLD", age.rejected, _running(age),
        )  # fmt: skip
    return table


def _running(age: LandingAge) -> str:
    """How far a pass is that has begun."""
    found = age.open_pass
    if found is None:
        return ""
    of = "" if found.total is None else f" of {found.total:,}"
    return f"{found.mode}, {found.records:,}{of} records"


def landing_remarks(ages: Sequence[LandingAge]) -> Iterator[str]:
    """Why landings are old, and what to do."""
    for age in ages:
        if age.error is not None:
            yield f"Landing {age.name} failed: {age.error}"
        if age.not_before is not None:
            yield f"Landing {age.name} was asked to wait until {age.not_before:%Y-%m-%d %H:%M %Z}."
        if not age.is_fresh:
            yield (
                f"Nothing of {age.table} is in sync beyond its last complete pass; "
                f"`sync-pipeline land {shlex.quote(age.name)}` lands it again."
            )


def views_table(statuses: Sequence[ScopeStatusReport]) -> Table:
    """One row per scope and view."""
    table = _table("scope", "view", "+documents", "+failed", "+truncated")
    for status in statuses:
        for view, counts in status.views.items():
            _add(table, status.scope_key, view, counts.synced, counts.failed, counts.truncated)
    return table


def truncated_remarks(statuses: Sequence[ScopeStatusReport]) -> Iterator[str]:
    """Views that do not use the whole text of some documents."""
    truncated = Counter[str]()
    for status in statuses:
        truncated.update({view: counts.truncated for view, counts in status.views.items()})
    for view, count in truncated.items():
        if count:
            yield (
                f"View {view!r} uses only a part of {count:,} texts: they are longer than the "
                "model reads. `long: true` cuts texts into passages and uses all of them "
                "(docs/long-texts.md)."
            )


def _coverage(status: ScopeStatusReport) -> str:
    """In percent, rounded down: only what is complete shows as 100; surplus behind it."""
    share = f"{math.floor(status.coverage * 1000) / 1000:.1%}"
    return f"{share} +{status.surplus:,}" if status.surplus else share


def entities_table(reports: Sequence[EntityReport]) -> Table:
    """One row per entity."""
    table = _table(
        "entity", "in settings", "+rows", "+documents", "+points", "+failed", "+quarantined"
    )
    for report in reports:
        _add(
            table, report.entity_type, "yes" if report.in_settings else "no",
            "" if report.source_rows is None else report.source_rows, report.documents,
            report.points, report.failed, report.quarantined,
        )  # fmt: skip
    return table


def generations_table(statuses: Sequence[GenerationStatus]) -> Table:
    """One row per generation of the index."""
    table = _table("generation", "role", "+points", "scopes", "+filled", "in step to")
    for status in statuses:
        _add(
            table, status.collection, status.role, status.points,
            f"{status.filled_scopes} of {status.scopes}", f"{math.floor(status.progress * 100)}%",
            "" if status.in_sync_to is None else f"{status.in_sync_to:%Y-%m-%d %H:%M:%S}",
        )  # fmt: skip
    return table


def generation_remarks(statuses: Sequence[GenerationStatus]) -> list[str]:
    """What each was made with, and what keeps the one of the settings from serving."""
    remarks = [f"{status.collection}: {status.description}" for status in statuses]
    for status in statuses:
        if not status.is_wanted or status.role == "serving":
            continue
        if status.refusal is not None:
            remarks.append(
                f"{status.collection} does not serve yet: {status.refusal}. Then run "
                "`sync-pipeline index switch`."
            )
        elif status.role == "replaced":
            remarks.append(
                f"The settings ask for {status.collection}, which served before; "
                "`sync-pipeline index switch` lets it serve again."
            )
        else:
            remarks.append(
                f"The settings ask for {status.collection}; `sync-pipeline sync all` fills it, and "
                "it serves once every scope is in it."
            )
    return remarks


def filling_remarks(generations: Sequence[RecordedGeneration]) -> list[str]:
    """How far a new generation is, beside the one that the numbers are about."""
    return [
        f"A new generation of the index is {math.floor(it.share * 100)}% filled; "
        "`sync-pipeline index status` says more."
        for it in generations
        if it.role == "filling"
    ]


def generation_plan(plan: GenerationPlan) -> list[str]:
    """What it takes until the generation of the settings serves."""
    lines = [f"Serves:   {plan.serves or 'nothing'} ({plan.serves_description or 'unknown'})"]
    lines.append(f"Settings: {plan.wanted} ({plan.wanted_description})")
    if plan.is_served:
        lines.append("The settings' generation serves already; a sync is all it takes.")
    seconds = (
        "" if plan.estimated_seconds is None else f", about {plan.estimated_seconds:.0f} seconds"
    )
    cost = (
        ""
        if plan.estimated_cost is None
        else f", for {plan.estimated_cost:.2f} at the provider's price"
    )
    lines.append(
        f"To write: {plan.documents:,} documents in {plan.scopes} scopes; to embed: "
        f"{plan.texts_to_embed:,} texts of {plan.tokens:,} tokens{seconds}{cost}."
    )
    if not plan.is_served:
        lines.append(
            f"Both generations are kept meanwhile: {plan.vector_bytes / 2**20:.0f} MiB of vectors "
            "more, beside their payload."
        )
    return lines


def tenants_table(statuses: Iterable[ScopeStatusReport]) -> Table:
    """One row per tenant."""
    table = _table("tenant", "+rows", "+points")
    for status in statuses:
        _add(table, status.scope_key, status.source_rows, status.points + status.other_points)
    return table


def hits_table(hits: Sequence[Hit]) -> Table:
    """One row per hit, best first."""
    table = _table("+score", "scope", "text", "document")
    for hit in hits:
        scope = str(hit.payload[SCOPE_KEY])
        _add(table, f"{hit.score:.3f}", scope, _shown_text(hit), hit.document_id)
    return table


def _shown_text(hit: Hit) -> str:
    """The passages that a search is about where it asked for them; otherwise the beginning."""
    text = " ... ".join(passage.text for passage in hit.passages or ()) or hit.text
    return beginning(text, length=SHOWN_CHARACTERS)


def quarantine_table(rows: Sequence[tuple[str, Rejection]]) -> Table:
    """One row per quarantined row."""
    table = _table("scope", "entity", "row", "reason", "detail")
    for scope_key, row in rows:
        _add(table, scope_key, row.entity_type, row.db_id, row.reason.value, row.detail)
    return table


def failed_table(records: Sequence[DocumentRecord]) -> Table:
    """One row per document that could not be embedded or written."""
    table = _table("scope", "entity", "row", "+attempts", "next try", "error")
    for record in records:
        due = record.next_retry_at
        _add(
            table, record.scope_key, record.entity_type, record.db_id, record.attempts,
            "" if due is None else f"{due:%Y-%m-%d %H:%M}", f"{record.error_code}: {record.error}",
        )  # fmt: skip
    return table


def cache_table(report: CacheReport) -> Table:
    """One row per model of the cache, and per scope where scopes share nothing."""
    table = _table(
        "model", "scope", "in settings", "+vectors", "+size", "+used", "+unused", "oldest", "newest"
    )
    for model in report.models:
        _add(
            table, model.model_id, "all" if model.scope_key is None else model.scope_key,
            "yes" if model.in_settings else "no", model.vectors, _size(model.size_bytes),
            model.used, model.unused, f"{model.oldest_at:%Y-%m-%d}", f"{model.newest_at:%Y-%m-%d}",
        )  # fmt: skip
    return table


def cache_remarks(report: CacheReport) -> list[str]:
    """What the table of the cache cannot say."""
    names = [
        f"{model_id} is known under other names too: {', '.join(other_names)}."
        for model_id, other_names in {
            model.model_id: model.other_names for model in report.models
        }.items()
        if other_names
    ]
    size = (
        f"{report.vectors:,} vectors, {_size(report.size_bytes)}; with keys and indexes "
        f"{_size(report.table_bytes)} on disk."
    )
    expected = (
        f"Of the {report.texts:,} texts of the documents in the index, {report.cached:,} are in "
        "the cache: were the index lost, they would not be embedded again."
    )
    return [*names, size, expected]


def pruned_table(report: PruneReport) -> Table:
    """One row per model that lost vectors, or would."""
    table = _table("model", "scope", "+vectors", "+size")
    for model in report.models:
        _add(
            table, model.model_id, "all" if model.scope_key is None else model.scope_key,
            model.vectors, _size(model.size_bytes),
        )  # fmt: skip
    return table


def pruned_remarks(report: PruneReport) -> list[str]:
    """What came of a prune."""
    amount = f"{report.deleted:,} vectors, {_size(report.freed_bytes)}"
    if report.is_dry_run:
        return [f"{amount} would be deleted. Nothing was."]
    remarks = [f"{amount} deleted; new vectors take their room."]
    if report.left:
        remarks.append(
            f"{report.left:,} unused vectors are left, for syncs that may need them are under way "
            f"({_named(report.waits_for)}): run the same command again later."
        )
    return remarks


def proposed_table(entities: Sequence[Entity]) -> Table:
    """One row per proposed entity."""
    table = _table("entity", "table", "id", "tenant", "shared", "changed", "texts", "+payload")
    for entity in entities:
        texts = "; ".join(", ".join(columns) for _, columns in entity.views)
        tenant = entity.tenant.value if isinstance(entity.tenant, Constant) else entity.tenant
        shared = entity.is_global
        _add(
            table, entity.name, entity.table, ", ".join(entity.id),
            f"all {tenant!r}" if isinstance(entity.tenant, Constant) else tenant,
            shared if isinstance(shared, str) else shared.value, entity.updated_at or "",
            texts, len(entity.payload),
        )  # fmt: skip
    return table


def preview_table(documents: Sequence[ShownDocument]) -> Table:
    """One row per document as it would be."""
    table = _table("scope", "document", "text", "payload")
    for document in documents:
        text = beginning(document.text, length=PREVIEW_CHARACTERS)
        payload = json.dumps(document.payload, ensure_ascii=False, default=str)
        _add(
            table, document.scope_key, document.document_id,
            text if document.rejected is None else f"set aside: {document.rejected}",
            beginning(payload, length=PREVIEW_CHARACTERS),
        )  # fmt: skip
    return table


def facts_table(title: str, facts: Mapping[str, str]) -> Table:
    """One row per fact about one thing."""
    table = _table("", title)
    for name, fact in facts.items():
        _add(table, name, fact)
    return table


def load_table(report: LoadReport) -> Table:
    """One row per scope and table of a sample catalogue."""
    table = _table("scope", "table", "+rows")
    for scope_key, tables in report.rows.items():
        for name, rows in tables.items():
            _add(table, scope_key, name, rows)
    return table


def findings_table(findings: Sequence[Finding]) -> Table:
    """One row per finding of ``doctor``."""
    table = _table("", "check", "found", "what to do")
    for finding in findings:
        mark = "ok" if finding.ok else "FAIL"
        _add(table, mark, finding.name, finding.detail, "" if finding.ok else finding.fix)
    return table


def _ago(moment: datetime | None, *, now: datetime) -> str:
    return "never" if moment is None else f"{_age((now - moment).total_seconds())} ago"


def _age(seconds: float | None) -> str:
    """How long, in the largest unit that fits."""
    if seconds is None:
        return ""
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def _size(size_bytes: int) -> str:
    """Bytes, in the largest binary unit that fits."""
    size = float(size_bytes)
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:  # noqa: PLR2004 - binary units
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:,.1f} GiB"
