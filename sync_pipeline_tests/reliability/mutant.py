"""A pytest plugin that takes one guard out of the package, to see whether a test notices.

``SYNC_PIPELINE_TEST_MUTANT`` names it. The code is changed while it is imported; the
files stay as they are.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib.machinery import SourceFileLoader
from types import CodeType
from typing import Any, Final

VARIABLE: Final = "SYNC_PIPELINE_TEST_MUTANT"


@dataclass(frozen=True, slots=True)
class Change:
    """Some code of a module, and what stands in its place."""

    module: str
    guard: str
    instead: str


@dataclass(frozen=True, slots=True)
class Mutant:
    """What is taken out, and a test that must fail then."""

    test: str
    changes: tuple[Change, ...]


_HERE: Final = "sync_pipeline_tests/reliability"
_ENGINE: Final = "sync_pipeline_tests/engine"
MUTANTS: Final = {
    "S1 no limit on deletions": Mutant(
        f"{_HERE}/test_losing_data.py::test_s01_a_source_that_suddenly_has_nothing_deletes_nothing[truncated]",
        (
            Change(
                "sync_pipeline.core.cleanup",
                "if refused and total != policy.approved_deletions:",
                "if False:",
            ),
        ),
    ),
    "S72 an entity may be emptied": Mutant(
        f"{_ENGINE}/test_entities.py::test_s72_an_entity_without_rows_is_not_emptied_and_the_plan_says_so[full]",
        (
            Change(
                "sync_pipeline.core.cleanup",
                "return max(0, min(allowed, indexed - 1))",
                "return allowed",
            ),
        ),
    ),
    "S65 the index is read whatever the settings name": Mutant(
        "sync_pipeline_tests/cases/test_two_configs.py::test_s65_one_team_deletes_nothing_of_the_other",
        (
            Change(
                "sync_pipeline.stores.edge.store",
                "matching=scope_filter([scope_key], entity_types=entity_types)",
                "matching=scope_filter([scope_key])",
            ),
        ),
    ),
    "S65 events of every entity are consumed": Mutant(
        f"{_ENGINE}/test_incremental.py::test_events_of_an_entity_that_the_settings_do_not_name_stay_for_who_syncs_it",
        (
            Change(
                "sync_pipeline.engine.steps.touched",
                "limit=limit, entity_types=sync.entity_names)",
                "limit=limit)",
            ),
        ),
    ),
    "S65 a search shows what the settings do not name": Mutant(
        f"{_ENGINE}/test_entities.py::test_a_search_finds_only_documents_of_the_settings",
        (
            Change(
                "sync_pipeline.engine.questions.search",
                "equals[ENTITY_TYPE] = _searched_entities(sync, request)",
                "_searched_entities(sync, request)",
            ),
        ),
    ),
    "S65 too many of one entity make up for too few of another": Mutant(
        f"{_ENGINE}/test_entities.py::test_too_many_of_one_entity_do_not_make_up_for_too_few_of_another",
        (
            Change(
                "sync_pipeline.engine.questions.status",
                "    of = sum(max(points.get(name, 0), count) for name, count in wanted.items())",
                "    of = sum(wanted.values())",
            ),
        ),
    ),
    "S61 values of an id are joined as they are": Mutant(
        f"{_HERE}/test_state_machine.py",
        (
            Change(
                "sync_pipeline.core.row_id",
                "return SEPARATOR.join(map(_escaped, values))",
                "return SEPARATOR.join(values)",
            ),
        ),
    ),
    "S62 a feed that was lost is relied on": Mutant(
        f"{_HERE}/test_state_machine.py",
        (
            Change(
                "sync_pipeline.core.changes",
                "if recorded != status.epoch:",
                "if False:",
            ),
        ),
    ),
    "S62 a lost feed leads to no full comparison": Mutant(
        f"{_HERE}/test_state_machine.py",
        (
            Change(
                "sync_pipeline.engine.steps.touched",
                "    if lost:",
                "    if False:",
            ),
        ),
    ),
    "S69 rows that do not count are read": Mutant(
        "sync_pipeline_tests/sources/test_contract.py::test_whose_rows_they_are_can_be_said_in_many_ways[postgres-condition]",
        (
            Change(
                "sync_pipeline.sources.statements",
                "self._counts = sa.and_(sa.true(), *map(self._meets, entity.only))",
                "self._counts = sa.and_(sa.true())",
            ),
        ),
    ),
    "S2 row security may hide rows": Mutant(
        f"{_HERE}/test_losing_data.py::test_s02_a_policy_that_hides_rows_fails_the_run_before_the_index_is_touched",
        (
            Change(
                "sync_pipeline.sources.postgres",
                '"row_security": "off"',
                '"row_security": "on"',
            ),
            Change(
                "sync_pipeline.sources.layout",
                "row_security_active(c.oid) AS hides_rows",
                "false AS hides_rows",
            ),
        ),
    ),
    "S8 old points are deleted before new ones are made": Mutant(
        f"{_HERE}/test_losing_data.py::test_s08_an_embedder_that_fails_anywhere_takes_nothing_away",
        (
            Change(
                "sync_pipeline.engine.steps.embed",
                "            wanted = _embed_missing(",
                "            with sync.store() as store:\n"
                "                gone = found.wanted.column('point_id').to_pylist()\n"
                "                store.delete(export.collection, gone, scope_key=scope.key)\n"
                "            wanted = _embed_missing(",
            ),
        ),
    ),
    "S12 writes have no condition": Mutant(
        f"{_HERE}/test_losing_data.py::test_s12_a_late_duplicate_undoes_nothing",
        (
            Change(
                "sync_pipeline.stores.server.store",
                "update_filter=condition",
                "update_filter=None",
            ),
        ),
    ),
    "S15 deletes have no owner": Mutant(
        f"{_HERE}/test_losing_data.py::test_s15_a_delete_spares_a_point_whose_new_owner_read_the_source_earlier",
        (
            Change(
                "sync_pipeline.stores.stored",
                "    if payload.get(SCOPE_KEY) != scope_key:",
                "    if False:",
            ),
        ),
    ),
    "S15 deletes ignore the revision": Mutant(
        f"{_HERE}/test_concurrency.py::test_s15_s16_s34_a_process_that_slept_before_its_delete_spares_a_newer_point[embedded]",
        (
            Change(
                "sync_pipeline.engine.steps.cleanup",
                "up_to_revision=staged.revision",
                "up_to_revision=None",
            ),
        ),
    ),
    "S34 writes say no revision": Mutant(
        f"{_HERE}/test_state_machine.py",
        (
            Change(
                "sync_pipeline.engine.steps.upsert",
                "revision=staged.revision",
                "revision=0",
            ),
        ),
    ),
    "S15 the record forgets what is newer": Mutant(
        f"{_HERE}/test_concurrency.py::test_s15_s16_s34_a_process_that_slept_before_its_delete_spares_a_newer_record",
        (
            Change(
                "sync_pipeline.engine.steps.cleanup",
                "up_to=staged.taken_at",
                "up_to=None",
            ),
        ),
    ),
    "S34 the lease is not asked before a write": Mutant(
        f"{_ENGINE}/test_stopping.py::test_a_run_whose_lease_was_taken_stops_before_its_next_write",
        (
            Change(
                "sync_pipeline.engine.lease",
                "    sync.scopes.check(",
                "    (lambda *_, **__: None)(",
            ),
        ),
    ),
    "S40 an export is used whoever held the scope since": Mutant(
        f"{_ENGINE}/test_stopping.py::test_a_run_that_another_one_overtook_between_two_steps_starts_over[exported]",
        (
            Change(
                "sync_pipeline.engine.steps.sync",
                "if export.run_id == run_id and export.fence_token == fence.token:",
                "if export.run_id == run_id:",
            ),
        ),
    ),
    "S45 a search has no scope filter": Mutant(
        f"{_HERE}/test_security.py::test_s45_ten_thousand_searches_as_twenty_tenants_show_no_foreign_document",
        (
            Change(
                "sync_pipeline.stores.edge.requests",
                "must=[scope_filter(query.scope_keys), *map(_condition, wanted)]",
                "must=[*map(_condition, wanted)]",
            ),
        ),
    ),
    "S45 hits are not checked": Mutant(
        f"{_HERE}/test_security.py::test_s45_an_index_that_returns_a_foreign_document_shows_nothing",
        (
            Change(
                "sync_pipeline.engine.questions.search",
                "    if foreign:",
                "    if False:",
            ),
        ),
    ),
}
"""By scenario and what is taken out."""


def take_out(mutant: Mutant) -> None:
    """Change the modules when they are imported.

    Raises:
        AssertionError: at the import, if a guard is not where it was.
    """
    changes = {change.module: change for change in mutant.changes}
    get_code: Any = SourceFileLoader.get_code

    def get_mutated_code(self: SourceFileLoader, fullname: str) -> CodeType | None:
        if fullname not in changes:
            code: CodeType | None = get_code(self, fullname)
            return code
        change = changes[fullname]
        source = self.get_data(self.path).decode()
        assert source.count(change.guard) == 1, f"{fullname} has no {change.guard!r} any more"
        mutated: CodeType = compile(
            source.replace(change.guard, change.instead), self.path, "exec", dont_inherit=True
        )
        return mutated

    SourceFileLoader.get_code = get_mutated_code  # type: ignore[method-assign, assignment]  # for this process


if VARIABLE in os.environ:
    take_out(MUTANTS[os.environ[VARIABLE]])
