"""One process that asks a service for vectors as fast as it may: ``DATABASE SERVICE SECONDS``."""

from __future__ import annotations

import sys
import threading
import time

from sync_pipeline.core.rate_limits import RateLimits
from sync_pipeline.database.engine import make_engine
from sync_pipeline.database.rate_limits import PostgresRateLimiter
from sync_pipeline.embedding.openai import OpenAIEmbedder

TEXT = "Cement M500, 50 kg, for foundations and screeds. " * 6


def main(database_url: str, service_url: str, seconds: float) -> None:
    """Ask in four threads until the time is over."""
    embedder = OpenAIEmbedder(
        model="stub",
        base_url=service_url,
        dimension=16,
        limiter=PostgresRateLimiter(
            make_engine(database_url), account="shared", limits=RateLimits()
        ),
    )
    end = time.monotonic() + seconds

    def ask() -> None:
        while time.monotonic() < end:
            embedder.embed([TEXT] * 64)

    threads = [threading.Thread(target=ask) for _ in range(embedder.concurrency)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    embedder.close()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]))
