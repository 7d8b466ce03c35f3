"""How a collection is spread over the nodes of a cluster, and what reads and writes wait for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

WriteOrdering = Literal["weak", "medium", "strong"]
"""``weak`` lets the copies of a point see writes in different orders; ``medium`` sends them
through a copy that is chosen as leader, ``strong`` through a permanent one."""

AgreementWord = Literal["majority", "quorum", "all"]
Agreement: TypeAlias = AgreementWord | int
"""How many copies have to agree on what is read.

``majority`` asks all and takes what most of them say; ``quorum`` asks more than half, ``all``
every one and a number so many, and takes what each of these says.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterOptions:
    """A collection in a cluster; no part of its fingerprint. The terms are Qdrant's.

    None is what the server does by itself, except where points are kept more than once: a
    write, and what is read to compare, have to be known to most copies then.
    """

    shard_number: int | None = None
    """Parts that a collection is cut into; fixed when it is made."""
    replication_factor: int | None = None
    """Copies of each part."""
    write_consistency_factor: int | None = None
    """Copies that have to have a write before it counts as confirmed."""
    write_ordering: WriteOrdering | None = None
    read_consistency: Agreement | None = None
    """Of what is read to compare, confirm and verify."""
    search_consistency: Agreement | None = None
    """Of searches; None asks one copy."""
    read_fan_out_factor: int | None = None
    """Other copies that are asked at once, so that the fastest answers."""
    payload_on_disk: bool | None = None

    @property
    def is_replicated(self) -> bool:
        """Whether there is more than one copy, as far as these options say."""
        return (self.replication_factor or 1) > 1

    @property
    def confirming(self) -> int | None:
        """Copies that have to have a write: more than half, where that is not said."""
        if self.write_consistency_factor is not None or self.replication_factor is None:
            return self.write_consistency_factor
        return most_of(self.replication_factor) if self.is_replicated else None

    @property
    def ordering(self) -> WriteOrdering:
        """Of every write."""
        return self.write_ordering or ("medium" if self.is_replicated else "weak")

    @property
    def comparing(self) -> Agreement | None:
        """Of what is read to compare, confirm and verify."""
        return self.read_consistency or ("majority" if self.is_replicated else None)

    @property
    def kept(self) -> Mapping[str, bool | int]:
        """What a server keeps with a collection, as far as it is said; the rest is of requests."""
        said = {name: getattr(self, name) for name in _KEPT}
        said["write_consistency_factor"] = self.confirming
        return {name: value for name, value in said.items() if value is not None}

    @property
    def changeable(self) -> Mapping[str, bool | int]:
        """The same without what is fixed when a collection is made."""
        return {name: value for name, value in self.kept.items() if name not in _FIXED}


def most_of(copies: int) -> int:
    """The least number that is more than half of the copies."""
    return copies // 2 + 1


_KEPT: Final = (
    "shard_number",
    "replication_factor",
    "write_consistency_factor",
    "read_fan_out_factor",
    "payload_on_disk",
)
_FIXED: Final = frozenset({"shard_number"})
