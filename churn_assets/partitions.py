"""The last feature_dates that the calendar allows; Dagster's partitions are ``assets.dagster_partitions``."""

import datetime as dt

from churn_assets.dates import ONE_DAY
from churn_assets.settings import Settings

# Here and by this name: it is in the code_version of user_features.
ROLLING_WINDOW_DAYS = 7


def last_complete_day(now: dt.datetime) -> dt.date:
    """Return the last UTC day that was over at ``now``."""
    return now.astimezone(dt.UTC).date() - ONE_DAY


def last_label_date(settings: Settings, now: dt.datetime) -> dt.date:
    """Return the last feature_date whose horizon was over at ``now``: the last partition of labels."""
    last = min(last_complete_day(now), settings.end_date or dt.date.max)
    return last - settings.horizon_days * ONE_DAY
