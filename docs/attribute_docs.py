"""What the string below a field of a class says, read from the source only where it is wanted."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator
from functools import cache


def meaning(model: type, name: str) -> str:
    """What a field is for; one that a class narrows without a word says it where it comes from.

    Args:
        model: A class whose fields have strings below them.
        name: Of the field, as it is written in the class.

    Raises:
        LookupError: nothing is said of it.
    """
    for form in model.__mro__:
        text = _strings(form).get(name)
        if text:
            return " ".join(text.split())
    raise LookupError(f"{model.__name__}.{name} has no string below it")


@cache
def _strings(form: type) -> dict[str, str]:
    try:
        source = inspect.getsource(form)
    except (OSError, TypeError):
        return {}
    (tree,) = ast.parse(textwrap.dedent(source)).body
    return dict(_described(tree)) if isinstance(tree, ast.ClassDef) else {}


def _described(tree: ast.ClassDef) -> Iterator[tuple[str, str]]:
    for field, below in zip(tree.body, tree.body[1:], strict=False):
        match field, below:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str(text))),
            ):
                yield name, inspect.cleandoc(text)
