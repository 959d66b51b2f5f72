"""The tags that tell runs apart: which dates they compute, why, and what started them."""

from churn_assets.assets.dagster_partitions import RUN_RANGE
from churn_assets.dates import DateRange

# Why the dates are computed, for people: "upstream newer (3)".
REASON_TAG = "churn/reason"
# Which step of the automation a run is; its failures make it wait.
STEP_TAG = "churn/automation_step"
# On the runs of churn run and its kind; those of dagster dev's daemon do not carry it.
STARTED_BY_CLI = {"churn/started_by": "cli"}

RANGE_START_TAG, RANGE_END_TAG = RUN_RANGE


def range_tags(dates: DateRange) -> dict[str, str]:
    """Return the tags that make a range of dates one run."""
    return {RANGE_START_TAG: dates.start.isoformat(), RANGE_END_TAG: dates.end.isoformat()}
