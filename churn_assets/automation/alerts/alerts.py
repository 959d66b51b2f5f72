"""The sensor that alerts of failed runs, stale assets and failed checks: when one begins and when it ends."""

import datetime as dt
from collections.abc import Sequence

import dagster as dg

from churn_assets.automation.alerts.channels import Channel, channels
from churn_assets.automation.alerts.failures import failures, has_worked_since
from churn_assets.automation.alerts.incidents import AlertState
from churn_assets.automation.alerts.lasting_problems import CHECK, STALE, standing_incidents
from churn_assets.settings import Settings

INTERVAL_SECONDS = 30
# A run may be written down a little later than its time says.
OVERLAP = dt.timedelta(minutes=2)
RECENT_RUNS = 200


def alert_sensors(settings: Settings) -> list[dg.SensorDefinition]:
    """The sensor, if the settings say whom to tell."""
    found = channels(settings)
    if not found:
        return []

    @dg.sensor(
        name="alerts",
        minimum_interval_seconds=INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Tells {' and '.join(channel.name for channel in found)} of failed runs, stale assets "
        "and failed checks, and when each is over.",
    )
    def alerts(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        repository = context.repository_def
        if repository is None:
            return dg.SkipReason("There are no definitions to look at.")
        state = AlertState.model_validate_json(context.cursor) if context.cursor else AlertState()
        said = tick(state, context.instance, repository, settings, found, dt.datetime.now(dt.UTC))
        # An alert that was not taken waits in the cursor: it survives a restart, and fails no tick.
        context.update_cursor(state.model_dump_json())
        for line in said:
            context.log.warning(line)
        waiting = f", {len(state.outbox)} alerts wait" if state.outbox else ""
        return dg.SkipReason(f"{len(state.open)} incidents are open{waiting}. {' '.join(said)}".strip())

    return [alerts]


def tick(  # noqa: PLR0913, PLR0917 - what it looks at, whom it tells, and when
    state: AlertState,
    instance: dg.DagsterInstance,
    repository: dg.RepositoryDefinition,
    settings: Settings,
    told: Sequence[Channel],
    now: dt.datetime,
) -> list[str]:
    """Look at everything, and alert of what has changed since the state was left.

    Failures from before the first tick are history; what is stale or fails its checks then is not.

    Returns:
        What channels said that took no alert; it stays in the state.
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
                state.opened(incident, told, now)
    state.looked_at = now
    standing = standing_incidents(instance, settings, graph.get_all_asset_keys(), graph.asset_check_keys, now)
    for incident in standing.values():
        state.opened(incident, told, now)
    over = [
        id_
        for id_, incident in state.open.items()
        if (id_.startswith((STALE, CHECK)) and id_ not in standing)
        or (incident.job and has_worked_since(instance, incident))
    ]
    state.closed(over, told, now)
    return state.deliver(told, now)
