"""The plan of what is to be computed now: for commands, sensors, backfills and Databricks tasks."""

import datetime as dt
from typing import TypedDict, Unpack

from dagster._core.definitions.assets.graph.base_asset_graph import (
    BaseAssetGraph,
)  # what definitions and repositories call their graph, exported nowhere else

from churn_assets.automation.staleness.label_dates import LabelDates
from churn_assets.automation.staleness.plan import Plan, covered_by
from churn_assets.automation.staleness.staleness import CodeVersions, Question, stale_dates
from churn_assets.dates import DateRange
from churn_assets.errors import DateRangeError
from churn_assets.event_days import event_days
from churn_assets.lakehouse.computed_dates.checked_ledger import CheckedLedger, read_ledger
from churn_assets.lakehouse.lake import Lakehouse
from churn_assets.partitions import last_complete_day
from churn_assets.settings import Settings
from churn_assets.tables import EVENTS


class PlanOptions(TypedDict, total=False):
    """The parts of a ``Question`` that a caller may leave out; the defaults are those of ``Question``.

    ``code_versions``: the versions of the tables' transforms as they are now; dates that other code computed
    are then stale. ``scores``: whether there is a model to score with. ``scores_again``: score all of these
    dates, though past predictions are history. ``scores_from``: dates before it are not scored, even if they
    never were. ``lists``: make the lists of past dates as well, which nobody needs unasked.
    """

    code_versions: CodeVersions
    scores: bool
    scores_again: bool
    scores_from: dt.date
    lists: bool


def make_plan(
    lake: Lakehouse, now: dt.datetime, wanted: DateRange | None = None, **options: Unpack[PlanOptions]
) -> Plan:
    """Plan what is to be computed. Reads the ledger, and the logs of tables that the ledger does not know.

    Args:
        lake: Silver and users are current.
        now: the clock, for which days are over.
        wanted: feature_dates to bring up to date; all that the data covers, without it.
        options: see ``PlanOptions``.

    Raises:
        DateRangeError: the data does not cover the dates, or the first windows would be cut off.
    """
    return plan_from(read_ledger(lake), lake.settings, now, wanted, **options)


def plan_from(
    ledger: CheckedLedger,
    settings: Settings,
    now: dt.datetime,
    wanted: DateRange | None = None,
    **options: Unpack[PlanOptions],
) -> Plan:
    """Plan as ``make_plan`` does, from a ledger that has been read already.

    Raises:
        DateRangeError: as ``make_plan``.
    """
    events = events_by_day(ledger)
    covered = covered_by(events, settings, now)
    if wanted and not covered.start <= wanted.start <= wanted.end <= covered.end:
        raise DateRangeError(f"Data covers {covered}, not all of {wanted}. Ask for dates in that range.")
    labels = LabelDates.of(event_days(events, last_complete_day(now)), covered, settings, now)
    return stale_dates(ledger, Question(settings, covered, labels, wanted, **options))


def covered_dates(lake: Lakehouse, now: dt.datetime) -> DateRange:
    """Return the feature_dates that the data covers: from its first day to its last complete one.

    Raises:
        DateRangeError: no event lies in the dates of the settings, or the first windows would be cut off.
    """
    return covered_by(events_by_day(read_ledger(lake)), lake.settings, now)


def events_by_day(ledger: CheckedLedger) -> dict[dt.date, int]:
    """Return the number of events that Silver holds of each day."""
    if EVENTS in ledger.untrusted:
        return dict(ledger.untrusted[EVENTS])
    return {day: row.rows or 0 for day, row in ledger.rows.dates(EVENTS).items()}


def code_versions(graph: BaseAssetGraph) -> CodeVersions:
    """Return the code version of each asset's transform, as it is now."""
    versions = {key: graph.get(key).code_version for key in graph.get_all_asset_keys()}
    return {key: version for key, version in versions.items() if version}
