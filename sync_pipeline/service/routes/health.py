"""Whether the service lives, and whether it can answer."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from sync_pipeline.service.problems import problem
from sync_pipeline.service.state import Opened

router = APIRouter(tags=["health"])


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """Say that the process lives; asks nothing else."""
    return {"status": "ok"}


@router.get("/readyz", response_model=None)
async def readyz(request: Request, service: Opened) -> Response:
    """Say whether searches are answered: the model is in memory."""
    if service.is_ready:
        return JSONResponse({"status": "ready"})
    headers = {"Retry-After": "1"}
    return problem(request, 503, "Service Unavailable", detail="starting", headers=headers)
