"""Paths into a payload: ``attributes.imei``, ``tags[0]``, ``attributes."a.b"[].c``.

The spelling is Qdrant's: keys joined by dots, ``[2]`` for one element of a list,
``[]`` for each of them, and double quotes around a key that holds a dot, a bracket
or anything else but letters, digits, ``_`` and ``-``.
"""

from __future__ import annotations

import re
from typing import Final

Step = str | int | None
"""A key, the number of an element, or None: every element."""

_PART: Final = re.compile(
    r"""(?:"(?P<quoted>[^"]*)" | (?P<key>[^.\[\]"]+))
        (?P<elements>(?:\[[0-9]{0,9}\])*)
        (?P<end>\.|\Z)""",
    re.VERBOSE,
)
_ELEMENT: Final = re.compile(r"\[([0-9]*)\]")
_PLAIN: Final = re.compile(r"[A-Za-z0-9_-]+")


def parse_path(text: str) -> tuple[Step, ...]:
    """Read a path; a key needs quotes only where it holds a dot, a bracket or nothing at all.

    Raises:
        ValueError: it is none; the message says how a key is quoted.
    """
    steps: list[Step] = []
    position, is_open = 0, True
    while is_open:
        part = _PART.match(text, position)
        if part is None:
            raise ValueError(
                f"{text!r} is no path to a payload value: write the payload field, then keys "
                'after dots, [0] or [] for elements of a list, and "..." around a key with '
                'a dot or a bracket in it, e.g. attributes.imei, sizes[0], attributes."a.b"; '
                "a key with a double quote in it cannot be asked for"
            )
        quoted, key = part["quoted"], part["key"]
        steps.append(key if quoted is None else quoted)
        steps += [int(number) if number else None for number in _ELEMENT.findall(part["elements"])]
        position, is_open = part.end(), part["end"] == "."
    return tuple(steps)


def format_path(steps: tuple[Step, ...]) -> str:
    """The one spelling of a path that every engine reads."""
    text = ""
    for step in steps:
        if isinstance(step, str):
            key = step if _PLAIN.fullmatch(step) else f'"{step}"'
            text += f".{key}" if text else key
        else:
            text += "[]" if step is None else f"[{step}]"
    return text
