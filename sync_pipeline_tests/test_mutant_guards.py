"""Every mutant's guard exists, and is found however it is written. Nothing is run."""

from __future__ import annotations

import ast

import pytest

from sync_pipeline_tests.conftest import REPOSITORY
from sync_pipeline_tests.reliability.mutant import (
    GONE,
    MUTANTS,
    Change,
    GuardGoneError,
    mutated,
    source_of,
)

STORE = """
class Store:
    def write(self, ids, *, limit):
        if ids and limit > 3:
            return self.call(ids, limit=limit)

        def later():
            return limit > 3

    def delete(self, ids, *, limit):
        if (ids
                and limit > 3):  # reformatted
            return None
"""


def change(function: str | None, guard: str, instead: str) -> Change:
    return Change("store", function, guard, instead)


def after(*changes: Change) -> str:
    return ast.unparse(mutated(STORE, changes))


@pytest.mark.parametrize("name", MUTANTS)
def test_the_guard_that_a_mutant_takes_out_is_there(name: str) -> None:
    for module in {change.module for change in MUTANTS[name].changes}:
        changes = [change for change in MUTANTS[name].changes if change.module == module]
        source = source_of(module)

        assert ast.unparse(mutated(source, changes)) != ast.unparse(ast.parse(source))


@pytest.mark.parametrize("name", MUTANTS)
def test_the_test_that_a_mutant_must_fail_is_there(name: str) -> None:
    file, _, test = MUTANTS[name].test.partition("::")

    tree = ast.parse((REPOSITORY / file).read_text(encoding="utf-8"))

    tests = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    assert not test or test.partition("[")[0] in tests


@pytest.mark.parametrize(
    ("function", "guard", "instead", "expected"),
    [
        pytest.param("Store.write", "limit > 3", "False", "if ids and False:", id="expression"),
        pytest.param("Store.write", "limit=limit", "limit=0", "call(ids, limit=0)", id="argument"),
        pytest.param("Store.write", "limit=limit", "", "call(ids)", id="no argument"),
        pytest.param("Store.delete", "return None", "a(); b()", "b()", id="two statements"),
        pytest.param("Store.delete", "ids and limit > 3", "1", "if 1:", id="reformatted"),
        pytest.param("Store.write.later", "limit > 3", "5", "return 5", id="inner function"),
    ],
)
def test_a_guard_is_replaced_in_its_function_alone(
    function: str, guard: str, instead: str, expected: str
) -> None:
    changed = after(change(function, guard, instead))

    before = ast.unparse(ast.parse(STORE)).splitlines()
    different = [line for line in changed.splitlines() if line not in before]
    assert expected in different[-1]
    assert all("limit > 3" not in line for line in different)
    assert changed.count("limit > 3") >= 2


@pytest.mark.parametrize(
    ("function", "guard", "message"),
    [
        pytest.param("Store.read", "limit > 3", f"store.Store.read {GONE}", id="function"),
        pytest.param(
            "Store.write", "limit > 4", rf"'limit > 4' in store.Store.write {GONE}", id="guard"
        ),
        pytest.param("Store.write", "ids", "stands there 2 times", id="guard several times"),
    ],
)
def test_a_mutant_whose_guard_is_gone_names_it(function: str, guard: str, message: str) -> None:
    with pytest.raises(GuardGoneError, match=message):
        after(change(function, guard, "False"))


def test_a_module_that_is_gone_is_named() -> None:
    with pytest.raises(GuardGoneError, match=r"the module sync_pipeline\.nothing is not there"):
        source_of("sync_pipeline.nothing")
