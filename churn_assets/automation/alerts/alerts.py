"""The sensor that alerts of failed runs, stale assets and failed checks, and again when each is over."""

import datetime as dt
from collections.abc import Sequence

import dagster as dg

from churn_assets.automation.alerts.channel import Channel
from churn_assets.automation.alerts.channels import channels
from churn_assets.automation.alerts.failures import failures, has_worked_since
from churn_assets.automation.alerts.incidents import AlertState
from churn_assets.automation.alerts.lasting_problems import CHECK, STALE, lasting_incidents
from churn_assets.settings import Settings

INTERVAL_SECONDS = 30
# A run may be recorded a little later than its timestamp says.
OVERLAP = dt.timedelta(minutes=2)
RECENT_RUNS = 200


def alert_sensors(settings: Settings) -> list[dg.SensorDefinition]:
    """Return the sensor, or none if the settings name no channel."""
    receivers = channels(settings)
    if not receivers:
        return []
    names = " and ".join(channel.name for channel in receivers)

    @dg.sensor(
        name="alerts",
        minimum_interval_seconds=INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Tells {names} of failed runs, stale assets and failed checks, and when each is over.",
    )
    def alerts(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        repository = context.repository_def
        if repository is None:
            return dg.SkipReason("There are no definitions to look at.")
        state = AlertState.model_validate_json(context.cursor) if context.cursor else AlertState()
        now = dt.datetime.now(dt.UTC)
        errors = tick(state, context.instance, repository, settings, receivers, now)
        # An undelivered alert waits in the cursor: it survives a restart, and fails no tick.
        context.update_cursor(state.model_dump_json())
        for line in errors:
            context.log.warning(line)
        waiting = f", {len(state.outbox)} alerts wait" if state.outbox else ""
        return dg.SkipReason(f"{len(state.open)} incidents are open{waiting}. {' '.join(errors)}".strip())

    return [alerts]


def tick(  # noqa: PLR0913, PLR0917 - what it reads, the channels, and the clock
    state: AlertState,
    instance: dg.DagsterInstance,
    repository: dg.RepositoryDefinition,
    settings: Settings,
    receivers: Sequence[Channel],
    now: dt.datetime,
) -> list[str]:
    """Send alerts of what has changed since the state was saved.

    Failures from before the first tick are history; assets that are stale or fail a check then are not.

    Returns:
        The errors of channels that took no alert; these alerts stay in the state.
    """
    graph = repository.asset_graph

    def is_partitioned(key: dg.AssetKey) -> bool:
        return graph.has(key) and graph.get(key).is_partitioned

    since = (state.looked_at or now) - (OVERLAP if state.looked_at else dt.timedelta())
    failed = dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE], updated_after=since)
    for record in instance.get_run_records(failed, ascending=True):
        if record.dagster_run.run_id in state.recent_runs:
            continue
        state.recent_runs = [*state.recent_runs, record.dagster_run.run_id][-RECENT_RUNS:]
        for incident in failures(instance, record, settings, is_partitioned):
            if not incident.blocked:
                state.opened(incident, receivers, now)
    state.looked_at = now
    lasting = lasting_incidents(instance, settings, graph.get_all_asset_keys(), graph.asset_check_keys, now)
    for incident in lasting.values():
        state.opened(incident, receivers, now)
    over = [
        id_
        for id_, incident in state.open.items()
        if (id_.startswith((STALE, CHECK)) and id_ not in lasting)
        or (incident.job and has_worked_since(instance, incident))
    ]
    state.closed(over, receivers, now)
    return state.deliver(receivers, now)
