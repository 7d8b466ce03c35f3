"""Words that benchmarks, page and plots share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

COMMANDS: Final[Mapping[str, str]] = {
    "first": "first sync",
    "unchanged": "nothing changed",
    "verify": "verify",
}
"""What is run over catalogues of growing size."""

CONTENDERS: Final[Mapping[str, str]] = {
    "pipeline": "sync-pipeline",
    "script": "own script",
    "langchain": "LangChain index()",
}
SCENARIOS: Final[Mapping[str, str]] = {
    "first": "first sync",
    "unchanged": "nothing changed",
    "texts": "1 % of texts changed",
    "prices": "1 % of prices changed",
    "deletes": "1 % of rows deleted",
    "resume": "finishing after kill -9 half way",
}
PROVIDERS: Final[Mapping[str, str]] = {
    "hashing": "Free vectors",
    "sentence-transformers": "Real model",
}
