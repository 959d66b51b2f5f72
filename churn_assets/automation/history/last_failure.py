"""The last run that failed, for who is asked what is wrong."""

import dagster as dg

from churn_assets.automation.history import stored_history
from churn_assets.automation.history.failure_reasons import recorded_error_line
from churn_assets.automation.history.instance import dagster_instance
from churn_assets.settings import Settings


def last_failure(settings: Settings) -> str | None:
    """Return when the last failed run ended (UTC), its step and its error in one line; None without one.

    A lake without a history gets none by being asked.
    """
    if not stored_history.is_there(settings):
        return None
    with dagster_instance(settings) as instance:
        failed = dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE])
        for record in instance.get_run_records(failed, limit=1):
            ended = f"{record.update_timestamp:%Y-%m-%d %H:%M} UTC"
            run_id = record.dagster_run.run_id
            steps = instance.all_logs(run_id, of_type=dg.DagsterEventType.STEP_FAILURE)
            for entry in steps:
                event = entry.get_dagster_event()
                if error := event.step_failure_data.error:
                    return f"{ended}, {event.step_key}: {recorded_error_line(error)}"
            return f"{ended}: no step of it failed; its process ended, or it was cancelled"
    return None
