"""Values from the YAML file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml


def read_yaml_file(path: Path) -> tuple[dict[Any, object], list[str]]:
    """Read a settings file.

    Returns:
        Its values, and what is wrong with the file itself. Where it cannot be
        read, no values: the mistakes say why, with line and column and without
        quoting the file, which may hold passwords.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        return {}, [f"{path}: does not exist; fix: correct the path, or leave it out"]
    except OSError as error:
        return {}, [f"{path}: cannot be read ({error.strerror}); fix: name a readable file"]
    except UnicodeDecodeError as error:
        return {}, [f"{path}: is not UTF-8 (byte {error.start}); fix: save it as UTF-8"]
    try:
        content, repeated = _parse(text)
    except yaml.YAMLError as error:
        return {}, [f"{path}: is not valid YAML{_where(error)}; fix: {_fix(error)}"]
    if content is None:
        return {}, repeated
    if not isinstance(content, Mapping):
        return {}, [f"{path}: is not a mapping; fix: write `section: {{key: value}}` lines"]
    return dict(content), repeated


def _parse(text: str) -> tuple[object, list[str]]:
    """Return the content and what is wrong with keys that come up twice."""
    loader = _Loader(text)
    try:
        return loader.get_single_data(), loader.mistakes
    finally:
        loader.dispose()


class _Loader(yaml.SafeLoader):
    """Also notices keys that come up twice, of which YAML would silently take the last."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.mistakes: list[str] = []

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002 - PyYAML's signature
        lines: dict[str, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            line = key.start_mark.line + 1
            if key.value in lines:
                self.mistakes.append(
                    f"line {line}: has the key {key.value!r} again, after line {lines[key.value]}; "
                    "fix: keep one of them"
                )
            lines.setdefault(key.value, line)
        return super().construct_mapping(node, deep=deep)


def _where(error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.reader.ReaderError):
        return f" at character {error.position + 1}"
    mark = error.problem_mark if isinstance(error, yaml.MarkedYAMLError) else None
    return "" if mark is None else f" at line {mark.line + 1}, column {mark.column + 1}"


def _fix(error: yaml.YAMLError) -> str:
    if isinstance(error, (yaml.composer.ComposerError, yaml.constructor.ConstructorError)):
        return "put values in quotes that start with & * or !"
    if isinstance(error, yaml.reader.ReaderError):
        return "remove the control character there"
    return "check indentation, colons and quotes there"
