"""Dataset names as paths that are safe on every file system and object store."""

from __future__ import annotations

import hashlib
import re
from typing import Final

from sync_pipeline.core.errors import PermanentError

_PLAIN: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_NOT_PLAIN: Final = re.compile(r"[^a-z0-9_-]+")
_READABLE_CHARACTERS: Final = 40


def safe_component(text: str) -> str:
    """Any text as one path component, different texts as different components.

    Short lower-case names stay as they are. Everything else, whatever it
    contains, becomes a readable remainder, ``~`` and a digest: upper case
    because some file systems do not tell it from lower case, other scripts
    because their escaped form can be longer than a file name may be.
    """
    if _PLAIN.fullmatch(text):
        return text
    readable = _NOT_PLAIN.sub("-", text.lower()).strip("-")[:_READABLE_CHARACTERS]
    # "surrogatepass": half a surrogate pair is an odd key, but it must not end a run here.
    encoded = text.encode("utf-8", "surrogatepass")
    return f"{readable}~{hashlib.blake2b(encoded, digest_size=10).hexdigest()}"


def safe_path(name: str) -> str:
    """A name of components joined by ``/`` as a relative path that stays below its root.

    Raises:
        PermanentError: a component is empty.
    """
    components = name.split("/")
    if "" in components:
        raise PermanentError(
            f"{name!r} cannot name a dataset: it has an empty component.",
            remedy="Name every folder between the slashes.",
        )
    return "/".join(map(safe_component, components))
