"""Records of software tools of the same form as the registry's, where that is not at hand."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_SUBJECTS: Final = (
    "genome", "protein", "transcript", "metabolite", "pathway", "variant", "alignment", "spectrum",
    "structure", "sequence", "microbiome", "phylogeny", "expression", "methylation", "image",
)  # fmt: skip
_VERBS: Final = (
    "browses", "aligns", "annotates", "assembles", "clusters", "compares", "filters", "indexes",
    "predicts", "ranks", "simulates", "visualises", "validates", "merges", "quantifies",
)  # fmt: skip
_PLACES: Final = (
    "in the browser", "on the command line", "from a notebook", "through an interface for programs",
    "inside a workflow", "beside other tools", "for large cohorts", "for single cells",
)  # fmt: skip
_SYSTEMS: Final = ("Linux", "Windows", "Mac")
_LICENCES: Final = ("GPL-3.0", "MIT", "Apache-2.0", "BSD-3-Clause", None)
_PRICES: Final = ("Free of charge", "Free of charge (with restrictions)", "Commercial", None)
_LANGUAGES: Final = ("Python", "R", "C++", "Java", "Perl")
_SEED: Final = 6000


def iter_tools(count: int) -> Iterator[dict[str, object]]:
    """So many tools, the same ones every time."""
    choose = random.Random(_SEED)  # noqa: S311 - test data
    for number in range(count):
        subject, other = choose.sample(_SUBJECTS, 2)
        verb, place = choose.choice(_VERBS), choose.choice(_PLACES)
        yield {
            "id": f"tool_{number:05}",
            "name": f"{subject.capitalize()} {verb} {number}",
            "description": f"{verb.capitalize()} every {subject} of study {number} beside its "
            f"{other}, {place}.",
            "functionality": [f"{subject.capitalize()} analysis", f"{other.capitalize()} search"],
            "categories": [subject.capitalize(), f"Topic {number % 97}"],
            "interface": choose.sample(["Command-line tool", "Web application", "Library"], 2),
            "deployment": choose.sample(_SYSTEMS, choose.randint(1, 3)),
            "pricingModel": choose.choice(_PRICES),
            "license": choose.choice(_LICENCES),
            "language": choose.sample(_LANGUAGES, choose.randint(0, 2)),
            "collections": [],
            "website": f"https://tools.example.org/{number}",
        }


def write_tools(path: Path, *, count: int) -> None:
    """The same as a file that ``sample load tools`` reads."""
    lines = (json.dumps(tool) for tool in iter_tools(count))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
