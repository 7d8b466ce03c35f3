"""The installation of fakes that runs of the job are made on."""

from __future__ import annotations

from sync_pipeline_tests.defs.conftest import instance, world

__all__ = ["instance", "world"]
