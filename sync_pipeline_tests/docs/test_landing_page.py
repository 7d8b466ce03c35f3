"""What docs/landing.md shows can be written as it is, and the commands that it names are there."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from sync_pipeline.cli.main import app
from sync_pipeline.core.landing.absence import AbsentRows, rule_for_absent
from sync_pipeline.core.landing.passes import CompletePass
from sync_pipeline.core.landing.records import Reason
from sync_pipeline.core.landing.spec import Confirmation
from sync_pipeline.defs import landing_names
from sync_pipeline.service.metrics import MEANINGS
from sync_pipeline.settings import Settings, load_settings
from sync_pipeline.settings.connections import RestConnectionSettings
from sync_pipeline.settings.landings import RestLanding, TableLanding

TEXT = (Path(__file__).resolve().parents[2] / "docs/landing.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```yaml\n(.*?)```", TEXT, flags=re.DOTALL)
PROSE = re.sub(r"```.*?```", "", TEXT, flags=re.DOTALL)
PROGRAM = "sync-pipeline"


def inline_settings() -> list[str]:
    """What stands as ``key: value`` in the text, beside the blocks."""
    spans = [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", PROSE)]
    return [span for span in dict.fromkeys(spans) if re.match(r"[a-z_]+: \S", span)]


def load(tmp_path: Path, values: object) -> Settings:
    """Load settings as a file would say them; every variable is set."""
    file = tmp_path / "sync_pipeline.yaml"
    file.write_text(values if isinstance(values, str) else yaml.safe_dump(values), encoding="utf-8")
    said = dict.fromkeys(re.findall(r"env: (\w+)", TEXT), "mongodb://u:p@host")
    return load_settings(config=file, env=said)


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.split(":")[0])
def test_a_block_is_a_settings_file(tmp_path: Path, block: str) -> None:
    settings = load(tmp_path, block)

    (landing,), (entity,) = settings.landings, settings.entities
    assert entity.table == landing.table_name


@pytest.mark.parametrize("said", inline_settings())
def test_what_the_text_says_beside_can_be_written_there(tmp_path: Path, said: str) -> None:
    addition = yaml.safe_load(said)
    (key,) = addition
    is_of_a_table = key in TableLanding.model_fields and key not in RestLanding.model_fields
    values: Any = yaml.safe_load(BLOCKS[-1] if is_of_a_table else BLOCKS[0])
    landing = values["landings"][0]
    if key in RestConnectionSettings.model_fields:
        values["connections"]["bluejet"] |= addition
    elif key in RestLanding.model_fields or is_of_a_table:
        landing |= addition
    elif key == "by":
        landing["pages"] = {"by": addition["by"], "sort": "ID"} if said == "by: key" else addition
    elif key == "confirm":
        landing["deletes"] = addition
    else:
        landing["columns"] |= {"more": {"field": "More", "type": _TYPES[key], **addition}}

    settings = load(tmp_path, values)

    assert len(settings.landings) == 1


_TYPES = {"decimal": "numeric", "timezone": "timestamp"}
"""Types of columns that take these keys."""


def shown_commands() -> list[str]:
    """Of the blocks, and of the text."""
    blocks = re.findall(r"```sh\n(.*?)```", TEXT, flags=re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    spans = [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", PROSE)]
    first = {*_groups(app)}
    named = [f"{PROGRAM} {span}" for span in spans if span.split()[0] in first and " " in span]
    return [
        line for line in dict.fromkeys([*lines, *spans, *named]) if line.startswith(f"{PROGRAM} ")
    ]


def _groups(program: typer.Typer) -> Iterator[str]:
    yield from typer.main.get_command(program).commands  # type: ignore[attr-defined]  # a group


@pytest.mark.parametrize("line", shown_commands())
def test_a_command_that_is_shown_is_there_with_its_options(line: str) -> None:
    _, *words = shlex.split(line)
    found: Any = typer.main.get_command(app)
    while hasattr(found, "commands"):
        # A name in the place of a command of `land` means `run`.
        word = words[0] if words[0] in found.commands else "run"
        words = words[1:] if words[0] in found.commands else words
        found = found.commands[word]
    options = {name for parameter in found.params for name in parameter.opts}

    used = {word for word in words if word.startswith("--")}

    assert used <= options


def test_what_dagster_shows_is_called_as_the_page_says() -> None:
    names = [
        landing_names.asset_name("products"),
        landing_names.job_name("products"),
        landing_names.schedule_name("products", mode="full"),
        landing_names.schedule_name("products", mode="incremental"),
        landing_names.pool_name("bluejet"),
        landing_names.FRESH,
    ]

    assert [name for name in names if f"`{name}`" not in TEXT] == []


def test_every_reason_and_metric_is_named() -> None:
    metrics = [name for name in MEANINGS if name.startswith("sync_pipeline_landing_")]
    endings = [name.removeprefix("sync_pipeline_landing_") for name in metrics]

    assert [it.value for it in Reason if f"`{it}`" not in TEXT] == []
    assert [it for it in endings if f"_{it}`" not in TEXT] == []


def test_no_confirmation_of_a_doubtful_pass_is_left_out() -> None:
    """Each of them is in the table of the page, and what it says is what the code does."""
    rules = {
        confirm: rule_for_absent(CompletePass(doubt="a doubt"), confirm=confirm)
        for confirm in Confirmation
    }

    assert [it.value for it in Confirmation if f"| `{it}` |" not in TEXT] == []
    assert rules[Confirmation.LOOKUP] is AbsentRows.LOOKED_UP
    assert rules[Confirmation.SECOND_PASS] is AbsentRows.TWICE_ABSENT
