"""Changes by date of tables that are written as a whole, so that Dagster sees which dates of Gold are behind.

Silver's events and users are written as a whole, and a new version of them would make every date unsynced
that reads them. Gold depends on their changes by date instead, observed when the ledger of dates notes them:
the number of the note is the data version.
"""

from collections.abc import Iterator

import dagster as dg

from churn_assets.asset_keys import asset_key, by_date_key
from churn_assets.assets.common import DELTA, OWNERS, TIERS, tags
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
    """Return the changes as external assets with partitions."""
    return [
        dg.AssetSpec(
            by_date_key(table, heading),
            deps=[asset_key(table)],
            group_name=TIERS[table.schema],
            description=description,
            partitions_def=feature_dates(settings),
            kinds={DELTA, TIERS[table.schema]},
            tags=tags(TIERS[table.schema], is_personal=False),
            owners=OWNERS,
        )
        for (table, heading), description in DESCRIPTIONS.items()
    ]


def observed_changes(lake: Lakehouse, table: Table, since: int) -> Iterator[dg.AssetObservation]:
    """Yield an observation for each date of a table that was noted after the ledger's note ``since``.

    Dates before the first feature_date have no partition, and nothing that Dagster shows reads them.
    """
    rows = lake.ledger.read()
    for changed_table, heading in DESCRIPTIONS:
        if changed_table is not table:
            continue
        dates = rows.dates(table, heading)
        if not dates:
            # Readers must have seen an observation, or Dagster does not take a later one for a change.
            yield observation(table, heading, lake.settings.start_date, 0)
        for day, row in sorted(dates.items()):
            if row.changed > since and day >= lake.settings.start_date:
                yield observation(table, heading, day, row.changed)
