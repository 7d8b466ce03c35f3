"""What is there, for people who set a landing up."""

from __future__ import annotations

from collections.abc import Iterator

from sync_pipeline.core.landing.spec import Landing
from sync_pipeline.origins.findings import describe_page
from sync_pipeline.origins.mongodb.deployment import Deployment
from sync_pipeline.origins.mongodb.scan import Scan
from sync_pipeline.origins.mongodb.stream import ChangeFeed


def examine(
    deployment: Deployment, scan: Scan, *, landing: Landing, follows: bool
) -> Iterator[str]:
    """Connect, read one page, and say what was found.

    Raises:
        OriginConfigurationError: what a pass, or following, would be refused for.
        OriginUnavailableError: it cannot be reached.
    """
    yield f"MongoDB {deployment.described.version}, {_kind(deployment)}"
    records = scan.sample()
    yield f"collection {deployment.name}: about {deployment.estimate():,} documents"
    yield from describe_page(landing, records)
    if follows:
        feed = ChangeFeed(deployment, token=None)
        try:
            next(feed.hints(wait_seconds=0))
        finally:
            feed.close()
        yield "its change stream can be read"


def _kind(deployment: Deployment) -> str:
    described = deployment.described
    if described.is_sharded:
        return "a sharded cluster: its changes can be followed"
    if described.replica_set is not None:
        return f"replica set {described.replica_set!r}: its changes can be followed"
    return "no replica set: only full passes, its changes cannot be followed"
