"""A pytest plugin that takes one guard out of the package, to see whether a test notices.

``SYNC_PIPELINE_TEST_MUTANT`` names it. The code is changed while it is imported; the
files stay as they are.
"""

from __future__ import annotations

import ast
import importlib.util
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.machinery import SourceFileLoader
from types import CodeType
from typing import Any, Final

VARIABLE: Final = "SYNC_PIPELINE_TEST_MUTANT"
GONE: Final = "is not there any more"

_Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@dataclass(frozen=True, slots=True)
class Change:
    """A guard, and what stands in its place: both compared as syntax, however they are written.

    The guard is an expression, a statement, or an argument as in ``limit=limit``. It stands
    exactly once in its function; what stands in functions inside that one is theirs.
    """

    module: str
    function: str | None
    """By its qualified name, such as ``EdgeStore.delete``; None is outside of all."""
    guard: str
    instead: str
    """Of the same kind; statements may be several, and nothing takes an argument away."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """What is taken out, and a test that must fail then."""

    test: str
    changes: tuple[Change, ...]


class GuardGoneError(AssertionError):
    """A mutant names a guard that the package does not have (any more)."""


_HERE: Final = "sync_pipeline_tests/reliability"
_ENGINE: Final = "sync_pipeline_tests/engine"
MUTANTS: Final = {
    "S1 no limit on deletions": Mutant(
        f"{_HERE}/test_losing_data.py::test_s01_a_source_that_suddenly_has_nothing_deletes_nothing[truncated]",
        (
            Change(
                "sync_pipeline.core.cleanup",
                "plan_cleanup",
                "refused and total != policy.approved_deletions",
                "False",
            ),
        ),
    ),
    "S72 an entity may be emptied": Mutant(
        f"{_ENGINE}/test_entities.py::test_s72_an_entity_without_rows_is_not_emptied_and_the_plan_says_so[full]",
        (
            Change(
                "sync_pipeline.core.cleanup",
                "CleanupPolicy.allowance",
                "max(0, min(allowed, indexed - 1))",
                "allowed",
            ),
        ),
    ),
    "S65 the index is read whatever the settings name": Mutant(
        "sync_pipeline_tests/cases/test_two_configs.py::test_s65_one_team_deletes_nothing_of_the_other",
        (
            Change(
                "sync_pipeline.stores.edge.store",
                "EdgeStore.iter_digests",
                "entity_types=entity_types",
                "",
            ),
        ),
    ),
    "S65 events of every entity are consumed": Mutant(
        f"{_ENGINE}/test_incremental.py::test_events_of_an_entity_that_the_settings_do_not_name_stay_for_who_syncs_it",
        (
            Change(
                "sync_pipeline.engine.steps.touched",
                "read_feed",
                "entity_types=sync.entity_names",
                "",
            ),
        ),
    ),
    "S65 a search shows what the settings do not name": Mutant(
        f"{_ENGINE}/test_entities.py::test_a_search_finds_only_documents_of_the_settings",
        (
            Change(
                "sync_pipeline.engine.questions.search",
                "build_query",
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
                "coverage",
                "max(points.get(name, 0), count)",
                "count",
            ),
        ),
    ),
    "S61 values of an id are joined as they are": Mutant(
        f"{_HERE}/test_state_machine.py",
        (
            Change(
                "sync_pipeline.core.row_id",
                "join_row_id",
                "map(_escaped, values)",
                "values",
            ),
        ),
    ),
    "S62 a feed that was lost is relied on": Mutant(
        f"{_HERE}/test_state_machine.py",
        (
            Change(
                "sync_pipeline.core.changes",
                "why_not_covered",
                "recorded != status.epoch",
                "False",
            ),
        ),
    ),
    "S62 a lost feed leads to no full comparison": Mutant(
        f"{_HERE}/test_state_machine.py",
        (
            Change(
                "sync_pipeline.engine.steps.touched",
                "_why_everything",
                "if lost: return '; '.join(lost)",
                "pass",
            ),
        ),
    ),
    "S69 rows that do not count are read": Mutant(
        "sync_pipeline_tests/sources/test_contract.py::test_whose_rows_they_are_can_be_said_in_many_ways[postgres-condition]",
        (
            Change(
                "sync_pipeline.sources.statements",
                "TableStatements.__init__",
                "sa.and_(sa.true(), *map(self._meets, entity.only))",
                "sa.true()",
            ),
        ),
    ),
    "S2 row security may hide rows": Mutant(
        f"{_HERE}/test_losing_data.py::test_s02_a_policy_that_hides_rows_fails_the_run_before_the_index_is_touched",
        (
            Change(
                "sync_pipeline.sources.postgres",
                "PostgresRowSource.open_snapshot",
                "self._settings",
                'self._settings | {"row_security": "on"}',
            ),
            Change(
                "sync_pipeline.sources.layout",
                "read_tables",
                "hides_rows=row.hides_rows",
                "hides_rows=False",
            ),
        ),
    ),
    "S8 old points are deleted before new ones are made": Mutant(
        f"{_HERE}/test_losing_data.py::test_s08_an_embedder_that_fails_anywhere_takes_nothing_away",
        (
            Change(
                "sync_pipeline.engine.steps.change_set",
                "compare_scope",
                "staging.add(comparison)",
                "with sync.store() as store:\n"
                "    gone = comparison.changes.column('point_id').to_pylist()\n"
                "    store.delete(export.collection, gone, scope_key=export.scope_key)\n"
                "staging.add(comparison)",
            ),
        ),
    ),
    "S19 a model is not compared with what it gave before": Mutant(
        f"{_ENGINE}/test_canaries.py::test_s19_a_model_that_changed_behind_its_name_stops_the_run",
        (
            Change(
                "sync_pipeline.engine.canaries",
                "require_agreement",
                "lowest < tolerance",
                "False",
            ),
        ),
    ),
    "S31 a call is made whatever the budgets admit": Mutant(
        f"{_ENGINE}/test_metering.py::test_a_call_beyond_a_budget_is_not_made",
        (
            Change(
                "sync_pipeline.engine.metering",
                "MeteredEmbedder.embed",
                "not self.tariff.is_limited",
                "True",
            ),
        ),
    ),
    "S31 a provider of another model is asked": Mutant(
        f"{_ENGINE}/test_fallback.py::test_a_provider_of_another_model_is_never_asked_for_a_text",
        (
            Change(
                "sync_pipeline.engine.fallback",
                "ChainEmbedder._require_same_model",
                "tolerance=SAME_MODEL_COSINE",
                "tolerance=-1",
            ),
        ),
    ),
    "S57 a prune deletes what a run has looked up": Mutant(
        f"{_ENGINE}/test_cache.py::test_s57_what_a_run_found_in_the_cache_stays_until_it_has_written_it",
        (
            Change(
                "sync_pipeline.engine.steps.change_set",
                "_Staging._missing",
                "missing = self.sync.cache.claim(model_id=self.sync.cache_key(scope, model_id), "
                "text_hashes=list(texts), scope=scope, owner=self.export.run_id)",
                "missing = self.sync.cache.missing(model_id=self.sync.cache_key(scope, model_id), "
                "text_hashes=list(texts))",
            ),
        ),
    ),
    "S12 writes have no condition": Mutant(
        f"{_HERE}/test_losing_data.py::test_s12_a_late_duplicate_undoes_nothing",
        (
            Change(
                "sync_pipeline.stores.server.store",
                "ServerStore._upsert",
                "update_filter=condition",
                "update_filter=None",
            ),
        ),
    ),
    "S12 a run that was cut off while it wrote leaves no note": Mutant(
        "sync_pipeline_tests/engine/test_cut_off.py"
        "::test_a_point_that_nobody_recorded_goes_although_its_row_went_before",
        (
            Change(
                "sync_pipeline.engine.steps.upsert",
                "upsert_scope",
                "note_writing(sync, fence)",
                "pass",
            ),
        ),
    ),
    "S12 a run that was overtaken leaves no note": Mutant(
        "sync_pipeline_tests/engine/test_cut_off.py"
        "::test_a_late_write_over_a_row_that_changed_back_is_found",
        (
            Change(
                "sync_pipeline.engine.lease",
                "require_lease",
                "note_writing(sync, fence, over_others=True)",
                "pass",
            ),
        ),
    ),
    "S12 a run that ends with an error does not ask whether it was overtaken": Mutant(
        "sync_pipeline_tests/engine/test_cut_off.py"
        "::test_a_late_write_is_found_though_its_run_ends_with_another_error",
        (
            Change(
                "sync_pipeline.engine.lease",
                "noting_late_writes",
                "require_lease(sync, fence)",
                "pass",
            ),
        ),
    ),
    "S12 a step ends without asking whether it was overtaken": Mutant(
        "sync_pipeline_tests/engine/test_cut_off.py"
        "::test_a_late_write_is_found_by_the_step_that_wrote_it",
        (
            Change(
                "sync_pipeline.engine.steps.upsert",
                "upsert_scope",
                "require_lease(sync, fence)",
                "pass",
            ),
        ),
    ),
    "S15 deletes have no owner": Mutant(
        f"{_HERE}/test_losing_data.py::test_s15_a_delete_spares_a_point_whose_new_owner_read_the_source_earlier",
        (
            Change(
                "sync_pipeline.stores.stored",
                "is_deletable",
                "payload.get(SCOPE_KEY) != scope_key",
                "False",
            ),
        ),
    ),
    "S15 deletes ignore the revision": Mutant(
        f"{_HERE}/test_concurrency.py::test_s15_s16_s34_a_process_that_slept_before_its_delete_spares_a_newer_point[embedded]",
        (
            Change(
                "sync_pipeline.engine.steps.cleanup",
                "clean_scope",
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
                "_iter_batches",
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
                "_forget",
                "up_to=staged.taken_at",
                "up_to=None",
            ),
        ),
    ),
    "S19 a search is embedded by the model of the settings": Mutant(
        f"{_ENGINE}/test_generations.py::test_searches_are_embedded_by_the_model_of_the_generation_that_serves",
        (
            Change(
                "sync_pipeline.engine.roles",
                "serving",
                "return sync.over(generation)",
                "return sync",
            ),
        ),
    ),
    "S20 a generation serves before it is filled": Mutant(
        f"{_ENGINE}/test_generations.py::test_a_scope_that_is_not_filled_holds_it_back_and_says_so",
        (
            Change(
                "sync_pipeline.engine.switching",
                "_is_unfilled",
                "return record is None or bool(record.missing or record.cut_off) "
                "or record.last_full_at is None",
                "return False",
            ),
        ),
    ),
    "S20 change events go before every generation has answered them": Mutant(
        f"{_ENGINE}/test_generations.py::test_events_wait_until_every_generation_has_answered_them",
        (
            Change(
                "sync_pipeline.engine.steps.cleanup",
                "_consume_events",
                "sync.feed is None or staged.events is None or sync.keeps_in_step "
                "or staged.out_of_step",
                "sync.feed is None or staged.events is None or sync.keeps_in_step",
            ),
        ),
    ),
    "S34 the lease is not asked before a write": Mutant(
        f"{_ENGINE}/test_stopping.py::test_a_run_whose_lease_was_taken_stops_before_its_next_write",
        (
            Change(
                "sync_pipeline.engine.lease",
                "require_lease",
                "sync.leases.check",
                "(lambda *_, **__: None)",
            ),
        ),
    ),
    "S34 a lease is taken in a transaction": Mutant(
        f"{_HERE}/test_stopped_processes.py::test_s34_what_others_have_to_get_past_is_locked_by_nobody_between_two_statements[_lease]",
        (
            Change(
                "sync_pipeline.database.scope_leases",
                "PostgresScopeLeases.acquire",
                "self._database.run_alone",
                "self._database.run",
            ),
        ),
    ),
    "S34 a stopped transaction stays": Mutant(
        f"{_HERE}/test_stopped_processes.py::test_s34_what_a_stopped_transaction_has_locked_is_free_after_a_while_and_it_begins_again",
        (
            Change(
                "sync_pipeline.database.engine",
                "_speak_plainly",
                "_DIRECTLY.format(f'{round(1000 * IDLE_SECONDS)}ms')",
                "_SPEAK_PLAINLY",
            ),
        ),
    ),
    "S40 an export is used whoever held the scope since": Mutant(
        f"{_ENGINE}/test_stopping.py::test_a_run_that_another_one_overtook_between_two_steps_starts_over[exported]",
        (
            Change(
                "sync_pipeline.engine.steps.sync",
                "_is_current",
                "made_by == (run_id, fence.token, sync.spec.collection)",
                "staged.run_id == run_id",
            ),
        ),
    ),
    "S45 a search has no scope filter": Mutant(
        f"{_HERE}/test_security.py::test_s45_ten_thousand_searches_as_twenty_tenants_show_no_foreign_document",
        (
            Change(
                "sync_pipeline.stores.edge.requests",
                "search_filter",
                "must=[scope_filter(query.scope_keys), *map(_condition, conditions)]",
                "must=[*map(_condition, conditions)]",
            ),
        ),
    ),
    "S45 a row that left a tenant's sight is shown until the next sync": Mutant(
        f"{_HERE}/test_revocation.py::test_s45_nothing_of_an_emptied_table_is_shown",
        (
            Change(
                "sync_pipeline.engine.questions.search",
                "search_generation",
                "answers = _without_departed(answers, present)",
                "pass",
            ),
        ),
    ),
    "S45 hits are not checked": Mutant(
        f"{_HERE}/test_security.py::test_s45_an_index_that_returns_a_foreign_document_shows_nothing",
        (
            Change(
                "sync_pipeline.engine.questions.sight",
                "require_own",
                "if foreign: raise IsolationError(scope_key=scope.key, document_ids=foreign)",
                "pass",
            ),
        ),
    ),
    "protected: nobody asks for the name": Mutant(
        "sync_pipeline_tests/cli/test_environments.py::test_deleting_in_a_protected_environment_takes_its_name[tenant]",
        (
            Change(
                "sync_pipeline.core.environment",
                "needs_name",
                "environment.is_protected",
                "False",
            ),
        ),
    ),
    "protected: any name will do": Mutant(
        "sync_pipeline_tests/service/test_environments.py::test_an_approval_in_a_protected_environment_takes_its_name[dev]",
        (
            Change(
                "sync_pipeline.core.environment",
                "needs_name",
                "said != environment.name",
                "False",
            ),
        ),
    ),
    "protected: an address comes from any variable": Mutant(
        "sync_pipeline_tests/settings/test_environments.py::test_a_protected_environment_takes_no_address_that_its_file_does_not_name",
        (
            Change(
                "sync_pipeline.settings.environments",
                "contradictions",
                "overlay.is_protected and path in ADDRESSES and not is_own and given is not None",
                "False",
            ),
        ),
    ),
}
"""By scenario and what is taken out."""


def mutated(source: str, changes: Sequence[Change]) -> ast.Module:
    """Parse a module's source, with each guard replaced.

    Raises:
        GuardGoneError: a function is not there, or its guard is not there exactly once.
    """
    tree = ast.parse(source)
    for change in changes:
        scope = _definition(tree, change)
        replacement = _Replacement(change, scope)
        replacement.visit(scope)
        if replacement.times != 1:
            raise GuardGoneError(
                f"{change.guard!r} in {_place(change)} {GONE}, or not once:"
                f" it stands there {replacement.times} times"
            )
    return ast.fix_missing_locations(tree)


def source_of(module: str) -> str:
    """The text of a module of the package."""
    found = importlib.util.find_spec(module)
    if found is None or not isinstance(found.loader, SourceFileLoader):
        raise GuardGoneError(f"the module {module} {GONE}")
    return found.loader.get_source(module) or ""


def _place(change: Change) -> str:
    return ".".join(filter(None, (change.module, change.function)))


def _definition(tree: ast.Module, change: Change) -> ast.Module | _Definition:
    scope: ast.Module | _Definition = tree
    for name in change.function.split(".") if change.function else ():
        inner = [found for found in _definitions(scope) if found.name == name]
        if len(inner) != 1:
            raise GuardGoneError(f"{_place(change)} {GONE}, or not once: {len(inner)} times")
        (scope,) = inner
    return scope


def _definitions(node: ast.AST) -> Iterator[_Definition]:
    """Functions and classes directly in a scope, also under ``if`` and ``try``."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, _Definition):
            yield child
        else:
            yield from _definitions(child)


class _Replacement(ast.NodeTransformer):
    """Replaces a guard in one scope, and counts how often it stood there."""

    def __init__(self, change: Change, scope: ast.AST) -> None:
        self.times = 0
        self._scope = scope
        (guard,) = _statements(change.guard)
        self._guard = _normal(guard)
        self._instead = _statements(change.instead)

    def visit(self, node: ast.AST) -> Any:
        if isinstance(node, _Definition) and node is not self._scope:
            return node
        if not isinstance(node, ast.stmt | ast.expr | ast.keyword) or not self._is_guard(node):
            return self.generic_visit(node)
        self.times += 1
        return self._replaced(node)

    def _is_guard(self, node: ast.stmt | ast.expr | ast.keyword) -> bool:
        return _normal(node) == self._guard

    def _replaced(self, node: ast.stmt | ast.expr | ast.keyword) -> Any:
        if isinstance(node, ast.stmt):
            return self._instead
        if isinstance(node, ast.keyword) and not self._instead:
            return None
        (instead,) = self._instead
        if isinstance(node, ast.keyword):
            assert isinstance(instead, ast.Assign)
            return ast.keyword(node.arg, instead.value)
        assert isinstance(instead, ast.Expr)
        return instead.value


def _statements(text: str) -> list[ast.stmt]:
    return ast.parse(text).body


def _normal(node: ast.AST) -> str:
    """One spelling of a piece of code; that of an argument is that of an assignment."""
    if isinstance(node, ast.keyword):
        return f"{node.arg} = {ast.unparse(node.value)}"
    return ast.unparse(node)


def take_out(mutant: Mutant) -> None:
    """Change the modules when they are imported.

    Raises:
        GuardGoneError: at the import, if a guard is not where it was.
    """
    modules = {change.module for change in mutant.changes}
    get_code: Any = SourceFileLoader.get_code

    def get_mutated_code(self: SourceFileLoader, fullname: str) -> CodeType | None:
        if fullname not in modules:
            code: CodeType | None = get_code(self, fullname)
            return code
        changes = [change for change in mutant.changes if change.module == fullname]
        tree = mutated(self.get_data(self.path).decode(), changes)
        changed: CodeType = compile(tree, self.path, "exec", dont_inherit=True)
        return changed

    SourceFileLoader.get_code = get_mutated_code  # type: ignore[method-assign, assignment]  # for this process


if VARIABLE in os.environ:
    take_out(MUTANTS[os.environ[VARIABLE]])
