"""The EU's common procurement vocabulary of 2008: construction materials and works by code.

Names come from the eForms SDK (CC BY 4.0) in any language it has, and from
openprocurement (Apache-2.0) in Russian. English is shared, every other language
is one tenant. The code does not become text; it is the row's identity.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from xml.etree import ElementTree as ET

from sync_pipeline.core.errors import ConfigurationError
from sync_pipeline.core.scope import GLOBAL_KEY
from sync_pipeline.sample.loading import Catalogue, owner, row_id
from sync_pipeline.sample.schema import MATERIALS, WORKS

NAME: Final = "cpv"

XML_NAME: Final = re.compile(r"eforms-sdk_code_(?P<language>[a-z]{2})\.xml")
JSON_NAME: Final = re.compile(r"openprocurement_cpv_(?P<language>[a-z]{2})\.json")
SHARED_LANGUAGE: Final = "en"

ENTRY_PREFIX: Final = "code|name|cpv."
DIVISIONS: Final = {"44": MATERIALS, "45": WORKS}


def read_cpv(folder: Path) -> Catalogue:
    """Read every language in a folder: division 44 as materials, 45 as works.

    The category of a code is the name of its group (``441``), or of its division
    where it is a group itself. Units, prices and suppliers are unknown. Some
    Russian divisions have their own code for a name; they stay as they are.

    Raises:
        ConfigurationError: no such folder, no English file, two files of one
            language, a file that is no such vocabulary.
    """
    catalogue = Catalogue(NAME)
    for scope_key, path in _find_languages(folder).items():
        names = _read_names(path)
        for code, name in names.items():
            table = DIVISIONS.get(code[:2])
            if table is None:
                catalogue.skip("neither in division 44 nor in 45", key=f"{scope_key} {code}")
                continue
            row = {
                "id": row_id(catalogue=NAME, scope_key=scope_key, article=code),
                **owner(scope_key),
                "name": name,
                "category": _category(code, names=names),
                "unit": None,
                "price": None,
            }
            if table is MATERIALS:
                row["supplier"] = None
            catalogue.add(table, row, key=f"{scope_key} {code}")
    return catalogue


def _find_languages(folder: Path) -> dict[str, Path]:
    """Scope keys and files, the shared one first."""
    if not folder.is_dir():
        raise ConfigurationError(
            f"there is no folder {folder}. Name the folder that holds the files "
            "eforms-sdk_code_<language>.xml."
        )
    languages: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        named = XML_NAME.fullmatch(path.name) or JSON_NAME.fullmatch(path.name)
        if named is None:
            continue
        language = named["language"]
        if language in languages:
            raise ConfigurationError(
                f"{languages[language].name} and {path.name} in {folder} are of one language. "
                "Keep one of them there."
            )
        languages[language] = path
    if SHARED_LANGUAGE not in languages:
        raise ConfigurationError(
            f"{folder} holds no eforms-sdk_code_{SHARED_LANGUAGE}.xml, whose rows all tenants "
            f"share; it holds {len(languages)} other languages. Add it, or correct the path."
        )
    shared = {GLOBAL_KEY: languages.pop(SHARED_LANGUAGE)}
    return shared | {f"{NAME}-{language}": path for language, path in languages.items()}


def _read_names(path: Path) -> Mapping[str, str]:
    """Names by code of eight digits."""
    try:
        names = _parse_xml(path) if path.suffix == ".xml" else _parse_json(path)
    except (ET.ParseError, ValueError, OSError) as error:
        raise ConfigurationError(
            f"{path} cannot be read: {error}. Download the file again."
        ) from error
    if not names:
        raise ConfigurationError(
            f"{path} names no procurement code: it is neither of eForms nor of openprocurement."
        )
    return names


def _parse_xml(path: Path) -> dict[str, str]:
    # Python's expat fetches no external DTD or entity, and bounds the expansion of entities.
    entries = ET.parse(path).iter("entry")  # noqa: S314
    keyed = ((entry.get("key", ""), entry.text or "") for entry in entries)
    return {key.removeprefix(ENTRY_PREFIX): name for key, name in keyed if ENTRY_PREFIX in key}


def _parse_json(path: Path) -> dict[str, str]:
    """``{"44111000-1": name}``: the digit after the hyphen is a checksum."""
    parsed = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(parsed, dict):
        raise ValueError("it holds no object")  # noqa: TRY004 - a fault of the file, like broken JSON
    return {str(code).partition("-")[0]: str(name) for code, name in parsed.items()}


def _category(code: str, *, names: Mapping[str, str]) -> str | None:
    """The name of the nearest group or division above, None where it has none."""
    for parent in (f"{code[:3]}00000", f"{code[:2]}000000"):
        name = names.get(parent)
        if parent != code and name and not name.startswith(parent):
            return name
    return None
