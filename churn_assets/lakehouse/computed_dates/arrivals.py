"""What is noted of users, who have no date: which days count another number of them, and which other ages."""

import datetime as dt
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from churn_assets.tables import ARRIVALS, EVENTS, OTHER_AGES, USERS

if TYPE_CHECKING:
    from churn_assets.lakehouse.lake import Lakehouse

Headings = dict[str, set[dt.date]]


def changes_since(lake: "Lakehouse", version: int) -> Headings:
    """Compare the users with those of an earlier version.

    Returns:
        ``arrivals``: the days on which somebody's first day was, or is now. ``other_ages``: days on which
        somebody was active who was known before, and has another first day now.
    """
    if version == 0:
        # There were none.
        first_days = lake.read(USERS).select("first_seen_date").distinct().collect()
        return {ARRIVALS: {row["first_seen_date"] for row in first_days}, OTHER_AGES: set()}
    columns = [F.col("user_id"), F.col("first_seen_date")]
    before = lake.read(USERS, version=version).select(columns[0], columns[1].alias("was"))
    after = lake.read(USERS).select(columns[0], columns[1].alias("is"))
    moved = before.join(after, "user_id", "full").where(~F.col("was").eqNullSafe(F.col("is")))
    days = [(row["was"], row["is"]) for row in moved.select("was", "is").distinct().collect()]
    found: Headings = {ARRIVALS: {day for both in days for day in both if day}, OTHER_AGES: set()}
    if any(was and now for was, now in days):
        older = moved.where(F.col("was").isNotNull() & F.col("is").isNotNull()).select("user_id")
        active = lake.read(EVENTS).join(older, "user_id", "left_semi").select("event_date").distinct()
        found[OTHER_AGES] = {row["event_date"] for row in active.collect()}
    return found
