"""Records that come and go while a list is walked through: none that stays is missed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import pytest

from sync_pipeline.core.landing.origin_options import ByKey, ByOffset, Paging
from sync_pipeline.core.landing.passes import Page, Position
from sync_pipeline_tests.origins.rest_server import Catalogue, Erp, Faults, product_of, running_erp
from sync_pipeline_tests.origins.rest_support import ids_of, opened, read, request_of

pytestmark = pytest.mark.process

_SEEDS = 30
_PAGINGS: Final[dict[str, Paging]] = {
    "offset-overlap-1": ByOffset(size=5, overlap=1),
    "offset-overlap-2": ByOffset(size=6, overlap=2),
    "offset-overlap-5": ByOffset(size=9, overlap=5),
    "key": ByKey(size=5, key=("ID",), sort="ID"),
}


class _Turmoil:
    """Changes a catalogue before each page that is cut; those it never touched stay."""

    def __init__(self, dice: random.Random, catalogue: Catalogue) -> None:
        self._dice = dice
        self.untouched = set(catalogue.ids())
        self._dense = dice.random() < 0.3
        self.changes_left = 60

    def __call__(self, number: int, catalogue: Catalogue) -> None:
        for _ in range(self._dice.choice((0, 0, 1, 1, 2, 4))):
            if self.changes_left:
                self.changes_left -= 1
                self._change(catalogue)

    def _change(self, catalogue: Catalogue) -> None:
        ids = catalogue.ids()
        match self._dice.choice(("insert", "delete", "delete", "update")):
            case "delete" if ids:
                # Neighbours together too, as when a whole range of products is discontinued.
                begin = self._dice.randrange(len(ids))
                for gone in ids[begin : begin + self._dice.choice((1, 1, 2, 7))]:
                    self.untouched.discard(gone)
                    catalogue.delete(gone)
            case "update" if ids:
                catalogue.update(self._dice.choice(ids), Nazev="changed")
            case _:
                number = self._dice.randrange(2_000)
                if f"{number:08}" not in ids:
                    catalogue.insert(product_of(number))


@pytest.fixture(scope="module")
def erp() -> Iterator[Erp]:
    with running_erp() as running:
        yield running


def _prepared(erp: Erp, seed: int) -> tuple[random.Random, _Turmoil]:
    dice = random.Random(seed)  # noqa: S311 - repeatable
    erp.catalogue = Catalogue.of(dice.choice((0, 1, 7, 40, 120)), first=3, step=11)
    erp.faults = Faults(rate_500=0.02, rate_429=0.02)
    erp.pages.clear()
    turmoil = _Turmoil(dice, erp.catalogue)
    erp.before_each_page = turmoil
    return dice, turmoil


def _read_in_pieces(erp: Erp, paging: Paging, dice: random.Random, *, total: bool) -> list[Page]:
    """A pass that is cut off at random pages, and gone on with by another process."""
    request = request_of(paging)
    taken: list[Page] = []
    start: Position | None = None
    while not taken or not taken[-1].is_last:
        with opened(
            erp,
            request if total else replace(request, total=None),
            concurrent_requests=dice.choice((1, 3)),
        ) as origin:
            taken += read(origin, start=start, most=dice.choice((1, 3, 1_000)))
        start = taken[-1].resume
        assert start is not None
    return taken


@pytest.mark.parametrize("total", [True, False], ids=["with a total", "without one"])
@pytest.mark.parametrize("name", _PAGINGS)
def test_no_record_that_stays_is_missed_however_others_come_and_go(
    *, erp: Erp, name: str, total: bool
) -> None:
    for seed in range(_SEEDS):
        dice, turmoil = _prepared(erp, seed)

        pages = _read_in_pieces(erp, _PAGINGS[name], dice, total=total)

        missing = turmoil.untouched - set(ids_of(pages))
        assert not missing, f"seed {seed} of {name}"
