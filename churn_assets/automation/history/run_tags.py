"""The tags by which runs are told apart: which dates, why, and which automation asked for them."""

from churn_assets.assets.dagster_partitions import RUN_RANGE
from churn_assets.dates import DateRange

# Why the dates are computed, for people: "upstream newer (3)".
REASON_TAG = "churn/reason"
# Which step of the automation a run is; its failures make it wait.
STEP_TAG = "churn/automation_step"

RANGE_START_TAG, RANGE_END_TAG = RUN_RANGE


def range_tags(dates: DateRange) -> dict[str, str]:
    """Make one run of a range of dates."""
    return {RANGE_START_TAG: dates.start.isoformat(), RANGE_END_TAG: dates.end.isoformat()}
