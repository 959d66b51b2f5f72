"""Dagster's partitions: one a feature_date, each window as a partition mapping, and the dates of a run."""

import datetime as dt
import warnings
from collections.abc import Mapping

import dagster as dg

from churn_assets.contracts import Reads
from churn_assets.dates import ONE_DAY, DateRange
from churn_assets.settings import Settings

# The tags by which Dagster makes one run of a range of dates.
RUN_RANGE = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")

# Both are beta, and each is Dagster's one way to say what it says.
warnings.filterwarnings(
    "ignore",
    "Parameter `(backfill_policy|allow_nonexistent_upstream_partitions)`",
    category=dg.BetaWarning,
)

ONE_RUN_PER_RANGE = dg.BackfillPolicy.single_run()


def feature_dates(settings: Settings) -> dg.DailyPartitionsDefinition:
    """Return a partition for each UTC day from ``CHURN_START_DATE`` on.

    The last is ``CHURN_END_DATE`` or, without that setting, yesterday.
    """
    # Dagster's end is exclusive: the day after the last one.
    end = (settings.end_date + ONE_DAY).isoformat() if settings.end_date else None
    return dg.DailyPartitionsDefinition(
        start_date=settings.start_date.isoformat(), end_date=end, timezone="UTC"
    )


def label_dates(settings: Settings) -> dg.DailyPartitionsDefinition:
    """Return the partitions of labels: the feature_dates whose whole horizon is over.

    They differ from ``feature_dates`` because Dagster launches a date of which *some* upstream days exist: a
    backfill of "all" would otherwise ask for labels of last week.
    """
    horizon = settings.horizon_days
    end = settings.end_date + ONE_DAY - horizon * ONE_DAY if settings.end_date else None
    return dg.DailyPartitionsDefinition(
        start_date=settings.start_date.isoformat(),
        end_date=max(end, settings.start_date).isoformat() if end else None,
        end_offset=-horizon,
        timezone="UTC",
    )


def partition_mapping(reads: Reads, settings: Settings) -> dg.PartitionMapping | None:
    """Return the window as Dagster shows and obeys it; None where a date reads the same date."""
    first, last = reads.offsets(settings)
    if first == last == 0:
        return None
    return dg.TimeWindowPartitionMapping(
        start_offset=first,
        end_offset=last,
        # The first dates have fewer days behind them; days ahead that are not there make a date wait.
        allow_nonexistent_upstream_partitions=last <= 0,
    )


def date_range(context: dg.AssetExecutionContext) -> DateRange:
    """Return the feature_dates that a run computes."""
    keys = context.partition_key_range
    return DateRange(dt.date.fromisoformat(keys.start), dt.date.fromisoformat(keys.end))


def dates_of_run(tags: Mapping[str, str]) -> DateRange | None:
    """Return the feature_dates that a run's tags name, one or a range; None for a run without partitions."""
    single = tags.get("dagster/partition")
    start, end = (tags.get(tag, single) for tag in RUN_RANGE)
    return DateRange(dt.date.fromisoformat(start), dt.date.fromisoformat(end)) if start and end else None
