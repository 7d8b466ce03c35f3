"""Letting another generation of the index serve: asked for here, done in a thread of its own.

Every scope is verified before, which takes longer than a request may.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, replace
from typing import Final, Literal

from sync_pipeline.core.errors import SyncPipelineError
from sync_pipeline.engine.context import SyncContext
from sync_pipeline.operations.generations import switch

_log: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SwitchState:
    """How far the last attempt is."""

    status: Literal["none", "started", "done", "failed"]
    """``none``: nobody has asked since the service started."""
    serves: str | None = None
    """The collection that serves, once it is done."""
    error: str | None = None
    """Why it failed: what keeps the generation from serving."""


class IndexSwitch:
    """One attempt at a time to let the generation of the settings serve.

    Args:
        sync: The installation.
    """

    def __init__(self, sync: SyncContext) -> None:
        self._stop = threading.Event()
        self._sync = replace(sync, should_stop=self._stop.is_set)
        self._changing = threading.Lock()
        self._state = SwitchState("none")

    @property
    def state(self) -> SwitchState:
        """How far the last attempt is."""
        return self._state

    def begin(self) -> None:
        """Try it, unless that is being done already."""
        with self._changing:
            if self._state.status == "started":
                return
            self._state = SwitchState("started")
        threading.Thread(target=self._try, name="switch", daemon=True).start()

    def close(self) -> None:
        """Let an attempt end at its next step."""
        self._stop.set()

    def _try(self) -> None:
        try:
            done = switch(self._sync)
            failed = None if done.reason is None else SwitchState("failed", error=done.reason)
            self._state = failed or SwitchState("done", serves=done.serves)
        except SyncPipelineError as error:
            _log.warning("the index was not switched: %s: %s", type(error).__name__, error)
            self._state = SwitchState("failed", error=str(error))
        except Exception as error:  # noqa: BLE001 - nobody else would hear of it
            self._state = SwitchState("failed", error="not foreseen; the log says more")
            _log.error("the index was not switched: %s", type(error).__name__, exc_info=error)
