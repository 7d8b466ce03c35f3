"""What looks after landings between their runs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Final

import dagster as dg

from sync_pipeline.core.errors import TransientError
from sync_pipeline.defs.dagster_private import UnresolvedAssetJobDefinition
from sync_pipeline.defs.failures import withholding_foreign_messages
from sync_pipeline.defs.landing import age_of, freshness_facts
from sync_pipeline.defs.landing_jobs import is_under_way, landing_request
from sync_pipeline.defs.landing_names import DEFERRED, FRESH, asset_key
from sync_pipeline.engine.context import SyncContext
from sync_pipeline.engine.landing.ages import LandingAge
from sync_pipeline.engine.landing.land import LandRequest
from sync_pipeline.settings import LandingSettings

_OLD_SECONDS: Final = 86_400.0
"""With an older complete pass a deferred landing goes on as a full one: the schedule of full ones
may have passed meanwhile."""


def build_landing_sensors(
    landings: Sequence[LandingSettings], jobs: Sequence[UnresolvedAssetJobDefinition]
) -> list[dg.SensorDefinition]:
    """The sensors of these landings; none without any.

    Args:
        landings: Of the settings.
        jobs: One per landing.
    """
    if not landings:
        return []

    @dg.sensor(
        name=DEFERRED,
        jobs=jobs,
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Starts a landing again whose origin asked to be left alone for a while, when "
        "that is over.",
    )
    @withholding_foreign_messages()
    def deferred_landings_sensor(
        context: dg.SensorEvaluationContext, sync: dg.ResourceParam[SyncContext]
    ) -> dg.SensorResult | dg.SkipReason:
        try:
            ages = {it.name: age_of(sync, it.name) for it in landings}
        except TransientError as error:
            return dg.SkipReason(f"how the landings stand cannot be read now: {error}")
        deferred = {
            it.name: (it, until)
            for it in landings
            if (until := ages[it.name].not_before) is not None
        }
        requests = [
            landing_request(
                LandRequest(mode="full" if _needs_full(it, ages[name]) else "incremental"),
                landing=name,
                key=until.isoformat(),
            )
            for name, (it, until) in deferred.items()
            if until <= sync.now() and not is_under_way(context.instance, name)
        ]
        if requests:
            return dg.SensorResult(run_requests=requests)
        return dg.SkipReason(f"{len(deferred)} landings are deferred, and none is due")

    @dg.sensor(
        name="landing_freshness_sensor",
        minimum_interval_seconds=300,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Says of landings where nothing lands for long that they are not fresh.",
    )
    @withholding_foreign_messages()
    def landing_freshness_sensor(
        context: dg.SensorEvaluationContext, sync: dg.ResourceParam[SyncContext]
    ) -> dg.SensorResult | dg.SkipReason:
        try:
            ages = [age_of(sync, it.name) for it in landings]
        except TransientError as error:
            return dg.SkipReason(f"how the landings stand cannot be read now: {error}")
        return tell_of_freshness(sync, ages, cursor=context.cursor)

    return [deferred_landings_sensor, landing_freshness_sensor]


def tell_of_freshness(
    sync: SyncContext, ages: Sequence[LandingAge], *, cursor: str | None
) -> dg.SensorResult:
    """Record the check of landings whose answer may be another one than Dagster shows.

    Args:
        sync: Says what is fresh.
        ages: Of all landings.
        cursor: What was recorded last: per landing whether it was fresh, and its last pass.
    """
    told = json.loads(cursor) if cursor else {}
    now = {age.name: [age.is_fresh, _moment(age.complete_at)] for age in ages}
    changed = [age for age in ages if told.get(age.name) != now[age.name]]
    old = sorted(age.name for age in ages if not age.is_fresh)
    events = [
        dg.AssetCheckEvaluation(
            asset_key=asset_key(age.name),
            check_name=FRESH,
            passed=age.is_fresh,
            **freshness_facts(sync, age),
        )
        for age in changed
    ]
    return dg.SensorResult(
        skip_reason=f"of {len(ages)} landings are not fresh: {', '.join(old) or 'none'}",
        asset_events=events,
        cursor=json.dumps(now),
    )


def _needs_full(landing: LandingSettings, age: LandingAge) -> bool:
    """Whether a deferred landing goes on with all records."""
    if age.open_pass is not None and age.open_pass.mode == "full":
        return True
    if age.age_seconds is None:
        return True
    return landing.schedule.full is not None and age.age_seconds > _OLD_SECONDS


def _moment(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()
