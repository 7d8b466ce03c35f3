"""DDC CWICR resource catalogues: construction materials in many languages, one CSV per edition.

By Artem Boiko, DataDrivenConstruction; CC BY 4.0. An edition is a language and
a city, and becomes one tenant; the British one is shared by all.

Only materials are loaded. The other rows are machines, hours of labour and
kilowatt-hours: resources that works consume, not works. Faults of the data stay
in: names that occur twice, prices of 0, sections cut at 80 characters.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from sync_pipeline.core.errors import ConfigurationError
from sync_pipeline.core.scope import GLOBAL_KEY
from sync_pipeline.sample.loading import Catalogue, owner, row_id
from sync_pipeline.sample.schema import MATERIALS

NAME: Final = "cwicr"

FILE_NAME: Final = re.compile(r"DDC_CWICR_(?P<language>[A-Z]{2})_\w+_Catalog\.csv")
SHARED_LANGUAGE: Final = "UK"
LANGUAGES: Final = {"SP": "es"}
"""Language codes of the file names that are not those of ISO 639."""

MATERIAL_TYPES: Final = ("Material", "Abstract Material")
UNSORTED_CATEGORY: Final = "General"
"""The category of a third of the British materials and of all Russian ones."""

COLUMNS: Final = (
    "resource_code",
    "name",
    "type",
    "category",
    "unit",
    "price_avg",
    "parent_collection",
)


def read_cwicr(folder: Path) -> Catalogue:
    """Read every edition in a folder.

    The key of a row is (``resource_code``, ``type``). The catalogue names no
    suppliers, so there are none. ``General`` says nothing, so such rows get the
    collection of works that uses them most (``parent_collection``) as category.

    Raises:
        ConfigurationError: no such folder, no British edition, two editions of
            one language, a file that is no such CSV.
    """
    catalogue = Catalogue(NAME)
    for scope_key, path in _find_editions(folder).items():
        for number, fields in enumerate(_read_csv(path), start=1):
            code, kind = fields["resource_code"], fields["type"]
            key = f"{scope_key} {code or f'row {number}'}"
            if code is None:
                catalogue.skip("no resource code", key=key)
            elif kind not in MATERIAL_TYPES:
                catalogue.skip(f"{kind}: not a material", key=key)
            else:
                catalogue.add(MATERIALS, _row(fields, scope_key=scope_key), key=key)
    return catalogue


def _row(fields: Mapping[str, Any], *, scope_key: str) -> dict[str, object]:
    article = f"{fields['resource_code']}|{fields['type']}"
    is_unsorted = fields["category"] in {None, UNSORTED_CATEGORY}
    return {
        "id": row_id(catalogue=NAME, scope_key=scope_key, article=article),
        **owner(scope_key),
        "name": fields["name"],
        "category": fields["parent_collection" if is_unsorted else "category"],
        "supplier": None,
        "unit": fields["unit"],
        "price": fields["price_avg"],
    }


def _find_editions(folder: Path) -> dict[str, Path]:
    """Scope keys and files, the shared one first."""
    if not folder.is_dir():
        raise ConfigurationError(
            f"there is no folder {folder}. Name the folder that holds the files "
            "DDC_CWICR_<LANGUAGE>_<CITY>_Catalog.csv."
        )
    editions: dict[str, Path] = {}
    for path in sorted(folder.glob("*.csv")):
        named = FILE_NAME.fullmatch(path.name)
        if named is None:
            continue
        scope_key = _scope_key(named["language"])
        if scope_key in editions:
            raise ConfigurationError(
                f"{editions[scope_key].name} and {path.name} in {folder} are both of the language "
                f"of {scope_key!r}. Keep one of them there."
            )
        editions[scope_key] = path
    if GLOBAL_KEY not in editions:
        raise ConfigurationError(
            f"{folder} holds no DDC_CWICR_{SHARED_LANGUAGE}_<CITY>_Catalog.csv, whose rows all "
            f"tenants share; it holds {len(editions)} other editions. Add it, or correct the path."
        )
    return {key: editions[key] for key in sorted(editions, key=lambda key: key != GLOBAL_KEY)}


def _scope_key(language: str) -> str:
    if language == SHARED_LANGUAGE:
        return GLOBAL_KEY
    return f"{NAME}-{LANGUAGES.get(language, language.lower())}"


def _read_csv(path: Path) -> list[dict[str, Any]]:
    """The columns that matter, as text or None, the price as a number or None."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            columns, lines = reader.fieldnames or (), list(reader)
    except (ValueError, OSError, csv.Error) as error:
        raise ConfigurationError(
            f"{path} cannot be read as a CSV file in UTF-8: {type(error).__name__}. "
            "Download the file again."
        ) from error
    missing = [column for column in COLUMNS if column not in columns]
    if missing:
        raise ConfigurationError(
            f"{path} has no column {', '.join(missing)}: it is not a resource catalogue of CWICR."
        )
    if any(None in line for line in lines):
        raise ConfigurationError(
            f"{path} has a line with more fields than columns. Download the file again."
        )
    try:
        return [_chosen(line) for line in lines]
    except ValueError as error:
        raise ConfigurationError(f"{path} has a price_avg that is no number: {error}.") from error


def _chosen(line: Mapping[str, str | None]) -> dict[str, Any]:
    """One line; only an empty field is missing: "NA" and "None" are words."""
    fields: dict[str, Any] = {column: line[column] or None for column in COLUMNS}
    price = float(fields["price_avg"] or "nan")
    return fields | {"price_avg": price if math.isfinite(price) else None}
