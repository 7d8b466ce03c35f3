"""A process that lands, for tests that kill it: its arguments are a URL, a count and a page."""

from __future__ import annotations

import os
import signal
import sys

from sync_pipeline.database.engine import make_engine
from sync_pipeline.engine.landing.land import owner_name
from sync_pipeline.processes import process_name
from sync_pipeline_tests.fakes.origin import FakeOrigin
from sync_pipeline_tests.landing.site import LandingSite, products


def main() -> None:
    """Land so many products, and end like a machine does at a page; at page 0 never."""
    url, count, kill_at = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    origin = FakeOrigin.of(*products(count))

    def end(number: int) -> None:
        if number == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    origin.before_page = end
    site = LandingSite(make_engine(url), origin)
    report = site.land(owner=owner_name(process=process_name(), run_id="child"))
    sys.stdout.write(f"{origin.pages_cut} {report.new} {report.deleted} {report.rows}\n")


if __name__ == "__main__":
    main()
