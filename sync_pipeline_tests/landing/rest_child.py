"""A process that lands from a REST system, for tests that kill it: DATABASE_URL and ERP_URL."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, replace

from sync_pipeline.core.landing.origin_options import ByOffset, RestConnection
from sync_pipeline.core.landing.spec import Confirmation, DeletionRules
from sync_pipeline.database.engine import make_engine
from sync_pipeline.engine.landing.land import owner_name
from sync_pipeline.origins.rest.origin import RestOrigin
from sync_pipeline.processes import process_name
from sync_pipeline_tests.landing.site import LandingSite
from sync_pipeline_tests.origins.rest_support import LANDING, LOGIN, request_of

REQUESTS_AHEAD = 3
PAGE_SIZE = 200
CONFIRMED = replace(LANDING, deletions=DeletionRules(confirm=Confirmation.LOOKUP))
REQUEST = request_of(ByOffset(size=PAGE_SIZE), lookup="data/products/{id}")


def connection_of(url: str) -> RestConnection:
    """To a running stub."""
    return RestConnection(
        name="erp",
        base_url=url,
        login=LOGIN,
        concurrent_requests=REQUESTS_AHEAD,
        attempts=8,
        timeout_seconds=10,
    )


def main() -> None:
    """Land once, and print the report."""
    database_url, erp_url = sys.argv[1:]
    origin = RestOrigin(CONFIRMED, connection=connection_of(erp_url), request=REQUEST)
    site = LandingSite(make_engine(database_url), origin, CONFIRMED)
    report = site.land(owner=owner_name(process=process_name(), run_id="child"))
    sys.stdout.write(json.dumps(asdict(report)) + "\n")


if __name__ == "__main__":
    main()
