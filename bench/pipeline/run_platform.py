"""Runs tasks of the platform's daily job one after the other: those that its arguments name.

Without arguments these are ``ingest`` and ``featurize``, up to ``user_features``. Two dates are an argument
as well, ``2026-01-01:2026-01-31``: all that ``churn run --from --to`` does for them. ``BENCH_DAYS_AGO`` is
how long ago the files are taken in. A script that imports nothing but ``churn_assets``, so that it runs any
commit's package, with the settings of its environment. The last line that it prints is JSON: when the work
began, and the seconds of each step by Dagster's event log.
"""

import datetime as dt
import json
import os
import sys
import time
from types import SimpleNamespace


def main() -> None:
    """Runs the tasks, and prints the steps' seconds."""
    from churn_assets import settings as settings_module
    from churn_assets.automation.history.instance import dagster_instance
    from churn_assets.automation.runs.pipeline import Pipeline
    from churn_assets.dates import DateRange
    from churn_assets.graph import build_defs
    from churn_assets.resources import lakehouse

    settings, now = settings_module.load(), dt.datetime.now(dt.UTC)
    if ago := int(os.environ.get("BENCH_DAYS_AGO", "0")):
        _take_in_files_days_ago(ago)
    with dagster_instance(settings) as instance:
        pipeline = Pipeline(build_defs(settings), lakehouse(settings), instance, lambda _: None)
        began = time.time()
        for task in sys.argv[1:] or ["ingest", "featurize"]:
            if ":" in task:
                pipeline.run(now, DateRange(*map(dt.date.fromisoformat, task.split(":"))))
            else:
                pipeline.run_stage(task, now)  # pyright: ignore[reportArgumentType] - run_stage refuses others
        steps = [step for run in pipeline.report.runs for step in instance.get_run_step_stats(run)]
    seconds = {step.step_key: (step.end_time or began) - (step.start_time or began) for step in steps}
    print(json.dumps({"began": began, "seconds": seconds}))


def _take_in_files_days_ago(days: int) -> None:
    """Set back the clock by which Bronze dates its lines, as if they had landed then."""
    from churn_assets.assets import bronze

    class Earlier(dt.datetime):
        @classmethod
        def now(cls, tz: dt.tzinfo | None = None) -> dt.datetime:
            return dt.datetime.now(tz) - dt.timedelta(days=days)

    bronze.dt = SimpleNamespace(datetime=Earlier, UTC=dt.UTC)  # type: ignore[assignment]  # what it uses of dt


if __name__ == "__main__":
    main()
