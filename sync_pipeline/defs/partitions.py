"""How the assets are cut: one partition per scope, its key the scope key."""

from __future__ import annotations

from typing import Final

import dagster as dg

PARTITIONS_NAME: Final = "scope"
"""Under this name the instance keeps the keys."""

scope_partitions = dg.DynamicPartitionsDefinition(name=PARTITIONS_NAME)
"""``global`` and every tenant that was ever found; ``new_scope_sensor`` adds the new ones."""
