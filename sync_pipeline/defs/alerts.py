"""Telling people that a run has failed for good."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import dagster as dg

from sync_pipeline.core.remedy import LandRecords, SyncScopes
from sync_pipeline.core.spending import BudgetState
from sync_pipeline.defs.alert_channels import Channel, open_channels, send
from sync_pipeline.defs.dagster_private import PARTITION_NAME_TAG, WILL_RETRY_TAG, StepFailureData
from sync_pipeline.defs.failures import ERROR_FACT
from sync_pipeline.defs.jobs import ENVIRONMENT_TAG
from sync_pipeline.defs.landing_names import landing_of_job
from sync_pipeline.defs.run_scopes import GROUP_JOB
from sync_pipeline.engine.context import SyncContext
from sync_pipeline.engine.questions.cost import budget_states
from sync_pipeline.redaction import redact
from sync_pipeline.settings import AlertSettings, Settings

MAX_MESSAGE_CHARACTERS: Final = 1000
"""How much of an error's message is told; the run has all of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """What is told of one failed run: our own messages only, never a document's text."""

    job: str
    run_id: str
    scope_key: str | None
    step: str | None
    error: str
    """Class name of the error."""
    message: str | None
    """What the error says, where it is one of ours."""
    environment: str | None = None
    """Of the settings file; None where none is chosen."""

    @property
    def rerun(self) -> str:
        """How to try again."""
        if self.job == GROUP_JOB:
            return "re-execute the run from failure in the user interface"
        landing = landing_of_job(self.job)
        if landing is not None:
            return LandRecords(landing=landing).words
        if self.scope_key is None:
            return f"start {self.job} again in the user interface"
        return SyncScopes(scope_key=self.scope_key).words

    @property
    def subject(self) -> tuple[str, str | None, str]:
        """What makes two alerts the same failure."""
        return self.job, self.scope_key, self.error

    def headline(self, *, more: int) -> str:
        """One line; ``more`` failures of the same kind were not told."""
        place = self.job if self.scope_key is None else f"scope {self.scope_key!r}"
        step = f" in {self.step}" if self.step else ""
        since = f" ({more} more like it since the last alert)" if more else ""
        where = "" if self.environment is None else f" [{self.environment}]"
        return f"sync-pipeline{where}: {place} failed{step}: {self.message or self.error}{since}"

    def facts(self) -> dict[str, object]:
        """Everything, by name."""
        return {
            "job": self.job,
            "run_id": self.run_id,
            "scope_key": self.scope_key,
            "step": self.step,
            "error": self.error,
            "message": self.message,
            "rerun": self.rerun,
            **({} if self.environment is None else {"environment": self.environment}),
        }


@dataclass(slots=True)
class Throttle:
    """Lets the same failure through once per interval, and counts the others.

    Kept in this process: after a restart of the code server a failure is told again.
    """

    min_interval_seconds: float
    now: Callable[[], float] = time.monotonic
    _told: dict[tuple[str, str | None, str], tuple[float, int]] = field(default_factory=dict)

    def admit(self, alert: Alert) -> int | None:
        """How many like it were held back before; None where this one is held back too."""
        at, held = self._told.get(alert.subject, (None, 0))
        if at is not None and self.now() - at < self.min_interval_seconds:
            self._told[alert.subject] = (at, held + 1)
            return None
        self._told[alert.subject] = (self.now(), 0)
        return held


def read_alert(run: dg.DagsterRun, step_failures: Sequence[dg.DagsterEvent]) -> Alert:
    """What a failed run comes to; the first step that failed counts."""
    scope_key = run.tags.get(PARTITION_NAME_TAG)
    environment = run.tags.get(ENVIRONMENT_TAG)
    if not step_failures:
        return Alert(
            job=run.job_name,
            run_id=run.run_id,
            scope_key=scope_key,
            step=None,
            error="RunFailed",
            message="the run ended early; its events in the user interface say why",
            environment=environment,
        )
    event = step_failures[0]
    error, message = _step_error(event.step_failure_data)
    return Alert(
        job=run.job_name,
        run_id=run.run_id,
        scope_key=scope_key,
        step=event.step_key,
        error=error,
        message=None if message is None else redact(message)[:MAX_MESSAGE_CHARACTERS],
        environment=environment,
    )


def _step_error(data: StepFailureData) -> tuple[str, str | None]:
    """Class name and message of an error; of one that is not ours no message, it may quote data."""
    failure = data.user_failure_data
    if failure is None:
        return (data.error.cls_name if data.error else None) or "Error", None
    name = failure.metadata.get(ERROR_FACT)
    return str(name.value) if name else "Failure", failure.description


def build_alert_sensors(settings: AlertSettings) -> list[dg.SensorDefinition]:
    """The sensor that sends alerts; none where the settings name nobody to tell."""
    channels = open_channels(settings)
    if not channels:
        return []
    throttle = Throttle(settings.min_interval_seconds)

    @dg.run_failure_sensor(
        name="run_failure_alert_sensor",
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Posts or mails every run that has failed for good (settings: alerts).",
    )
    def run_failure_alert_sensor(context: dg.RunFailureSensorContext) -> dg.SkipReason | None:
        return tell(context, channels=channels, throttle=throttle)

    return [run_failure_alert_sensor]


def tell(
    context: dg.RunFailureSensorContext, *, channels: list[Channel], throttle: Throttle
) -> dg.SkipReason | None:
    """Send one failed run to all channels; never raises."""
    run = context.dagster_run
    if run.tags.get(WILL_RETRY_TAG) == "true":
        return dg.SkipReason("the run is tried again by itself")
    alert = read_alert(run, context.get_step_failure_events())
    more = throttle.admit(alert)
    if more is None:
        return dg.SkipReason("the same failure was told a short time ago")
    send(channels, headline=alert.headline(more=more), facts=alert.facts())
    return None


def build_budget_sensors(settings: Settings) -> list[dg.SensorDefinition]:
    """The sensor that tells of budgets that near their end; none without budgets or channels."""
    channels = open_channels(settings.alerts)
    if not channels or not settings.budget.as_policy().has_limits:
        return []

    @dg.sensor(
        name="budget_alert_sensor",
        minimum_interval_seconds=300,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Posts or mails once when so much of an embedding budget is spent "
        "(settings: alerts, budget.alert_at), and once when all of it is.",
    )
    def budget_alert_sensor(
        context: dg.SensorEvaluationContext, sync: dg.ResourceParam[SyncContext]
    ) -> dg.SensorResult:
        return tell_of_budgets(context.cursor, states=budget_states(sync), channels=channels)

    return [budget_alert_sensor]


def tell_of_budgets(
    cursor: str | None, *, states: Sequence[BudgetState], channels: list[Channel]
) -> dg.SensorResult:
    """Send what was not told so far; what no channel took is told again."""
    told = {*(json.loads(cursor) if cursor else ())}
    alerting = {_named(state): state for state in states if state.is_alerting}
    sent = {
        name
        for name, state in alerting.items()
        if name in told
        or send(channels, headline=f"sync-pipeline: {state.told()}", facts=budget_facts(state))
    }
    return dg.SensorResult(
        skip_reason=f"{len(alerting)} budgets near their end, {len(sent - told)} told now",
        cursor=json.dumps(sorted(sent)),
    )


def budget_facts(state: BudgetState) -> dict[str, object]:
    """Everything about a budget, by name."""
    return {
        "budget_kind": str(state.budget.kind),
        "budget_key": state.budget.key,
        "spent_fraction": round(state.fraction, 4),
        "spent_tokens": state.spent.tokens,
        "spent_cost": float(state.spent.cost),
    }


def _named(state: BudgetState) -> str:
    """A budget and how far it is: nearly spent is one thing to tell, all spent another."""
    stage = "spent" if state.fraction >= 1 else "alerting"
    return f"{state.budget.kind}/{state.budget.key}/{stage}"
