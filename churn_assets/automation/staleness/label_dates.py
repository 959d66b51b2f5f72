"""Which feature_dates are to have labels, and which may hold labels that they should not have."""

import datetime as dt
from dataclasses import dataclass
from typing import Self

from churn_assets.dates import DateRange
from churn_assets.event_days import EventDays
from churn_assets.lakehouse.coverage import unlabelled
from churn_assets.partitions import last_label_date
from churn_assets.settings import Settings
from churn_assets.transforms.labels import last_labelled_date


@dataclass(frozen=True)
class LabelDates:
    """The feature_dates that have labels.

    ``wanted`` are those whose horizon is over and has no outage that hides what users did. ``possible`` are
    those that have a Dagster partition.
    """

    wanted: frozenset[dt.date]
    possible: DateRange

    @classmethod
    def of(cls, own: EventDays, covered: DateRange, settings: Settings, now: dt.datetime) -> Self:
        """Work them out from the days of the events, the dates that the data covers, and the clock."""
        horizon = settings.horizon_days
        mature = DateRange(covered.start, last_labelled_date(covered.end, horizon))
        wanted = frozenset(mature.days()) - set(unlabelled(own, mature, settings))
        return cls(wanted, DateRange(settings.start_date, last_label_date(settings, now)))

    def may_hold(self, day: dt.date) -> bool:
        """Whether an earlier release, or fewer events, may have left labels there."""
        return self.possible.start <= day <= self.possible.end and day not in self.wanted
