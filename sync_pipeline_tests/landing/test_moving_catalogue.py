"""A catalogue that moves while it is read: nothing that lived throughout is missing afterwards."""

from __future__ import annotations

import random
from contextlib import closing
from dataclasses import replace

import pytest
from sqlalchemy import Engine

from sync_pipeline.core.cleanup import CleanupPolicy
from sync_pipeline.core.landing.origin_options import ByKey, ByOffset, Paging
from sync_pipeline.core.landing.report import LandingReport
from sync_pipeline.core.landing.spec import Confirmation, DeletionRules
from sync_pipeline.origins.rest.origin import RestOrigin
from sync_pipeline_tests.landing.site import LandingSite
from sync_pipeline_tests.origins.rest_server import Catalogue, Erp, product_of, running_erp
from sync_pipeline_tests.origins.rest_support import LANDING, connection_to, request_of

pytestmark = [pytest.mark.process, pytest.mark.slow]

RUNS = 15
FREE = CleanupPolicy(max_deleted_fraction=1)


def land_from(site: LandingSite, erp: Erp, paging: Paging) -> LandingReport:
    request = request_of(paging, lookup="data/products/{id}")
    origin = RestOrigin(site.landing, connection=connection_to(erp), request=request)
    with closing(origin):
        site.origin = origin
        return site.land()


@pytest.mark.parametrize(
    "paging",
    [
        pytest.param(ByOffset(size=10, overlap=2), id="offset"),
        pytest.param(ByKey(size=10, key=("ID",), sort="ID"), id="key"),
    ],
)
@pytest.mark.parametrize("confirm", [Confirmation.LOOKUP, Confirmation.NONE])
def test_whatever_lived_throughout_a_pass_is_there_and_a_quiet_pass_makes_it_exact(
    engine: Engine, paging: Paging, confirm: Confirmation
) -> None:
    landing = replace(LANDING, deletions=DeletionRules(confirm=confirm, policy=FREE))
    site = LandingSite(engine, landing=landing)
    for seed in range(RUNS):
        chance = random.Random(seed)  # noqa: S311 - repeatable
        catalogue = Catalogue.of(60, step=2)
        with running_erp(catalogue) as erp:
            throughout = set(catalogue.ids())

            def move(_: int, it: Catalogue) -> None:
                for _ in range(chance.randrange(6)):  # noqa: B023 - called within this turn
                    ids = it.ids()
                    match chance.choice(("insert", "delete", "update")):  # noqa: B023
                        case "insert":
                            # A repeated id would leave a doubt that nothing goes beyond.
                            new = product_of(chance.randrange(10_000) * 2 + 1)  # noqa: B023
                            it.delete(str(new["ID"]))
                            it.insert(new)
                        case "delete" if len(ids) > 20:
                            gone = chance.choice(ids)  # noqa: B023
                            it.delete(gone)
                            throughout.discard(gone)  # noqa: B023
                        case _:
                            it.update(chance.choice(ids), Nazev="changed")  # noqa: B023

            erp.before_each_page = move
            land_from(site, erp, paging)
            landed = set(site.ids())
            assert throughout <= landed, (seed, throughout - landed)

            erp.before_each_page = None
            land_from(site, erp, paging)
            assert set(site.ids()) == set(catalogue.ids()), seed
