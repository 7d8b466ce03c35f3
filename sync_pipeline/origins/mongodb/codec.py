"""How BSON becomes Python and extended JSON, and back, without loss."""

from __future__ import annotations

import json
from datetime import UTC
from typing import Any, Final

from bson import json_util
from bson.binary import UuidRepresentation
from bson.codec_options import CodecOptions, DatetimeConversion

CODEC: Final[CodecOptions[dict[str, Any]]] = CodecOptions(
    document_class=dict,
    tz_aware=True,
    tzinfo=UTC,
    uuid_representation=UuidRepresentation.STANDARD,
    # One text that is no UTF-8 does not cost the page it is in.
    unicode_decode_error_handler="replace",
    # Nor does a date beyond the years 1 to 9999, which Python has no datetime for.
    datetime_conversion=DatetimeConversion.DATETIME_AUTO,
)


def _options(mode: int) -> json_util.JSONOptions:
    return json_util.JSONOptions(
        json_mode=mode,
        uuid_representation=UuidRepresentation.STANDARD,
        datetime_conversion=DatetimeConversion.DATETIME_AUTO,
        tz_aware=True,
    )


_CANONICAL: Final = _options(json_util.JSONMode.CANONICAL)
_RELAXED: Final = _options(json_util.JSONMode.RELAXED)


def to_json(value: Any) -> Any:
    """A BSON value as JSON that keeps its exact type: canonical extended JSON."""
    return json.loads(json_util.dumps(value, json_options=_CANONICAL))


def from_json(value: Any) -> Any:
    """Undo ``to_json``.

    Raises:
        ValueError: or another error, for JSON that ``to_json`` never gives.
    """
    return json_util.loads(json.dumps(value), json_options=_CANONICAL)


def to_text(value: Any) -> str:
    """A BSON value as relaxed extended JSON, which people can read."""
    return json_util.dumps(value, json_options=_RELAXED)


def from_text(text: str) -> Any:
    """Undo ``to_text``; equal for the server, whatever kind of number it was.

    Raises:
        ValueError: or another error, for a text that ``to_text`` never gives.
    """
    return json_util.loads(text, json_options=_RELAXED)
