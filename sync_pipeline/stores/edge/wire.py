"""Calls of a store as bytes: JSON, with numbers and arrays exact, and nothing that could be code.

A JSON object with the key ``$`` names what it is; every other mapping is one.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final, get_args

import numpy as np

from sync_pipeline.core import errors, remedy
from sync_pipeline.core.filters import Range
from sync_pipeline.core.fusion import Fusion
from sync_pipeline.core.point import (
    CollectionSpec,
    Point,
    PointDigests,
    SearchQuery,
    SparseVector,
    StoredPoint,
)
from sync_pipeline.core.reports import Counts
from sync_pipeline.core.views import ViewSpec
from sync_pipeline.stores.checks import RefusedError

_KIND: Final = "$"
_CLASSES: Final[Mapping[str, type[Any]]] = {
    kind.__name__: kind
    for kind in (
        CollectionSpec,
        Counts,
        Fusion,
        Point,
        PointDigests,
        Range,
        SearchQuery,
        SparseVector,
        StoredPoint,
        ViewSpec,
        remedy.Remedy,
        *get_args(remedy.Action),
    )
}
"""What is sent field by field."""
_ERRORS: Final[Mapping[str, type[Exception]]] = {
    kind.__name__: kind
    for kind in (
        RefusedError,
        AttributeError,
        KeyError,
        RuntimeError,
        TypeError,
        ValueError,
        *(it for it in vars(errors).values() if isinstance(it, type) and issubclass(it, Exception)),
    )
}
_PAYLOAD: Final = "payload"


def dump(value: object) -> bytes:
    """As bytes.

    Raises:
        TypeError: it holds what no call of a store takes or gives.
    """
    return json.dumps(_plain(value)).encode()


def load(content: bytes) -> Any:
    """What ``dump`` was given, with tuples as lists outside of what is sent field by field.

    Raises:
        ValueError: ``dump`` did not make it.
    """
    return _read(json.loads(content))


def dump_error(error: Exception) -> bytes:
    """An error with its facts; of a kind that is not known here its text alone."""
    kind = type(error).__name__
    try:
        return dump([kind if kind in _ERRORS else None, list(error.args), vars(error)])
    except TypeError:
        return dump([None, [str(error)], {}])


def load_error(content: bytes) -> Exception:
    """The error as it was raised elsewhere, without what it was raised from."""
    kind, arguments, facts = load(content)
    error_type = errors.PermanentError if kind is None else _ERRORS[kind]
    # Not called: our errors make their text of other arguments than they keep.
    error = error_type.__new__(error_type, *arguments)
    error.args = tuple(arguments)
    vars(error).update(facts)
    return error


def _plain(value: Any) -> Any:
    match value:
        case None | bool() | str():
            return value
        case int() | float() | Decimal() | date():
            return _scalar(value)
        case np.ndarray():
            data = base64.b64encode(np.ascontiguousarray(value).tobytes()).decode()
            return {_KIND: "array", "dtype": value.dtype.str, "shape": value.shape, "data": data}
        case Mapping():
            return _named("map", [[_plain(key), _plain(it)] for key, it in value.items()])
        case _ if is_dataclass(value) and type(value).__name__ in _CLASSES:
            return _named(type(value).__name__, _fields(value))
        case Sequence() | set() | frozenset() if not isinstance(value, bytes | bytearray):
            return [_plain(item) for item in value]
    raise TypeError(f"a {type(value).__name__} cannot be sent to another process")


def _scalar(value: float | Decimal | date) -> object:
    """Numbers and times; JSON of Python holds an ``int`` of any size, and no NaN for others."""
    match value:
        case float() if not math.isfinite(value):
            return _named("float", repr(float(value)))
        case Decimal():
            return _named("Decimal", str(value))
        case datetime():
            return _named("datetime", value.isoformat())
        case date():
            return _named("date", value.isoformat())
    return value


def _named(kind: str, value: object) -> dict[str, object]:
    return {_KIND: kind, "value": value}


def _fields(value: Any) -> dict[str, object]:
    """Payloads are the bulk of what is sent, and JSON already."""
    return {
        field.name: json.dumps(getattr(value, field.name))
        if field.name == _PAYLOAD
        else _plain(getattr(value, field.name))
        for field in fields(value)
    }


def _read(value: Any) -> Any:
    if isinstance(value, list):
        return [_read(item) for item in value]
    if not isinstance(value, dict):
        return value
    kind = str(value.get(_KIND))
    if kind == "array":
        return _array(value)
    if kind in _READERS:
        return _READERS[kind](value["value"])
    if kind in _CLASSES:
        return _object(_CLASSES[kind], value["value"])
    raise ValueError(f"{kind!r} is nothing that is sent between processes")


def _array(value: Mapping[str, Any]) -> np.ndarray[Any, Any]:
    data = base64.b64decode(value["data"])
    dtype = np.dtype(value["dtype"])
    if dtype.hasobject:
        raise ValueError("an array of objects is nothing that is sent between processes")
    # A copy: what is read from bytes cannot be written to.
    return np.frombuffer(data, dtype=dtype).reshape(value["shape"]).copy()


def _object(kind: type[Any], values: Mapping[str, Any]) -> Any:
    read = {
        name: json.loads(value) if name == _PAYLOAD else _read(value)
        for name, value in values.items()
    }
    return kind(**{name: tuple(it) if isinstance(it, list) else it for name, it in read.items()})


_READERS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "float": float,
    "Decimal": Decimal,
    "datetime": datetime.fromisoformat,
    "date": date.fromisoformat,
    "map": lambda pairs: {_read(key): _read(value) for key, value in pairs},
}
