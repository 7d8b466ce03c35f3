"""Generated pages and the example file are up to date."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from sync_pipeline.core import errors
from sync_pipeline.settings import Settings, load_settings
from sync_pipeline.settings.keys import PREFIX, paths, variable

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "sync_pipeline.example.yaml"


@pytest.mark.process
def test_the_generated_files_are_fresh() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "docs" / "generate.py"), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)


def test_the_example_is_every_setting_at_its_default() -> None:
    loaded = load_settings(config=EXAMPLE, env={})

    assert loaded == Settings()
    assert loaded.model_fields_set == set(Settings.model_fields)
    for key in Settings.model_fields:
        section = getattr(loaded, key)
        if hasattr(section, "model_fields_set"):
            assert section.model_fields_set == set(type(section).model_fields)


def test_every_setting_has_its_variable_in_the_reference() -> None:
    page = (ROOT / "docs" / "reference" / "settings.md").read_text(encoding="utf-8")

    assert set(re.findall(rf"`({PREFIX}\w+)`", page)) == {
        *map(variable, paths()),
        f"{PREFIX}SECTION__KEY",
    }


def test_the_tree_at_the_top_of_the_errors_is_the_tree_of_the_classes() -> None:
    page = (ROOT / "docs" / "reference" / "errors.md").read_text(encoding="utf-8")
    generated = re.findall(r"^([ │├└─]*\w+)$", page, flags=re.MULTILINE)
    drawn = re.findall(r"^    ([ │├└─]*\w+Error)", errors.__doc__ or "", flags=re.MULTILINE)

    assert drawn == generated
