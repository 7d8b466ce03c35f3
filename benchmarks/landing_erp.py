"""The stub REST system in a process of its own, so that its work is not counted with a landing's.

``python -m benchmarks.landing_erp PRODUCTS`` prints its address, then answers one line of JSON for
each on its input: ``{"change": 1090}`` changes so many products, ``{"latency_seconds": 0.02}`` lets
every page wait, and any line is answered with the requests since the last one.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from benchmarks.home import REPOSITORY, clean_environment
from sync_pipeline_tests.origins.rest_server import Catalogue, Erp, running_erp

_STOP_SECONDS: Final = 30


@dataclass(slots=True, kw_only=True)
class ErpProcess:
    """A running stub, seen from outside."""

    process: subprocess.Popen[str]
    url: str = field(init=False)

    def __post_init__(self) -> None:
        self.url = self._read()["url"]

    def change(self, products: int) -> None:
        """Give so many products another name and price, spread over the list."""
        self._ask(change=products)

    def wait_before_each_page(self, seconds: float) -> None:
        """How long every page takes from now on."""
        self._ask(latency_seconds=seconds)

    def take_requests(self) -> int:
        """Requests since the last time that anything was asked here."""
        requests: int = self._ask()["requests"]
        return requests

    def _ask(self, **wish: Any) -> dict[str, Any]:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(wish) + "\n")
        self.process.stdin.flush()
        return self._read()

    def _read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer


@contextmanager
def running_apart(products: int, *, folder: Path) -> Iterator[ErpProcess]:
    """A stub of so many products for the length of the ``with``."""
    command = [sys.executable, "-m", "benchmarks.landing_erp", str(products)]
    with subprocess.Popen(
        command,
        env={**clean_environment(), "PYTHONPATH": str(REPOSITORY)},
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield ErpProcess(process=process)
        finally:
            process.terminate()
            process.wait(timeout=_STOP_SECONDS)


def main() -> None:
    products = int(sys.argv[1])
    with running_erp(Catalogue.of(products)) as erp:
        _say(url=erp.url)
        rounds = 0
        for line in sys.stdin:
            wish = json.loads(line)
            if "change" in wish:
                rounds += 1
                _change(erp, wish["change"], products=products, rounds=rounds)
            if "latency_seconds" in wish:
                erp.latency_seconds = wish["latency_seconds"]
            _say(requests=_taken(erp))


def _change(erp: Erp, count: int, *, products: int, rounds: int) -> None:
    for number in range(0, products, max(1, products // count))[:count]:
        erp.catalogue.update(f"{number:08}", Nazev=f"Nový název {number}.{rounds}", Cena=rounds)


def _taken(erp: Erp) -> int:
    """Requests so far; what the stub keeps of them is let go."""
    with erp.lock:
        count = sum(erp.requests.values())
        for kept in (erp.requests, erp.pages, erp.targets, erp.headers):
            kept.clear()
    return count


def _say(**answer: Any) -> None:
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
