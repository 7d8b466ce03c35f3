"""Before a scope's own steps: the other generations are kept in step with the source."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Final

import pyarrow as pa

from sync_pipeline.core.errors import (
    CollectionMissingError,
    ConfigurationError,
    MassDeletionRefusedError,
    PermanentError,
    StoppedError,
    SupersededError,
    TransientError,
)
from sync_pipeline.core.ports import Fence
from sync_pipeline.core.reports import SyncMode
from sync_pipeline.core.scope import Scope
from sync_pipeline.engine.context import SyncContext
from sync_pipeline.engine.index import ensure_standby
from sync_pipeline.engine.roles import kept_in_step, others
from sync_pipeline.engine.staged import EVENT_SCHEMA, dataset_name
from sync_pipeline.engine.steps.cleanup import clean_scope, read_event_ids
from sync_pipeline.engine.steps.embed import embed_scope
from sync_pipeline.engine.steps.export import export_scope
from sync_pipeline.engine.steps.upsert import upsert_scope

_log: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Beside:
    """What came of the other generations."""

    answered: str | None = None
    """Dataset of the change events that all of them have answered; None: there are none."""
    out_of_step: str | None = None
    """Which one could not be kept in step, and why."""


def keep_others_in_step(
    sync: SyncContext, *, scope: Scope, run_id: str, fence: Fence, mode: SyncMode
) -> Beside:
    """Bring the scope in step in every other generation that serves or has served, or stands by.

    Change events stay until the generation of the settings has answered them too: they are
    staged for it. One that is not kept in step, because it never served or nobody can open it,
    is marked: should it be wanted again, its next sync compares everything.

    Raises:
        SyncPipelineError: as the steps do. A generation that cannot be synced for a reason of
            its own is no error here: it is named in the result.
    """
    answered: set[int] | None = None
    failure: str | None = None
    for standby in sync.standbys:
        ensure_standby(sync.over(standby))
    for record in others(sync):
        generation = kept_in_step(sync, record)
        if generation is None:
            _mark(sync, record.collection, fence=fence)
            continue
        try:
            ids = _keep_in_step(
                sync.over(generation), scope=scope, run_id=run_id, fence=fence, mode=mode
            )
        except (StoppedError, SupersededError, MassDeletionRefusedError):
            raise
        except CollectionMissingError:
            # Dropped meanwhile.
            continue
        except (PermanentError, ConfigurationError, TransientError) as error:
            if generation in sync.standbys:
                # Nobody waits for it; its next sync compares everything.
                _log.warning("%s, which stands by, is not in step: %s", record.collection, error)
                _mark(sync, record.collection, fence=fence)
                continue
            if isinstance(error, TransientError):
                raise
            failure = failure or f"{record.collection} is not in step: {error}"
            continue
        answered = ids if answered is None else answered & ids
    if answered is None:
        return Beside(out_of_step=failure)
    return Beside(
        answered=_stage(sync, scope=scope, run_id=run_id, ids=answered), out_of_step=failure
    )


def _keep_in_step(
    sync: SyncContext, *, scope: Scope, run_id: str, fence: Fence, mode: SyncMode
) -> set[int]:
    """The four steps in one generation; the ids of the change events that it has answered."""
    own_id = f"{run_id}.{sync.spec.collection}"
    export = export_scope(sync, scope=scope, run_id=own_id, fence=fence, mode=mode)
    ids = set() if export.events is None else read_event_ids(sync, export.events)
    staged = embed_scope(sync, export=export, fence=fence)
    applied = upsert_scope(sync, staged=staged, fence=fence)
    clean_scope(sync, applied=applied, fence=fence)
    return ids


def _stage(sync: SyncContext, *, scope: Scope, run_id: str, ids: set[int]) -> str:
    name = dataset_name("answered_events", scope=scope, run_id=run_id)
    with sync.staging.open_writer(name, schema=EVENT_SCHEMA, parts=1) as writer:
        writer.write(0, pa.table({"event_id": sorted(ids)}, schema=EVENT_SCHEMA))
    return name


def _mark(sync: SyncContext, collection: str, *, fence: Fence) -> None:
    """Note that changes of the scope pass a collection by."""
    sync.collection(collection).records.scopes.note_writing(
        fence, entity_types=sync.entity_names, over_others=False
    )
