"""What became of every landed line: an event, a line in quarantine, or an exact duplicate of an event."""

from dataclasses import dataclass

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from churn_assets.dates import ONE_DAY, DateRange
from churn_assets.lakehouse.lake import Lakehouse
from churn_assets.tables import EVENTS, LANDED_EVENTS, QUARANTINED_EVENTS
from churn_assets.transforms import accounting

# A line that went missing is missed for so many days.
CHECKED_DAYS = 7
# Of so many dates Silver is read, else all of it: lines that are no events may name any date.
MOST_DATES = 1000


@dataclass(frozen=True)
class Account:
    """Lines of Bronze, and what they are in Silver and its quarantine; ``delivered`` counts duplicates."""

    landed: int
    events: int
    delivered: int
    quarantined: dict[str, int]

    @property
    def exact_duplicates(self) -> int:
        """Lines that say what an event says which came before."""
        return self.delivered - self.events

    @property
    def unaccounted(self) -> int:
        """Lines that are nowhere; below zero where there is more than landed."""
        return self.landed - self.delivered - sum(self.quarantined.values())


def account(lake: Lakehouse, days: DateRange | None = None) -> Account:
    """Account for the lines that were ingested on these days; for all without them."""
    landed, quarantined = (lake.read(table, days) for table in (LANDED_EVENTS, QUARANTINED_EVENTS))
    events = new = lake.read(EVENTS)
    if days:
        events = _of_their_dates(lake, events, landed, days)
        new = events.where(F.to_date("_ingested_at") >= F.lit(days.start))
    delivered = accounting.deliveries(landed, quarantined, events).agg(F.sum("lines")).collect()[0][0] or 0
    reasons = {
        row["reason"]: row["rows"]
        for row in quarantined.groupBy("reason").agg(F.count(F.lit(1)).alias("rows")).collect()
    }
    return Account(landed.count(), new.count(), delivered, dict(sorted(reasons.items())))


def last_days(lake: Lakehouse) -> DateRange | None:
    """Return the last days of ingestions; None without any."""
    last = max(lake.partition_rows(LANDED_EVENTS), default=None)
    return DateRange(last - (CHECKED_DAYS - 1) * ONE_DAY, last) if last else None


def _of_their_dates(lake: Lakehouse, events: DataFrame, landed: DataFrame, days: DateRange) -> DataFrame:
    """Return Silver's rows of the dates that the lines of these days name, or all if hardly more."""
    rows = lake.partition_rows(LANDED_EVENTS)
    lines = sum(count for day, count in rows.items() if days.start <= day <= days.end)
    if sum(lake.partition_rows(EVENTS).values()) < 2 * lines:
        return events
    said = {row[0] for row in accounting.days_said(landed).take(MOST_DATES)} - {None}
    if len(said) >= MOST_DATES - 1:
        return events
    return events.where(F.col("event_date").isin(*said) if said else F.lit(False))
