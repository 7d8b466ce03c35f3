"""Is the installation sound? One finding per question, each with its mend."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from sync_pipeline.core.errors import SyncPipelineError
from sync_pipeline.core.ports import Weakness
from sync_pipeline.core.spending import BudgetState
from sync_pipeline.core.vocabulary import HELPS
from sync_pipeline.engine.questions.cost import budget_states
from sync_pipeline.engine.questions.entities import left_entities
from sync_pipeline.engine.questions.providers import unasked_providers
from sync_pipeline.engine.questions.vocabulary import sample_vocabulary
from sync_pipeline.engine.reading import Reading
from sync_pipeline.engine.roles import serving

_BUDGETS_NAMED: Final = 5
"""Most budgets that one finding names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The answer to one question."""

    name: str
    ok: bool
    detail: str
    """What was found."""
    fix: str = ""
    """What to do where it is not ok."""


def examine(sync: Reading) -> list[Finding]:
    """Ask source, index and model; writes nothing and loads no model."""
    return [
        *_tables(sync),
        ask("index engine", lambda: _engine(sync)),
        ask("index", lambda: _index(sync)),
        *_layout(sync),
        ask("embedding model", lambda: _model(sync)),
        ask("what comes first", lambda: _order(sync)),
        *_budgets(sync),
        *_providers(sync),
        words_known(sync),
    ]


def ask(name: str, question: Callable[[], str]) -> Finding:
    """Turn an answer, or the error it raises, into a finding."""
    try:
        return Finding(name=name, ok=True, detail=question())
    except SyncPipelineError as error:
        detail = error.what.strip().removesuffix(".")
        return Finding(name=name, ok=False, detail=detail, fix=str(error.remedy))


def words_known(sync: Reading) -> Finding:
    """Whether the model knows the texts of the source, by a sample of each view."""
    remarks: list[str] = []

    def sample() -> str:
        vocabularies = sample_vocabulary(sync)
        remarks.extend(
            f"{name}: {vocabulary.told}"
            for name, vocabulary in vocabularies.items()
            if vocabulary.is_high
        )
        texts = sum(vocabulary.texts for vocabulary in vocabularies.values())
        return f"the model knows the {texts} texts that were looked at"

    finding = ask("words of the texts", sample)
    if not remarks:
        return finding
    fix = f"{HELPS[0].upper()}{HELPS[1:]}; such texts are found by their words only"
    return replace(finding, ok=False, detail="; ".join(remarks), fix=fix)


def _budgets(sync: Reading) -> list[Finding]:
    """How much of this month's budgets is spent, where there are any."""
    states: list[BudgetState] = []

    def question() -> str:
        states.extend(budget_states(sync))
        return "; ".join(state.told() for state in states[:_BUDGETS_NAMED])

    if not sync.options.budgets.has_limits:
        return []
    finding = ask("budgets", question)
    alerting = [state.told() for state in states if state.is_alerting]
    if not alerting:
        return [finding]
    fix = (
        "Once a budget is used up, what is left to embed waits and is found by its words only: "
        "raise it in the section `budget` of the settings, or wait for the next month"
    )
    detail = "; ".join(alerting[:_BUDGETS_NAMED])
    return [replace(finding, ok=False, detail=detail, fix=fix)]


def _providers(sync: Reading) -> list[Finding]:
    """Which providers of a chain are asked, where there is one."""
    if not sync.providers:
        return []
    unasked: list[str] = []

    def question() -> str:
        unasked.extend(unasked_providers(sync))
        return f"all are asked, in this order: {', '.join(sync.providers)}"

    finding = ask("embedding providers", question)
    if not unasked:
        return [finding]
    fix = "Mend what the message names; the next one of the chain is asked meanwhile"
    return [replace(finding, ok=False, detail="; ".join(unasked), fix=fix)]


def _tables(sync: Reading) -> list[Finding]:
    """What the tables are, and, where they fit, what makes trouble for single rows of them."""
    weaknesses: list[Weakness] = []

    def question() -> str:
        weaknesses.extend(sync.source.find_weaknesses(sync.entities))
        return _rows(sync)

    finding = ask("source tables", question)
    return [
        finding,
        *(
            Finding(name="row ids", ok=False, detail=weakness.what, fix=weakness.fix)
            for weakness in weaknesses
        ),
    ]


def _rows(sync: Reading) -> str:
    rows = sum(sync.source.count_by_scope(sync.entities).values())
    tables = ", ".join(entity.table for entity in sync.entities)
    return f"{rows} rows in {tables} of {sync.source.database}"


def _engine(sync: Reading) -> str:
    with sync.store() as store:
        return store.check_engine()


def _index(sync: Reading) -> str:
    served = serving(sync)
    if served is None:
        return f"reachable, nothing behind {sync.alias!r} yet"
    with served.index() as index:
        points = f"{index.count()} points in {served.spec.collection}"
    left = left_entities(served)
    if not left:
        return points
    others = ", ".join(f"{count} of {name}" for name, count in left.items())
    return (
        f"{points}; among them documents of entities that the settings do not name: {others}. They "
        "are kept; `sync-pipeline entities remove NAME` removes them"
    )


def _layout(sync: Reading) -> list[Finding]:
    """How the collection that serves lies on the nodes of a server, where there is one."""

    def question(collection: str) -> str:
        with sync.store() as store:
            return store.check_layout(collection)

    try:
        served = serving(sync)
        with sync.store() as store:
            has_layout = store.capabilities.has_layout
    except SyncPipelineError:
        # What is asked of the index before this says so.
        return []
    if served is None or not has_layout:
        return []
    return [ask("index layout", lambda: question(served.spec.collection))]


def _order(sync: Reading) -> str:
    """What is embedded first within a scope, and which scopes are synced first."""
    ranked = [
        f"{entity.name} by {', then '.join(map(str, entity.priority))}"
        for entity in sync.entities
        if entity.priority
    ]
    within = "; ".join(ranked) if ranked else "no entity has a priority"
    order = sync.options.run_order
    said = f"within a scope: {within}. {order}"
    known = sync.source.count_by_scope(sync.entities) if order.priorities else {}
    unknown = [repr(key) for key in order.priorities if key not in known]
    return f"{said}. No rows has any of: {', '.join(unknown)}" if unknown else said


def _model(sync: Reading) -> str:
    models = (f"{name}, {model.dimension} dimensions" for name, model in sync.embedders.items())
    return "; ".join(models)
