"""A collection in a Qdrant cluster: how it is made, what is asked of its copies, how it lies.

What the server does with a read of several copies (its `replica_set/execute_read_operation.rs`):
``majority`` and ``all`` want an answer from every copy and are refused while one is down;
``quorum`` wants more than half of them, a number so many. What is told by too few is left out.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final, NamedTuple, TypedDict

from qdrant_client import models

from sync_pipeline.core.cluster_options import Agreement, ClusterOptions
from sync_pipeline.core.errors import ConfigurationError, StoreUnavailableError

_NOTED: Final = "cluster_options"
_LATER: Final = frozenset({"read_fan_out_factor"})
"""What ``create_collection`` does not take, only ``update_collection``."""
_QDRANT_NAMES: Final = {"payload_on_disk": "on_disk_payload"}


class _Copy(NamedTuple):
    """One copy of one shard."""

    shard: int
    peer: int
    state: models.ReplicaState


class Write(TypedDict):
    """What every write is sent with."""

    wait: bool
    ordering: models.WriteOrdering


def of_writes(options: ClusterOptions) -> Write:
    """Arguments of every write: answered when it is applied, and in which order copies see it."""
    return {"wait": True, "ordering": models.WriteOrdering(options.ordering)}


def agreement(asked: Agreement | None) -> models.ReadConsistency | None:
    """How many copies have to agree on what is read; None for the server's default, one."""
    if asked is None or isinstance(asked, int):
        return asked
    return models.ReadConsistencyType(asked)


def made_with(options: ClusterOptions) -> dict[str, Any]:
    """Arguments of ``create_collection``, its metadata apart."""
    return _in_qdrants_words(_at_creation(options))


def noted(options: ClusterOptions) -> dict[str, Any]:
    """Metadata that says what a collection was asked to be like when it was made."""
    asked = _at_creation(options)
    return {_NOTED: asked} if asked else {}


def cluster_changes(info: models.CollectionInfo, options: ClusterOptions) -> dict[str, Any]:
    """Arguments of ``update_collection`` that give a collection other cluster options, or none.

    Compared with what was asked for last, as for ``option_changes``: what an operator changed
    on the server stays until a setting changes. What cannot be changed is left to
    ``require_layout``.
    """
    last = (info.config.metadata or {}).get(_NOTED, {})
    wanted = options.changeable
    if wanted.items() <= last.items():
        return {}
    return {
        "collection_params": models.CollectionParamsDiff(**_in_qdrants_words(wanted)),
        "metadata": {_NOTED: {**last, **wanted}},
    }


def require_layout(
    info: models.CollectionInfo,
    placed: models.CollectionClusterInfo,
    *,
    options: ClusterOptions,
    collection: str,
    address: str,
) -> str:
    """Say how a collection lies on the nodes, for people.

    Args:
        info: How the collection is.
        placed: Where its shards are, as the node that answers knows it.
        options: What the settings ask for.
        collection: Physical name.
        address: Names the server in messages.

    Raises:
        ConfigurationError: it was made with another number of shards, a shard has fewer copies
            than it should, or there are several copies and the settings do not know.
        StoreUnavailableError: copies are not active.
    """
    where = f"collection {collection!r} in {address}"
    copies = Counter(copy.shard for copy in _copies(placed))
    _require_shards(info, options, where=where)
    asked = info.config.params.replication_factor or 1
    _require_known_copies(asked, options, where=where)
    _require_copies(copies, asked, where=where)
    _require_active(placed, where=where)
    shards = f"{len(copies)} shard{'s' if len(copies) != 1 else ''}"
    if asked == 1:
        return f"{shards}, 1 copy"
    confirming = info.config.params.write_consistency_factor or 1
    return (
        f"{shards} of {asked} copies; writes are confirmed by {confirming}, ordering "
        f"{options.ordering}; what is compared is agreed on by {options.comparing}"
    )


def page_after(point_id: str) -> str | None:
    """The id that the next page starts at, where the server names none; None after the last.

    Of a page that several copies have to agree on, the server leaves out what they do not
    and, seeing less than it asked for, takes it for the last one (`collection/point_ops.rs`).
    """
    try:
        number = uuid.UUID(point_id).int + 1
    except ValueError:
        return None
    return str(uuid.UUID(int=number)) if number < 1 << 128 else None


def _copies(placed: models.CollectionClusterInfo) -> list[_Copy]:
    here = [_Copy(it.shard_id, placed.peer_id, it.state) for it in placed.local_shards]
    return here + [_Copy(it.shard_id, it.peer_id, it.state) for it in placed.remote_shards]


def _at_creation(options: ClusterOptions) -> dict[str, Any]:
    return {name: value for name, value in options.kept.items() if name not in _LATER}


def _in_qdrants_words(kept: Mapping[str, Any]) -> dict[str, Any]:
    return {_QDRANT_NAMES.get(name, name): value for name, value in kept.items()}


def _require_shards(info: models.CollectionInfo, options: ClusterOptions, *, where: str) -> None:
    shards = info.config.params.shard_number
    if options.shard_number in {None, shards}:
        return
    raise ConfigurationError(
        f"{where} has {shards} shards, and `index.cluster.shard_number` is "
        f"{options.shard_number}: a collection keeps the number that it was made with.",
        remedy="Make it anew with `sync-pipeline index rebuild --yes` (from the cache, nothing is "
        "embedded; searches miss what is not written yet), or beside the one that serves, as "
        "docs/qdrant-cluster.md says; or put the number back.",
    )


def _require_known_copies(asked: int, options: ClusterOptions, *, where: str) -> None:
    if asked == 1 or options.comparing is not None:
        return
    raise ConfigurationError(
        f"{where} keeps {asked} copies, and the settings do not say so: a sync compares with any "
        "of them, also with one that lags behind.",
        remedy=f"Set `index.cluster.replication_factor: {asked}`.",
    )


def _require_copies(copies: Mapping[int, int], asked: int, *, where: str) -> None:
    short = {shard: held for shard, held in sorted(copies.items()) if held < asked}
    if not short:
        return
    listed = ", ".join(f"shard {shard} has {held}" for shard, held in short.items())
    raise ConfigurationError(
        f"{where} should keep {asked} copies of each shard: {listed}.",
        remedy="A raised replication factor makes no copies by itself: replicate those shards "
        "(`replicate_shard` of POST /collections/NAME/cluster) on nodes that lack them, or lower "
        "`index.cluster.replication_factor`.",
    )


def _require_active(placed: models.CollectionClusterInfo, *, where: str) -> None:
    resting = [
        f"shard {copy.shard} on peer {copy.peer} is {copy.state}"
        for copy in _copies(placed)
        if copy.state != models.ReplicaState.ACTIVE
    ]
    if resting:
        raise StoreUnavailableError(
            f"{where}: {', '.join(resting)}.",
            remedy="Wait until the node is back and has caught up (GET /collections/NAME/cluster); "
            "meanwhile `read_consistency: majority` is refused by the server and syncs wait.",
        )
