"""What Dagster hands to assets: the ports of this installation, opened when a run starts."""

from pathlib import Path

import dagster as dg
from pydantic import Field

from sync_pipeline.engine.context import SyncContext
from sync_pipeline.settings import load_settings
from sync_pipeline.tuning import tune_process
from sync_pipeline.wiring import open_installation


class SyncResource(dg.ConfigurableResource[SyncContext]):
    """The ports of the installation that the settings describe.

    Assets depend on what this makes, ``dg.ResourceParam[SyncContext]``, and not on
    this class, so that a test and the command line can put a plain context in its
    place (Dagster rebuilds resources, their private attributes vanish).
    """

    settings_file: str | None = Field(
        default=None,
        description="Path of the settings file; by default `SYNC_PIPELINE_CONFIG`, or "
        "`sync_pipeline.yaml` where the process was started.",
    )

    def create_resource(self, context: dg.InitResourceContext) -> SyncContext:  # noqa: ARG002 - Dagster hands it over
        """Read the settings now, and hand out ports that open nothing yet."""
        tune_process()
        config = Path(self.settings_file) if self.settings_file else None
        return open_installation(load_settings(config=config)).sync
