"""Named environments of a settings file: what each lays over the other sections, and their rules.

An environment is a deep overlay of the whole file. Where it names no `home` and no
`index.alias`, it has a folder and an alias of its own, so that two of them share nothing unless
the file says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from sync_pipeline.core.environment import NamedEnvironment
from sync_pipeline.core.landing.spec import split_table
from sync_pipeline.settings import keys
from sync_pipeline.settings.database_url import read_address
from sync_pipeline.settings.environment import Environment
from sync_pipeline.settings.model import Settings
from sync_pipeline.settings.rules import FromVariable, Mistake

KEY: Final = "environments"
PROTECTED: Final = "protected"
CHOICE_VARIABLE: Final = "SYNC_PIPELINE_ENV"

HOME: Final[keys.Path] = ("home",)
ALIAS: Final[keys.Path] = ("index", "alias")
DATABASES: Final[tuple[keys.Path, ...]] = (
    ("source", "url"),
    ("state", "url"),
    ("dagster", "storage_url"),
)
ADDRESSES: Final[tuple[keys.Path, ...]] = (*DATABASES, ("index", "url"))
PLACES: Final[tuple[keys.Path, ...]] = (*ADDRESSES, ALIAS, ("state", "schema"), HOME)
"""Values that say where an environment is."""

CONNECTIONS: Final = "connections"
_REFERENCE_KEY: Final = "env"
_NO_VALUES: Final = frozenset(
    {(), ("headers",), ("params",), ("basic",), ("login",), ("login", "json"), ("login", "form")}
)
"""What is a mapping of a connection, and no value that ``{env: NAME}`` could stand for."""

_LANDINGS: Final = "landings "
"""How the key of a landed table begins."""
_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,30}")
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_REFERENCE: Final = re.compile(rf"\$\{{({_VARIABLE.pattern})\}}")
_DEFAULT_PORT: Final = "5432"


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlay:
    """One environment as the file has it."""

    name: str
    is_protected: bool
    values: Mapping[Any, object]
    """Shaped like the file; sections without a line of their own are left out."""

    @property
    def place(self) -> str:
        """Where it stands in the file."""
        return f"{KEY}.{self.name}"

    @property
    def named(self) -> NamedEnvironment:
        """The same for everybody else."""
        return NamedEnvironment(name=self.name, is_protected=self.is_protected)


@dataclass(frozen=True, slots=True, kw_only=True)
class Expanded:
    """Values in which every ``${NAME}`` is what the variable says."""

    values: dict[Any, object]
    missing: Mapping[keys.Path, str] = field(default_factory=dict)
    """Values that are left out, each with the variable that is not set."""
    names: tuple[str, ...] = ()
    """Variables that were read."""


def take_out(in_file: Mapping[Any, object]) -> tuple[dict[Any, object], list[Overlay], list[str]]:
    """Separate the environments of a file from its other sections.

    Returns:
        The other sections, the environments, and what is wrong with the form of these.
    """
    base = {key: value for key, value in in_file.items() if key != KEY}
    written = in_file.get(KEY)
    if written is None:
        return base, [], []
    if not isinstance(written, Mapping):
        return base, [], [f"{KEY}: must be a mapping; fix: write `prod: {{...}}` lines below it"]
    overlays: list[Overlay] = []
    mistakes: list[str] = []
    for name, content in written.items():
        mistake = _why_not_an_environment(name, content)
        if mistake is None:
            overlays.append(_overlay(str(name), {} if content is None else content))
        else:
            mistakes.append(f"{KEY}.{name}{mistake}")
    return base, overlays, mistakes


def choose(
    overlays: Sequence[Overlay], *, option: str | None, env: Mapping[str, str]
) -> tuple[Overlay | None, list[str]]:
    """Find the environment that the option names, or else the variable; None where neither does.

    Returns:
        The environment, and a mistake where there is none of that name.
    """
    name = option or env.get(CHOICE_VARIABLE)
    if not name:
        return None, []
    for overlay in overlays:
        if overlay.name == name:
            return overlay, []
    source = "--env" if option else CHOICE_VARIABLE
    known = ", ".join(overlay.name for overlay in overlays)
    fix = f"choose from {known}" if known else "name it under `environments` in the settings file"
    return None, [f"{source}: there is no environment {name!r}; fix: {fix}"]


def expand(values: Mapping[Any, object], *, env: Mapping[str, str]) -> Expanded:
    """Put variables where a whole value is ``${NAME}``, or ``{env: NAME}`` in a connection.

    Lists are left as they are. An empty variable counts as not set.
    """
    missing: dict[keys.Path, str] = {}
    names: list[str] = []

    def expanded(content: Mapping[Any, object], path: keys.Path) -> dict[Any, object]:
        result: dict[Any, object] = {}
        for key, value in content.items():
            place = (*path, str(key))
            name = _referred(value, place)
            if name is None:
                result[key] = expanded(value, place) if isinstance(value, Mapping) else value
                continue
            names.append(name)
            if env.get(name):
                result[key] = FromVariable(env[name])
            else:
                missing[place] = name
        return result

    return Expanded(values=expanded(values, ()), missing=missing, names=tuple(names))


def expand_connections(values: Mapping[Any, object], *, env: Mapping[str, str]) -> Expanded:
    """The same of the connections alone: of what variables say the rest is meant as it stands."""
    connections = values.get(CONNECTIONS)
    if not isinstance(connections, Mapping):
        return Expanded(values=dict(values))
    found = expand({CONNECTIONS: connections}, env=env)
    return replace(found, values={**values, **found.values})


def _referred(value: object, place: keys.Path) -> str | None:
    """The variable that a value is left to; None for a value."""
    if isinstance(value, str):
        match = _REFERENCE.fullmatch(value)
        return None if match is None else match[1]
    if place[0] != CONNECTIONS or place[2:] in _NO_VALUES:
        return None
    if not isinstance(value, Mapping) or list(value) != [_REFERENCE_KEY]:
        return None
    name = value[_REFERENCE_KEY]
    return name if isinstance(name, str) and _VARIABLE.fullmatch(name) else None


def missing_variables(missing: Mapping[keys.Path, str], overlay: Overlay | None) -> list[str]:
    """Name values that are left to variables nobody has set."""
    return [
        f"{prefix_of(overlay, path)}{'.'.join(path)}: is left to the variable {name}, which is not "
        f"set; fix: set {name}"
        for path, name in missing.items()
    ]


def settled(
    values: Mapping[Any, object],
    overlay: Overlay,
    *,
    stronger: Sequence[Mapping[Any, object]] = (),
) -> dict[Any, object]:
    """Give an environment a folder and an alias of its own, unless something names them for it.

    Args:
        values: All sections, merged.
        overlay: The environment.
        stronger: What wins over the file and is in ``values`` already: an alias there is meant as
            it stands. A home there is the one of all environments.
    """
    result = dict(values)
    home = result.get("home")
    if value_at(overlay.values, HOME) is None and isinstance(home, str | Path | None):
        default = Settings.model_fields["home"].default
        result["home"] = str(Path(home or default).expanduser() / overlay.name)
    is_named = any(value_at(source, ALIAS) is not None for source in (overlay.values, *stronger))
    index = result.get("index")
    if not is_named and isinstance(index, Mapping | None):
        given = {} if index is None else dict(index)
        alias = given.get("alias") or Settings().index.alias
        if isinstance(alias, str):
            result["index"] = {**given, "alias": f"{alias}-{overlay.name}"}
    return result


def contradictions(
    overlay: Overlay, *, in_file: Mapping[Any, object], environment: Environment
) -> list[str]:
    """Name variables that would lead an environment somewhere else than the file says.

    Of a protected environment the file itself has to say where its databases and its index are,
    be it as ``${NAME}``: a variable that is set for another one must not lead there.

    Args:
        overlay: The environment.
        in_file: All sections of the file, with the environment laid over, expanded.
        environment: What the variables say.
    """
    mistakes = []
    for path in PLACES:
        name = environment.variables.get(path)
        if name is None:
            continue
        # None where the variable says null.
        given = environment.values.get(path)
        is_own = value_at(overlay.values, path) is not None
        # The home of all environments is above those of each.
        is_bound = is_own or (overlay.is_protected and path != HOME)
        stated = value_at(in_file, path) if is_bound else None
        dotted = ".".join(path)
        if stated is not None:
            if not _is_same(path, str(stated), str(given)):
                where = f"{overlay.place}.{dotted}" if is_own else dotted
                mistakes.append(
                    f"{name} ({dotted}): leads elsewhere than {where} of the settings file; fix: "
                    f"unset {name} where you work in {overlay.name}, or leave {dotted} out of "
                    "the file"
                )
        elif overlay.is_protected and path in ADDRESSES and not is_own and given is not None:
            mistakes.append(
                f"{name} ({dotted}): is not taken for {overlay.name}, which is protected; fix: "
                f'write {dotted} below {overlay.place}, as "${{{_own_variable(overlay, name)}}}" '
                f"where it is a secret, and unset {name}"
            )
    return mistakes


def shared_places(located: Mapping[str, Settings]) -> list[str]:
    """Name what two environments would both write: an index, tables, a run history.

    Args:
        located: Per environment that can be told its settings, by where it stands in the file.
    """
    places = {place: dict(_places(settings)) for place, settings in located.items()}
    return [
        f"{one} and {other}: both lead to the same {what}; fix: {_fix_of(key)}"
        for (one, of_one), (other, of_other) in combinations(places.items(), 2)
        for key, (what, where) in of_one.items()
        if key in of_other and of_other[key][1] == where
    ]


def leads_into(settings: Settings, protected: Settings) -> str | None:
    """What settings would write that belongs to a protected environment; None for nothing."""
    there = dict(_places(protected))
    for key, (what, where) in _places(settings):
        if key in there and there[key][1] == where:
            return what
    return None


def prefix_of(overlay: Overlay | None, location: Sequence[int | str]) -> str:
    """What stands before a location that an environment wrote; nothing before others."""
    if overlay is None or not wrote(overlay, location):
        return ""
    return f"{overlay.place}."


def wrote(overlay: Overlay, location: Sequence[int | str]) -> bool:
    """Whether the value at a location is of the environment, and not of the other sections."""
    content: object = overlay.values
    for part in location:
        if not isinstance(content, Mapping):
            return True
        if part not in content:
            return False
        content = content[part]
    return bool(location)


def value_at(values: Mapping[Any, object], path: keys.Path) -> object:
    """The value at a path; None where there is none."""
    content: object = values
    for key in path:
        if not isinstance(content, Mapping):
            return None
        content = content.get(key)
    return content


def _why_not_an_environment(name: object, content: object) -> str | None:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        return ": is no name; fix: start with a-z and go on with a-z, 0-9, _ and -, at most 31"
    if content is not None and not isinstance(content, Mapping):
        return ": must be a mapping; fix: write `section: {key: value}` lines below it"
    if isinstance(content, Mapping) and not isinstance(content.get(PROTECTED, False), bool):
        return f".{PROTECTED}: must be true or false; fix: write true or false"
    return None


def _overlay(name: str, content: Mapping[Any, object]) -> Overlay:
    values = {key: value for key, value in content.items() if key != PROTECTED}
    return Overlay(
        name=name,
        is_protected=content.get(PROTECTED) is True,
        values={key: value for key, value in values.items() if value is not None},
    )


def _own_variable(overlay: Overlay, name: str) -> str:
    ending = name.removeprefix(keys.PREFIX).replace(keys.SEPARATOR, "_")
    return f"{overlay.name.upper().replace('-', '_')}_{ending}"


def _is_same(path: keys.Path, one: str, other: str) -> bool:
    if path in DATABASES:
        return database_place(one) == database_place(other)
    if path == ("index", "url"):
        return one.rstrip("/").lower() == other.rstrip("/").lower()
    return one == other


def database_place(url: str) -> tuple[str, ...]:
    """Hosts with ports, database and search path of an address, whoever connects."""
    read = read_address(url)
    if isinstance(read, Mistake):
        return (url,)
    parts = urlsplit(read)
    words = parse_qs(parts.query)
    named = zip(_listed(words, "host"), _listed(words, "port", [_DEFAULT_PORT]), strict=False)
    hosts = ",".join(f"{host}:{port}" for host, port in named) or ",".join(
        host if re.search(r":\d+\Z", host) else f"{host}:{_DEFAULT_PORT}"
        for host in parts.netloc.rpartition("@")[2].split(",")
    )
    database = words.get("dbname", [parts.path.lstrip("/")])[0]
    return (hosts.lower().replace("localhost", "127.0.0.1"), database, *words.get("options", []))


def _listed(
    words: Mapping[str, Sequence[str]], name: str, default: Sequence[str] = ()
) -> list[str]:
    return ",".join(words.get(name, default)).split(",") if words.get(name, default) else []


def _places(settings: Settings) -> Iterator[tuple[str, tuple[str, tuple[str, ...]]]]:
    """Per key that can keep two environments apart what it names, and where that is."""
    index = settings.embedded_index_path
    url = settings.index_url.rstrip("/").lower() if index is None else str(index.absolute())
    yield "index.alias", (f"index {settings.index.alias!r}", (url, settings.index.alias))
    state = settings.state.url or settings.source.url
    tables = (
        (str(settings.postgres_path),)
        if state is None
        else database_place(state.get_secret_value())[:2]
    )
    schema = settings.state.schema_name
    yield "state.url", (f"tables, schema {schema!r} of one database", (*tables, schema))
    storage = settings.dagster.storage_url
    history = tables if storage is None else database_place(storage.get_secret_value())
    yield "dagster.storage_url", ("history of Dagster's runs", history)
    source = settings.source.url
    database = (
        (str(settings.postgres_path),)
        if source is None
        else database_place(source.get_secret_value())[:2]
    )
    for landing in settings.landings:
        table = split_table(landing.table_name)
        what = f"table {landing.table_name} of the landing {landing.name!r}"
        yield f"{_LANDINGS}{table}", (what, (*database, *table))


def _fix_of(key: str) -> str:
    if key.startswith(_LANDINGS):
        return "give each a source.url of its own, or the one that only reads it `landings: []`"
    if key == "dagster.storage_url":
        return "give each a state.url of its own, or a dagster.storage_url"
    return f"give each {'an' if key[0] in 'aeiou' else 'a'} {key} of its own"
