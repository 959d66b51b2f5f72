"""The changes of what is written as a whole, by date: Dagster, too, then sees what of Gold is behind.

Silver's events and its users are written as a whole, and a new version of them would make every date of what
reads them unsynced. What Gold depends on instead are their changes by date, observed as they are noted in the
ledger of dates: the number of the note is the data version.
"""

from collections.abc import Iterator

import dagster as dg

from churn_assets.asset_keys import asset_key, by_date_key
from churn_assets.assets.common import GROUPS, OWNERS
from churn_assets.assets.dagster_partitions import feature_dates
from churn_assets.lakehouse.io_manager import MONTHS, observation
from churn_assets.lakehouse.lake import Lakehouse
from churn_assets.settings import Settings
from churn_assets.tables import ARRIVALS, EVENTS, OTHER_AGES, USER_DAILY_ACTIVITY, USERS, Table

DESCRIPTIONS = {
    (
        USER_DAILY_ACTIVITY,
        MONTHS,
    ): "Last days of months of which a day has changed, by the version of user_daily_activity.",
    (EVENTS, ""): "Which days of the events have changed, and when: the ledger's note of each.",
    (USERS, ARRIVALS): "Days on which another number of users is new, as the ledger of dates notes them.",
    (
        USERS,
        OTHER_AGES,
    ): "Days on which those were active whose first day has moved, as the ledger notes them.",
}


def by_date_specs(settings: Settings) -> list[dg.AssetSpec]:
    """The changes as external assets with partitions."""
    return [
        dg.AssetSpec(
            by_date_key(table, heading),
            deps=[asset_key(table)],
            group_name=GROUPS[table.schema],
            description=description,
            partitions_def=feature_dates(settings),
            kinds={"delta"},
            owners=OWNERS,
        )
        for (table, heading), description in DESCRIPTIONS.items()
    ]


def observed_changes(lake: Lakehouse, table: Table, since: int) -> Iterator[dg.AssetObservation]:
    """What has been noted of a table after the ledger's note ``since``, one observation a date.

    Dates before the first feature_date have no partition: nothing that Dagster shows reads them.
    """
    known = lake.ledger.read()
    for one, heading in DESCRIPTIONS:
        if one is not table:
            continue
        dates = known.dates(table, heading)
        if not dates:
            # What reads it must have seen something, or Dagster takes no later change for one.
            yield observation(table, heading, lake.settings.start_date, 0)
        for day, row in sorted(dates.items()):
            if row.changed > since and day >= lake.settings.start_date:
                yield observation(table, heading, day, row.changed)
