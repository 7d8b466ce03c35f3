"""What Dagster hands to assets: the ports of this installation, opened when a run starts."""

from pathlib import Path

import dagster as dg
from pydantic import Field

from sync_pipeline.core.environment import NamedEnvironment
from sync_pipeline.core.errors import ConfigurationError
from sync_pipeline.defs.jobs import ENVIRONMENT_TAG
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

    def create_resource(self, context: dg.InitResourceContext) -> SyncContext:
        """Read the settings now, and hand out ports that open nothing yet.

        Raises:
            ConfigurationError: the run is of another environment than this process.
        """
        tune_process()
        config = Path(self.settings_file) if self.settings_file else None
        settings = load_settings(config=config)
        _require_same(context.run, settings.environment)
        return open_installation(settings).sync


def _require_same(run: dg.DagsterRun | None, environment: NamedEnvironment | None) -> None:
    """Keep a worker that was started for one environment from writing for another."""
    wanted = None if run is None else run.tags.get(ENVIRONMENT_TAG)
    here = None if environment is None else environment.name
    if wanted is not None and wanted != here:
        raise ConfigurationError(
            f"the run is of the environment {wanted!r}, and the process that executes it works in "
            f"{'none' if here is None else repr(here)}; nothing was read or written.",
            remedy="Start workers and containers with the SYNC_PIPELINE_ENV of the daemon.",
        )
