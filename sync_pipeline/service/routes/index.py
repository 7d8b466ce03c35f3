"""Which generation of the index serves, for admins."""

from __future__ import annotations

from datetime import datetime
from typing import Final, Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel

from sync_pipeline.operations.generations import roll_back
from sync_pipeline.service.state import Admin, Opened, Service

router = APIRouter(prefix="/api/index", tags=["index"])

SWITCH: Final = "/switch"


class SwitchAnswer(BaseModel):
    """How far the last attempt to let the generation of the settings serve is."""

    status: Literal["none", "started", "done", "failed"]
    """`none`: nobody has asked since the service started."""
    serves: str | None
    """The collection that serves, once it is done."""
    error: str | None
    """What keeps the generation from serving."""


class RollbackAnswer(BaseModel):
    """Which generation serves from now on."""

    serves: str
    in_sync_to: datetime | None
    """Every change committed before is in it; null where that is not known of every scope."""


@router.post(SWITCH, status_code=202)
def switch(service: Opened, principal: Admin, response: Response) -> SwitchAnswer:
    """Let the generation of the settings serve, if it is filled, verifies and finds its documents.

    It is tried beside other requests; follow `Location`.
    """
    del principal
    service.switching.begin()
    response.headers["location"] = f"{router.prefix}{SWITCH}"
    return _state(service)


@router.get(SWITCH)
def switch_state(service: Opened, principal: Admin) -> SwitchAnswer:
    """Say how far the last attempt is."""
    del principal
    return _state(service)


@router.post("/rollback")
def rollback(service: Opened, principal: Admin) -> RollbackAnswer:
    """Let the generation serve that did so before, at once."""
    del principal
    record, in_sync_to = roll_back(service.sync)
    return RollbackAnswer(serves=record.collection, in_sync_to=in_sync_to)


def _state(service: Service) -> SwitchAnswer:
    state = service.switching.state
    return SwitchAnswer(status=state.status, serves=state.serves, error=state.error)
