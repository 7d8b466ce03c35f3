"""docs/service.md shows calls and answers: each call is made, and answers as it is shown."""

from __future__ import annotations

import json
import re
import shlex
from typing import Any, Final
from urllib.parse import urlsplit

import pytest

from sync_pipeline_tests.conftest import REPOSITORY
from sync_pipeline_tests.service.served import Served

BLOCK: Final = re.compile(r"```sh\n(curl [^\n]+)\n```\n```json\n(.*?)```", re.DOTALL)
CALLS: Final = BLOCK.findall((REPOSITORY / "docs/service.md").read_text(encoding="utf-8"))


def shape(value: Any) -> Any:
    """Names and kinds, at any depth; of a list those of its first element."""
    if isinstance(value, dict):
        return {name: shape(part) for name, part in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return type(value).__name__


def is_like(shown: Any, answered: Any) -> bool:
    """Whether an answer has all that is shown; what is shown as null or empty may be filled."""
    if isinstance(shown, dict) and isinstance(answered, dict):
        return all(name in answered and is_like(shown[name], answered[name]) for name in shown)
    if isinstance(shown, list) and isinstance(answered, list):
        return not (shown and answered) or is_like(shown[0], answered[0])
    kinds = (type(shown), type(answered))
    return None in (shown, answered) or kinds[0] == kinds[1] or set(kinds) == {int, float}


@pytest.mark.parametrize(("call", "answer"), CALLS, ids=[call.split()[2] for call, _ in CALLS])
def test_a_call_answers_as_it_is_shown(served: Served, call: str, answer: str) -> None:
    tokens = {"TOKEN": served.token(), "ADMIN": served.token("admin", None)}
    words = shlex.split(re.sub(r"\$(\w+)", lambda name: tokens[name[1]], call))
    url = urlsplit(next(word for word in words if word.startswith("http")))
    headers = dict(words[at + 1].split(": ", 1) for at, it in enumerate(words) if it == "-H")
    body = words[words.index("-d") + 1] if "-d" in words else None

    answered = served.client.request(
        "GET" if body is None else "POST", f"{url.path}?{url.query}", content=body, headers=headers
    )

    shown = json.loads(answer)
    is_problem = isinstance(shown.get("status"), int)
    assert answered.status_code == shown["status"] if is_problem else answered.is_success
    assert is_like(_known_to_fakes(shown), answered.json()), shape(answered.json())


def _known_to_fakes(shown: Any) -> Any:
    """Without payload fields that the tables of these tests do not have."""
    if isinstance(shown, dict):
        absent = {"categoryId", "supplierId", "price"}
        return {name: _known_to_fakes(it) for name, it in shown.items() if name not in absent}
    return [_known_to_fakes(it) for it in shown] if isinstance(shown, list) else shown


def test_every_kind_of_call_is_shown() -> None:
    assert len(CALLS) >= 9
