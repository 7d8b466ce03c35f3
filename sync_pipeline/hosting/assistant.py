"""An AI assistant on this machine, answered in this process on standard input and output."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable

from sync_pipeline.core.scope import Scope
from sync_pipeline.hosting.service import open_to_answer
from sync_pipeline.operations.scopes import InstalledScopes, known_tenant
from sync_pipeline.service.assistants import run_streams
from sync_pipeline.service.state import Service
from sync_pipeline.service.tools import Asker
from sync_pipeline.settings import Settings


def run_assistant(settings: Settings, *, scope: Scope, on_ready: Callable[[], None]) -> None:
    """Answer as one scope until the assistant closes the streams; see ``RunAssistant``.

    Whoever may start this program may ask as anybody: no token is needed, and the assistant
    itself can name no other tenant.
    """
    installation = open_to_answer(settings)
    if scope.tenant_id is not None:
        known_tenant(scope.tenant_id, among=InstalledScopes(installation.sync))
    service = Service.open(installation)
    threading.Thread(target=service.warm_up, name="warm up", daemon=True).start()
    # The thread that waits for standard input cannot be interrupted, so a handler in Python would
    # leave the process waiting. Nothing here has to be finished: it only reads.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    on_ready()
    run_streams(service, asker=Asker(scope))
