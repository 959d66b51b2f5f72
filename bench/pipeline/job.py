"""What every peer is asked to do: which files, into which Delta tables, for which feature dates."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from churn_assets.dates import DateRange
from churn_assets.tables import (
    EVENTS,
    LANDED_EVENTS,
    QUARANTINED_EVENTS,
    USER_DAILY_ACTIVITY,
    USER_FEATURES,
    USERS,
    Table,
)

BRONZE, SILVER, QUARANTINE = LANDED_EVENTS, EVENTS, QUARANTINED_EVENTS
ACTIVITY, FEATURES = USER_DAILY_ACTIVITY, USER_FEATURES

STAGES = ("bronze", "silver", "users", "activity", "features")

# By the name of each stage, what does it.
Stages = dict[str, Callable[[], None]]


class Job(NamedTuple):
    """The files of a landing zone, the folder of the tables, and the feature dates, all of which are new.

    Tables lie in the folder as the platform's do, so that one reader compares them.
    """

    landing: Path
    lake: Path
    dates: DateRange

    def files(self) -> list[str]:
        """The files in the order of their days."""
        return sorted(str(file) for file in self.landing.glob("*.json"))

    def path(self, table: Table) -> str:
        """Where a table lies."""
        return str(location(self.lake, table))


def location(lake: Path, table: Table) -> Path:
    """The folder of a table in a lake of the platform, and so in a peer's."""
    return lake / table.catalog / table.schema / table.name


__all__ = [
    "ACTIVITY",
    "BRONZE",
    "FEATURES",
    "QUARANTINE",
    "SILVER",
    "STAGES",
    "USERS",
    "Job",
    "Stages",
    "location",
]
