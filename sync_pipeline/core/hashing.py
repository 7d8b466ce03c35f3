"""Fingerprints: what decides whether anything has to be done."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable
from typing import Final

RENDERING_VERSION: Final = "1"
"""Part of every embed hash; raise it when the same row would give another text."""

POINT_NAMESPACE: Final = uuid.UUID("6f0f2b0a-1d59-5c53-9d3a-6a6f1f0d7c11")
"""Namespace of every point id. Changing it would orphan every index ever written."""

_NAMESPACE_BYTES: Final = POINT_NAMESPACE.bytes
_DIGEST_BYTES: Final = 16


def digest(*parts: str) -> str:
    """Hash texts to 32 hexadecimal digits (BLAKE2b, 128 bits).

    Parts are framed by their length, so no two different sequences of parts
    collide by concatenation.
    """
    return _hash(b"".join(_framed(part.encode()) for part in parts))


def bytes_digest(content: bytes) -> str:
    """Hash bytes to the same form."""
    return _hash(_framed(content))


def embed_hasher(model_id: str) -> Callable[[str], str]:
    """Make the function from a text to its embed hash, which decides whether it is embedded again.

    It is also the key of the text in the embedding cache. Made once per model: the
    function is called for every view of every row.
    """
    start = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    start.update(_framed(model_id.encode()) + _framed(RENDERING_VERSION.encode()))

    def embed_hash(text: str) -> str:
        state = start.copy()
        state.update(_framed(text.encode()))
        return state.hexdigest()

    return embed_hash


def _framed(content: bytes) -> bytes:
    return b"%d:%b" % (len(content), content)


def _hash(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=_DIGEST_BYTES).hexdigest()


def point_id(document_id: str) -> str:
    """UUIDv5 of a document id under the fixed namespace (RFC 9562, 5.5), canonical form.

    Written out because ``uuid.uuid5`` costs three times as much, and a full sync
    computes one per row; a test compares the two.
    """
    raw = bytearray(hashlib.sha1(_NAMESPACE_BYTES + document_id.encode()).digest()[:16])  # noqa: S324 - prescribed by UUIDv5, not used for secrecy
    raw[6] = (raw[6] & 0x0F) | 0x50
    raw[8] = (raw[8] & 0x3F) | 0x80
    text = raw.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
