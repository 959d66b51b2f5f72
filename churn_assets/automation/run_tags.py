"""The tags by which runs are told apart: which dates, why, and which automation asked for them."""

from churn_assets.dates import DateRange

# Why the dates are computed, for people: "upstream newer (3)".
REASON_TAG = "churn/reason"
# Which step of the automation a run is; its failures make it wait.
STEP_TAG = "churn/automation_step"

RANGE_START_TAG = "dagster/asset_partition_range_start"
RANGE_END_TAG = "dagster/asset_partition_range_end"


def range_tags(dates: DateRange) -> dict[str, str]:
    """Make one run of a range of dates."""
    return {RANGE_START_TAG: dates.start.isoformat(), RANGE_END_TAG: dates.end.isoformat()}
