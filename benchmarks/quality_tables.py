"""Fills the measured parts of ``docs/search-quality.md`` from the newest results.

The page is written by hand but for what stands between ``<!-- measured: NAME -->`` and
``<!-- end -->``. ``python -m benchmarks.quality_tables`` renews those; with ``--check`` it exits 1
where one is out of date.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from benchmarks.measured_page import renew_page
from benchmarks.page import table
from benchmarks.results import RESULTS_FOLDER, Outcome, Results
from benchmarks.retrieval import DEFAULT, FORMER, FUSIONS, NDCG, PARTS
from sync_pipeline.core.fusion import Fusion

PAGE: Final = Path(__file__).resolve().parent.parent / "docs" / "search-quality.md"
FOLDER: Final = RESULTS_FOLDER / "retrieval"

SAMPLE: Final = ("en", "ru")
LANGUAGES: Final = ("de", "fr", "es", "ru")
KINDS: Final = ("plain", "synonym", "misspelling", "units", "part_number", "question")
NAMES: Final[Mapping[str, str]] = {
    "all": "all",
    "en": "English",
    "ru": "Russian",
    "de": "German",
    "fr": "French",
    "es": "Spanish",
    "plain": "plain",
    "synonym": "synonyms",
    "misspelling": "misspellings",
    "units": "units and sizes",
    "part_number": "part numbers",
    "question": "questions",
}
FEW_OF_TEN_THOUSAND: Final = 0.0005

_PART: Final = re.compile(r"(<!-- measured: (?P<name>\w+) -->\n).*?(<!-- end -->)", flags=re.DOTALL)


def main(arguments: Sequence[str]) -> int:
    return renew_page(
        PAGE,
        folder=FOLDER,
        renew=renew,
        module="benchmarks.quality_tables",
        check="--check" in arguments,
    )


def renew(text: str, results: Results) -> str:
    """The page with its measured parts as the results have them.

    Raises:
        KeyError: the page asks for a part that there is not.
    """
    outcome = results.outcome("retrieval")
    assert outcome is not None
    parts = {name: make(outcome) for name, make in _PARTS.items()} | {"run": _run(results)}
    return _PART.sub(lambda found: f"{found[1]}{parts[found['name']]}\n{found[3]}", text)


def _run(results: Results) -> str:
    machine, versions = results.machine, results.versions
    return (
        f"Measured on {results.date}: {machine['cpu']}, {machine['cores']} cores, "
        f"qdrant-edge-py {versions['qdrant-edge-py']}, the bundled model with "
        f"sentence-transformers {versions['sentence-transformers']}. Every number is in "
        "`benchmarks/results/retrieval/`; `make bench-retrieval` measures again."
    )


def _printed(place: int, *, after: str = "") -> Callable[[Outcome], str]:
    """What a command printed, from the first line on that holds ``after``."""

    def block(outcome: Outcome) -> str:
        command, _, output = outcome.notes[place].partition("\n")
        lines = [line.rstrip() for line in output.rstrip().splitlines()]
        first = next(number for number, line in enumerate(lines) if after in line)
        cut = ["..."] if first else []
        shown = [
            line
            for line, before in zip(lines[first:], ["x", *lines[first:]], strict=False)
            if line or before
        ]
        return "\n".join(["```text", command, *cut, *shown, "```"])

    return block


def _parts_table(outcome: Outcome) -> str:
    """Sets and languages down, ways to search across: nDCG@10 with its interval."""
    head = ("nDCG@10", "Queries", "By meaning", "By words", "Hybrid before", "Hybrid now")
    ways = (*PARTS, FORMER.describe(), DEFAULT.describe())
    return table(
        head,
        [
            (
                f"{title}, {NAMES[tag]}",
                f"{outcome.figure(f'{name}/queries/{tag}').value:,.0f}",
                *(_interval(outcome, f"{name}/{way}/{tag}/{NDCG}") for way in ways),
            )
            for name, title, tags in (
                ("sample", "Sample", SAMPLE),
                ("languages", "CWICR", LANGUAGES),
            )
            for tag in tags
        ],
    )


def _metrics_table(outcome: Outcome) -> str:
    """Recall and MRR of the sample in the same way."""
    head = ("", "By meaning", "By words", "Hybrid before", "Hybrid now")
    ways = (*PARTS, FORMER.describe(), DEFAULT.describe())
    return table(
        head,
        [
            (
                f"{label}, {NAMES[tag]}",
                *(_mean(outcome, "sample", way, tag, metric) for way in ways),
            )
            for metric, label in (("recall_at_k", "Recall@10"), ("mrr", "MRR"))
            for tag in SAMPLE
        ],
    )


def _kinds_table(outcome: Outcome) -> str:
    """Kinds of queries down, ways to search across."""
    head = ("nDCG@10", "Queries", "By meaning", "By words", "Hybrid before", "Hybrid now")
    ways = (*PARTS, FORMER.describe(), DEFAULT.describe())
    return table(
        head,
        [
            (
                NAMES[tag],
                f"{outcome.figure(f'sample/queries/{tag}').value:,.0f}",
                *(_mean(outcome, "sample", way, tag, NDCG) for way in ways),
            )
            for tag in KINDS
        ],
    )


def _fusions_table(outcome: Outcome) -> str:
    """Fusions down; languages of both sets across, and how likely the difference is chance."""
    head = (
        "`search`",
        *(f"sample {tag}" for tag in SAMPLE),
        "p",
        *(f"CWICR {tag}" for tag in LANGUAGES),
        "p",
    )
    return table(head, [_fusion_row(outcome, fusion) for fusion in FUSIONS])


def _fusion_row(outcome: Outcome, fusion: Fusion) -> list[str]:
    way = fusion.describe()
    row = [f"`{way.removeprefix('fusion=')}`"]
    for name, tags in (("sample", SAMPLE), ("languages", LANGUAGES)):
        row += [_mean(outcome, name, way, tag, NDCG) for tag in tags]
        row.append("" if fusion == FORMER else _p_value(outcome, f"{name}/{way}/all/difference"))
    return row


def _cost_table(outcome: Outcome) -> str:
    series = outcome.series("milliseconds")
    return table(
        ("Candidates", "One search of the engine"),
        [(count, f"{figure.value:.1f} ms") for count, figure in series.items()],
    )


def _mean(outcome: Outcome, name: str, way: str, tag: str, metric: str) -> str:
    return f"{outcome.figure(f'{name}/{way}/{tag}/{metric}/mean').value:.3f}"


def _interval(outcome: Outcome, key: str) -> str:
    mean, low, high = (outcome.figure(f"{key}/{part}").value for part in ("mean", "low", "high"))
    return f"{mean:.3f} ({low:.2f} to {high:.2f})"


def _p_value(outcome: Outcome, key: str) -> str:
    value = outcome.figure(f"{key}/p_value").value
    return "< 0.001" if value < FEW_OF_TEN_THOUSAND else f"{value:.3f}"


_PARTS: Final[Mapping[str, Callable[[Outcome], str]]] = {
    "evaluate": _printed(0),
    "compare": _printed(1, after=f"{FORMER.describe()} less"),
    "parts": _parts_table,
    "metrics": _metrics_table,
    "kinds": _kinds_table,
    "fusions": _fusions_table,
    "cost": _cost_table,
}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
