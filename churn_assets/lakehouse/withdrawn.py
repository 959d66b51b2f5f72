"""Rows of labels and outcomes whose dates can have none any more, as a longer horizon is not over there.

Dagster has no partition for these dates, so no run of a range reaches them.
"""

import datetime as dt

from churn_assets.dates import contiguous_ranges
from churn_assets.lakehouse.computed_dates.checked_ledger import read_ledger
from churn_assets.lakehouse.lake import Lakehouse
from churn_assets.partitions import last_label_date
from churn_assets.tables import CHURN_LABELS, PREDICTION_OUTCOMES, Table

# Their dates have rows only once their horizon is over.
LABELLED_TABLES = (CHURN_LABELS, PREDICTION_OUTCOMES)


def withdraw_immature(lake: Lakehouse, now: dt.datetime, tables: tuple[Table, ...] = LABELLED_TABLES) -> int:
    """Remove rows of dates whose horizon is not over at ``now``.

    Returns:
        How many dates had rows, or may have had.
    """
    ledger, last, dates = read_ledger(lake), last_label_date(lake.settings, now), 0
    for table in tables:
        rows = {day: 1 if row.is_open else row.rows for day, row in ledger.dates(table).items()}
        immature = [day for day, n in {**ledger.untrusted.get(table, {}), **rows}.items() if n and day > last]
        dates += len(immature)
        for run in contiguous_ranges(immature):
            lake.write(table, lake.read(table).limit(0), run)
    return dates
