"""The HTTP service in this process, under uvicorn, until it is stopped."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import uvicorn

from sync_pipeline.core.errors import ConfigurationError
from sync_pipeline.service.app import make_app, require_safe_address
from sync_pipeline.settings import Settings
from sync_pipeline.wiring import Installation, open_installation

MAX_CONNECTIONS: Final = 1_000
KEEP_ALIVE_SECONDS: Final = 30
GRACE_SECONDS: Final = 10


def open_to_answer(settings: Settings, *, shares_index: bool = False) -> Installation:
    """The installation for somebody who waits: shortly for an index that a sync is using."""
    waiting = settings.service.index_wait_seconds
    index = settings.index.model_copy(update={"wait_seconds": waiting})
    waiting_shortly = settings.model_copy(update={"index": index})
    return open_installation(waiting_shortly, shares_index=shares_index, is_lasting=True)


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
        ConfigurationError: the address needs authentication that is not set up, or cannot be had.
    """
    require_safe_address(settings.service, host=host)
    listening = _listen(host, port)
    app = make_app(open_to_answer(settings, shares_index=True))
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
    on_ready(f"http://{host if ':' not in host else f'[{host}]'}:{listening.getsockname()[1]}")
    # uvicorn raises a signal again that it has answered in order.
    with suppress(KeyboardInterrupt):
        server.run(sockets=[listening])
    return 0 if server.started else 1


def _listen(host: str, port: int) -> socket.socket:
    """Take the port, before anything else is opened.

    Raises:
        ConfigurationError: somebody has it, or the address is not of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=MAX_CONNECTIONS)
    except OSError as error:
        raise ConfigurationError(
            f"the service cannot listen on {host}, port {port}: {error.strerror}. Name another "
            "with --port or service.port, or stop the program that has it"
        ) from error
