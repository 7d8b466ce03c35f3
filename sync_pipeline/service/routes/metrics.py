"""What monitoring scrapes."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response
from prometheus_client.exposition import choose_encoder

from sync_pipeline.service.principals import Role
from sync_pipeline.service.state import Opened, known_caller

router = APIRouter(tags=["monitoring"])


@router.get("/metrics", response_class=Response)
def metrics(request: Request, service: Opened) -> Response:
    """Metrics for Prometheus; from records alone, read at most every few seconds."""
    if service.settings.service.metrics == "operators":
        known_caller(request).require(Role.WORKER)
    encode, content_type = choose_encoder(request.headers.get("accept", ""))
    return Response(encode(service.metrics.registry), media_type=content_type)
