"""What Dagster sees, one file per concept; put together in ``sync_pipeline.definitions``.

Modules that define assets, ops, schedules or sensors do without
``from __future__ import annotations``: Dagster 1.13 looks at the annotation of
``context`` itself and refuses a string.
"""
