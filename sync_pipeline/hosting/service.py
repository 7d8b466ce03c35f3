"""The HTTP service in this process, under uvicorn, until it is stopped."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import uvicorn

from sync_pipeline.service.app import make_app, require_safe_address
from sync_pipeline.settings import Settings
from sync_pipeline.wiring import Installation, open_installation

MAX_CONNECTIONS: Final = 1_000
KEEP_ALIVE_SECONDS: Final = 30
GRACE_SECONDS: Final = 10


def open_to_answer(settings: Settings) -> Installation:
    """The installation for somebody who waits: shortly for an index that a sync is using."""
    waiting = settings.service.index_wait_seconds
    index = settings.index.model_copy(update={"wait_seconds": waiting})
    return open_installation(settings.model_copy(update={"index": index}))


def run_service(
    settings: Settings, *, host: str, port: int, on_ready: Callable[[str], None]
) -> int:
    """Serve until stopped by a signal.

    Args:
        settings: Of the installation.
        host: Address to listen on.
        port: Port to listen on.
        on_ready: Told the address once requests are answered.

    Returns:
        The exit code.

    Raises:
        ConfigurationError: the address needs authentication that is not set up.
    """
    require_safe_address(settings.service, host=host)
    app = make_app(open_to_answer(settings))
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            host=host,
            port=port,
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=True,
            limit_concurrency=MAX_CONNECTIONS,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=GRACE_SECONDS,
            proxy_headers=False,
        )
    )
    on_ready(f"http://{host}:{port}")
    server.run()
    return 0 if server.started else 1
