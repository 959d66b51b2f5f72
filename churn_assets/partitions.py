"""The feature_date partitions, and each window as the partition mapping that Dagster shows and obeys."""

import datetime as dt
import warnings
from collections.abc import Mapping

import dagster as dg

from churn_assets.dates import ONE_DAY, DateRange
from churn_assets.settings import Settings

FEATURE_WINDOW_DAYS = 30
ROLLING_WINDOW_DAYS = 7

# The tags by which Dagster makes one run of a range of dates.
RUN_RANGE = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")

# Both are beta, and each is Dagster's one way to say what it says.
warnings.filterwarnings(
    "ignore",
    "Parameter `(backfill_policy|allow_nonexistent_upstream_partitions)`",
    category=dg.BetaWarning,
)

ONE_RUN_PER_RANGE = dg.BackfillPolicy.single_run()

# A feature_date D reads the days [D-29, D]; the first dates have fewer days behind them.
LAST_30_DAYS = dg.TimeWindowPartitionMapping(
    start_offset=-(FEATURE_WINDOW_DAYS - 1), end_offset=0, allow_nonexistent_upstream_partitions=True
)


def feature_dates(settings: Settings) -> dg.DailyPartitionsDefinition:
    """One partition a UTC day, from ``CHURN_START_DATE`` to ``CHURN_END_DATE`` or, without it, yesterday."""
    # Dagster's end is exclusive: the day after the last one.
    end = (settings.end_date + ONE_DAY).isoformat() if settings.end_date else None
    return dg.DailyPartitionsDefinition(
        start_date=settings.start_date.isoformat(), end_date=end, timezone="UTC"
    )


def label_dates(settings: Settings) -> dg.DailyPartitionsDefinition:
    """The feature_dates whose whole horizon is over: those that can have a label.

    Partitions of their own, because Dagster launches a date of which *some* upstream days exist: a backfill
    of "all" would otherwise ask for labels of last week.
    """
    horizon = settings.horizon_days
    end = settings.end_date + ONE_DAY - horizon * ONE_DAY if settings.end_date else None
    return dg.DailyPartitionsDefinition(
        start_date=settings.start_date.isoformat(),
        end_date=max(end, settings.start_date).isoformat() if end else None,
        end_offset=-horizon,
        timezone="UTC",
    )


def next_days(horizon_days: int) -> dg.TimeWindowPartitionMapping:
    """A label of D reads the days [D+1, D+horizon]."""
    return dg.TimeWindowPartitionMapping(start_offset=1, end_offset=horizon_days)


def date_range(context: dg.AssetExecutionContext) -> DateRange:
    """The feature_dates that a run computes."""
    keys = context.partition_key_range
    return DateRange(dt.date.fromisoformat(keys.start), dt.date.fromisoformat(keys.end))


def dates_of_run(tags: Mapping[str, str]) -> DateRange | None:
    """The feature_dates that a run's tags name, one or a range; None of a run without partitions."""
    one = tags.get("dagster/partition")
    start, end = (tags.get(tag, one) for tag in RUN_RANGE)
    return DateRange(dt.date.fromisoformat(start), dt.date.fromisoformat(end)) if start and end else None


def last_complete_day(now: dt.datetime) -> dt.date:
    """The last UTC day that was over at ``now``."""
    return now.astimezone(dt.UTC).date() - ONE_DAY
