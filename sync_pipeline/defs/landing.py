"""Records of other systems as assets, upstream of the sync; each a shell around ``land``.

What a pass does and may raise stands with ``engine.landing.land``.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, Literal

import dagster as dg
from pydantic import Field

from sync_pipeline.core.cleanup import CleanupPolicy
from sync_pipeline.core.errors import ConfigurationError, UnknownLandingError
from sync_pipeline.core.landing.report import LandingReport
from sync_pipeline.core.landing.spec import OWN_COLUMNS, Landing
from sync_pipeline.defs.failures import ERROR_FACT, RETRIES, as_dagster_failures
from sync_pipeline.defs.landing_names import FRESH, asset_key, asset_name, pool_name
from sync_pipeline.defs.landing_reports import shown
from sync_pipeline.defs.stopping import stopping_on_signals
from sync_pipeline.engine.context import SyncContext
from sync_pipeline.engine.landing.ages import LandingAge, landing_age
from sync_pipeline.engine.landing.context import LandingContext
from sync_pipeline.engine.landing.land import LandRequest, land, owner_name
from sync_pipeline.engine.landing.landings import Landings
from sync_pipeline.engine.telling import tell
from sync_pipeline.processes import process_name
from sync_pipeline.settings import LandingSettings

GROUP: Final = "landing"


class LandingConfig(dg.Config):
    """Which records one run fetches, and what it may be allowed beyond the settings."""

    mode: Literal["full", "incremental"] = Field(
        default="full",
        description="full fetches every record; incremental those that changed since, and becomes "
        "full where that is not enough.",
    )
    # Bounds stand in CleanupPolicy: Dagster would retry a field's own for a minute.
    max_deleted_fraction: float | None = Field(
        default=None,
        description="Largest share of the table that this run may delete. Empty: the settings' "
        "limit. 1 confirms that the records are really gone.",
    )
    approve_deletions: int | None = Field(
        default=None,
        description="How many rows this run may delete beyond that limit: exactly so many, as the "
        "refusal of an earlier run says. Another number is refused again.",
    )

    def as_request(self) -> LandRequest:
        """The same for the engine.

        Raises:
            ConfigurationError: a limit that there cannot be.
        """
        fraction = self.max_deleted_fraction
        try:
            CleanupPolicy(
                max_deleted_fraction=0 if fraction is None else fraction,
                approved_deletions=self.approve_deletions,
            )
        except ValueError as error:
            raise ConfigurationError(f"the run config cannot be used: {error}") from error
        return LandRequest(
            mode=self.mode,
            max_deleted_fraction=fraction,
            approve_deletions=self.approve_deletions,
        )


def run_config(request: LandRequest, *, landing: str) -> dict[str, Any]:
    """What a run of the job of a landing is told."""
    return {"ops": {asset_name(landing): {"config": asdict(request)}}}


def build_landed_assets(landings: Sequence[LandingSettings]) -> list[dg.AssetsDefinition]:
    """One asset per landing of the settings."""
    return [_landed_asset(landing) for landing in landings]


def build_landing_checks(landings: Sequence[LandingSettings]) -> list[dg.AssetChecksDefinition]:
    """One check per landing of the settings."""
    return [_fresh_check(landing.name) for landing in landings]


def with_landed_deps(
    assets: Sequence[dg.AssetsDefinition], landings: Sequence[str], *, first: dg.AssetsDefinition
) -> list[dg.AssetsDefinition]:
    """The assets of a sync, the first of which reads what landed.

    Args:
        assets: All of them.
        landings: Names of the landings; without any the assets stay as they are.
        first: Which of the assets reads the source.
    """
    if not landings:
        return [*assets]
    deps = [asset_key(name) for name in landings]
    (reading,) = dg.map_asset_specs(lambda spec: spec.merge_attributes(deps=deps), [first])
    return [reading if asset is first else asset for asset in assets]


def _landed_asset(settings: LandingSettings) -> dg.AssetsDefinition:
    name, landing = settings.name, settings.as_landing()

    @dg.asset(
        name=asset_name(name),
        group_name=GROUP,
        kinds={"postgres", settings.kind},
        pool=pool_name(landing.connection),
        retry_policy=RETRIES,
        description=_described(settings, landing),
        metadata={
            "dagster/table_name": landing.table,
            "dagster/column_schema": _columns(landing),
        },
    )
    def landed(
        context: dg.AssetExecutionContext,
        config: LandingConfig,
        sync: dg.ResourceParam[SyncContext],
    ) -> dg.MaterializeResult[None]:
        with landing_step(context, sync, name=name) as step:
            report = land(step.context, step.landing, request=config.as_request(), owner=step.owner)
        _tell(replace(report, run_id=context.run.run_id))
        return dg.MaterializeResult(metadata=shown(report))

    return landed


def _described(settings: LandingSettings, landing: Landing) -> str:
    """What the data is: Dagster shows it in its catalogue."""
    whose = {
        "rest": f"The records that the system {landing.connection} lists",
        "mongodb": f"The documents of a collection of {landing.connection}",
        "table": "The rows of the table that another loader fills",
    }[settings.kind]
    return (
        f"{whose}, as rows of {landing.table}: one per record, as the last passes saw it. A record "
        "that is gone keeps its row until a complete pass has shown so."
    )


def _columns(landing: Landing) -> dg.TableSchema:
    columns = {**OWN_COLUMNS, **landing.column_types}
    return dg.TableSchema(columns=[dg.TableColumn(*column) for column in columns.items()])


@dataclass(frozen=True, slots=True, kw_only=True)
class LandingStep:
    """One landing's turn in a run."""

    context: LandingContext
    landing: Landing
    owner: str


@contextmanager
def landing_step(
    context: dg.AssetExecutionContext, sync: SyncContext, *, name: str
) -> Iterator[LandingStep]:
    """Land records in a step of a run: stoppable, and with clear failures.

    A wait that an origin asks for, and that is longer than a step should take, ends the run:
    ``deferred_landings_sensor`` starts it again.
    """
    with (
        sync.tracer.within(context.run.run_id),
        _telling_failure(context, name),
        as_dagster_failures(retry_number=context.retry_number, defers_long_waits=True),
        stopping_on_signals(sync) as stoppable,
    ):
        landings = landings_of(stoppable, name)
        if sync.unfit is not None:
            raise sync.unfit
        yield LandingStep(
            context=LandingContext.of(landings, stoppable),
            landing=landings.landing(name),
            owner=owner_name(process=process_name(), run_id=context.run.run_id),
        )


def landings_of(sync: SyncContext, name: str) -> Landings:
    """The landings of an installation, of which one is wanted.

    Raises:
        UnknownLandingError: it has none.
    """
    if sync.landings is None:
        raise UnknownLandingError(name=name, known=())
    return sync.landings


def _tell(report: LandingReport) -> None:
    """Tell programs that read the log."""
    told = {name: fact for name, fact in asdict(report).items() if fact}
    tell(logging.INFO, "landing_ended", "records have landed", **told)


@contextmanager
def _telling_failure(context: dg.AssetExecutionContext, name: str) -> Iterator[None]:
    """Tell them of a run that fails for good; a step that is tried again is not one."""
    try:
        yield
    except dg.Failure as failure:
        code = failure.metadata.get(ERROR_FACT)
        tell(
            logging.ERROR,
            "landing_failed",
            "records have not landed",
            name=name,
            run_id=context.run.run_id,
            error={"code": None if code is None else code.value, "message": failure.description},
        )
        raise


def _fresh_check(name: str) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=asset_key(name),
        name=FRESH,
        description="The last complete pass began as recently as the settings ask for. Looked at "
        "after every landing, and by landing_freshness_sensor where none comes.",
        retry_policy=RETRIES,
    )
    def landing_is_fresh(
        context: dg.AssetCheckExecutionContext, sync: dg.ResourceParam[SyncContext]
    ) -> dg.AssetCheckResult:
        with as_dagster_failures(retry_number=context.retry_number):
            age = age_of(sync, name)
        return dg.AssetCheckResult(passed=age.is_fresh, **freshness_facts(sync, age))

    return landing_is_fresh


def age_of(sync: SyncContext, name: str) -> LandingAge:
    """How a landing stands now.

    Raises:
        UnknownLandingError: there is none of this name.
        TransientError: the database cannot be reached.
    """
    landings = landings_of(sync, name)
    landing = landings.landing(name)
    return landing_age(landing, landings.store.get(landing), now=sync.now())


def freshness_facts(sync: SyncContext, age: LandingAge) -> dict[str, Any]:
    """Severity, words and numbers of the check; an old landing is no broken one."""
    limit = landings_of(sync, age.name).landing(age.name).fresh_seconds
    allowed = f"{limit / 3600:g} h are allowed"
    if age.age_seconds is None:
        told = f"no complete pass has been landed so far; {allowed}"
    else:
        told = f"the last complete pass began {age.age_seconds / 3600:.1f} h ago; {allowed}"
    numbers = {"age_seconds": age.age_seconds, "fresh_seconds": limit, "rows": age.rows}
    return {
        "severity": dg.AssetCheckSeverity.WARN,
        "description": told,
        "metadata": {key: value for key, value in numbers.items() if value is not None},
    }
