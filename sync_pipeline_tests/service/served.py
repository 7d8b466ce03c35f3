"""The service over an installation of fakes, and tokens for it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, cast

import jwt
from fastapi import FastAPI
from pydantic import SecretStr
from starlette.testclient import TestClient

from sync_pipeline.core.environment import NamedEnvironment
from sync_pipeline.service.app import make_app
from sync_pipeline.service.tokens import create_token
from sync_pipeline.settings import ServiceSettings, Settings
from sync_pipeline.wiring import Installation
from sync_pipeline_tests.cli.installed import CommandLine, FakeInstallation

SECRET: Final = "qJ4vX1nB8sT6wZ0kR3mY7cF2hL5pD9gA"


class Served:
    """A running service: two tenants, ``acme`` and ``globex``, and global documents."""

    def __init__(
        self,
        folder: Path,
        *,
        is_synced: bool = True,
        prepare: Callable[[CommandLine], None] | None = None,
        environment: NamedEnvironment | None = None,
        **settings: Any,
    ) -> None:
        self.run = CommandLine(folder)
        if is_synced:
            assert self.run("sync", "all").exit_code == 0
        if prepare is not None:
            prepare(self.run)
        wanted: dict[str, Any] = {"secret": SecretStr(SECRET), **settings}
        self.settings = ServiceSettings(**wanted)
        installation = FakeInstallation(self.run.sync)
        located = Settings(service=self.settings).located(environment)
        installation.settings = located  # type: ignore[attr-defined]
        self.app: FastAPI = make_app(cast(Installation, installation))
        self.client = TestClient(
            self.app, base_url="http://127.0.0.1:8080", raise_server_exceptions=False
        )

    def token(self, role: str = "tenant", tenant_id: str | None = "acme") -> str:
        """A token that is good for an hour."""
        return create_token(
            self.settings, subject="someone", role=role, tenant_id=tenant_id, ttl_seconds=3600
        )

    def headers(self, role: str = "tenant", tenant_id: str | None = "acme") -> dict[str, str]:
        """Headers of a caller."""
        return {"Authorization": f"Bearer {self.token(role, tenant_id)}"}

    def search(
        self, query: str, *, role: str = "tenant", tenant: str | None = "acme", **body: Any
    ) -> Any:
        """The answer to a search."""
        answer = self.client.post(
            "/api/search", json={"query": query, **body}, headers=self.headers(role, tenant)
        )
        assert answer.status_code == 200, answer.text
        return answer.json()


@contextmanager
def serving(folder: Path, *, is_synced: bool = True, **settings: Any) -> Iterator[Served]:
    """A service for the length of the ``with``, its model loaded."""
    served = Served(folder, is_synced=is_synced, **settings)
    with served.client:
        until = time.monotonic() + 10
        while served.client.get("/readyz").status_code != 200:
            assert time.monotonic() < until
            time.sleep(0.01)
        yield served


def claims(**changes: Any) -> dict[str, Any]:
    """Those of a good token; a claim that is changed to ``...`` is left out."""
    now = int(time.time())
    good = {
        "iss": "sync-pipeline",
        "aud": "sync-pipeline",
        "sub": "someone",
        "exp": now + 86_400,
        "role": "tenant",
        "tenant_id": "acme",
    }
    return {name: value for name, value in (good | changes).items() if value is not ...}


def signed(
    payload: Mapping[str, Any],
    *,
    key: Any = SECRET,
    algorithm: str = "HS256",
    headers: Mapping[str, Any] | None = None,
) -> str:
    """A token with these claims."""
    return jwt.encode(
        dict(payload), key, algorithm=algorithm, headers=None if headers is None else dict(headers)
    )
