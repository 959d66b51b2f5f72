"""Changes of users, who have no date: days with another number of new users, or of users of another age."""

import datetime as dt

from pyspark.sql import functions as F

from churn_assets.lakehouse.computed_dates.lake_with_ledger import LakeWithLedger
from churn_assets.tables import ARRIVALS, EVENTS, OTHER_AGES, USERS

# The days that each kind of change concerns, by heading: see ``Table.headings``.
DaysByHeading = dict[str, set[dt.date]]


def changes_since(lake: LakeWithLedger, version: int) -> DaysByHeading:
    """Compare the users with those of an earlier version.

    Returns:
        ``arrivals``: the days that were, or are now, the first day of a user. ``other_ages``: the active days
        of users who were known before and now have another first day.
    """
    if version == 0:
        # The table had no rows yet.
        first_days = lake.read(USERS).select("first_seen_date").distinct().collect()
        return {ARRIVALS: {row["first_seen_date"] for row in first_days}, OTHER_AGES: set()}
    columns = [F.col("user_id"), F.col("first_seen_date")]
    before = lake.read(USERS, version=version).select(columns[0], columns[1].alias("was"))
    after = lake.read(USERS).select(columns[0], columns[1].alias("is"))
    moved = before.join(after, "user_id", "full").where(~F.col("was").eqNullSafe(F.col("is")))
    days = [(row["was"], row["is"]) for row in moved.select("was", "is").distinct().collect()]
    changes: DaysByHeading = {ARRIVALS: {day for pair in days for day in pair if day}, OTHER_AGES: set()}
    if any(was and now for was, now in days):
        older = moved.where(F.col("was").isNotNull() & F.col("is").isNotNull()).select("user_id")
        active = lake.read(EVENTS).join(older, "user_id", "left_semi").select("event_date").distinct()
        changes[OTHER_AGES] = {row["event_date"] for row in active.collect()}
    return changes
