"""Dataclasses of which there is an object per row of a catalogue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__all__ = ["row_dataclass"]

if TYPE_CHECKING:
    from dataclasses import dataclass as row_dataclass
else:
    from dataclasses import dataclass

    def row_dataclass(*, frozen: bool, **options: Any) -> Any:
        """``dataclass`` whose objects cannot change for the type checker, and are hashed so.

        To keep them from changing at run time too takes as long as all else of making one: Python
        sets each field by a call. Measured with 12 fields: 3.5 microseconds, and 1.7 without it.
        """
        return dataclass(unsafe_hash=frozen, **options)
