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


class Asked(TypedDict, total=False):
    """What the one who asks may leave open; the defaults are those of ``Question``.

    ``code_versions``: of the tables' transforms as they are now; dates that others computed are stale then.
    ``scores``: whether there is a model to score with. ``scores_again``: score all of these dates, though
    past predictions are history. ``scores_from``: dates before it are not scored, though they never were.
    """

    code_versions: CodeVersions
    scores: bool
    scores_again: bool
    scores_from: dt.date


def make_plan(
    lake: Lakehouse, now: dt.datetime, wanted: DateRange | None = None, **asked: Unpack[Asked]
) -> Plan:
    """Find what is to be computed. It reads the ledger, and the logs of tables that the ledger does not know.

    Args:
        lake: Silver and users are current.
        now: the clock, for which days are over.
        wanted: feature_dates to bring up to date; all that the data covers, without it.
        asked: see ``Asked``.

    Raises:
        DateRangeError: the data does not cover the dates, or the first windows would be cut off.
    """
    return plan_from(read_ledger(lake), lake.settings, now, wanted, **asked)


def plan_from(
    found: CheckedLedger,
    settings: Settings,
    now: dt.datetime,
    wanted: DateRange | None = None,
    **asked: Unpack[Asked],
) -> Plan:
    """The same from a ledger that was read before.

    Raises:
        DateRangeError: as ``make_plan``.
    """
    events = events_by_day(found)
    covered = covered_by(events, settings, now)
    if wanted and not covered.start <= wanted.start <= wanted.end <= covered.end:
        raise DateRangeError(f"Data covers {covered}, not all of {wanted}. Ask for dates in that range.")
    labels = LabelDates.of(event_days(events, last_complete_day(now)), covered, settings, now)
    return stale_dates(found, Question(settings, covered, labels, wanted, **asked))


def covered_dates(lake: Lakehouse, now: dt.datetime) -> DateRange:
    """The feature_dates that the data covers: from its first day to its last complete one.

    Raises:
        DateRangeError: no event lies in the dates of the settings, or the first windows would be cut off.
    """
    return covered_by(events_by_day(read_ledger(lake)), lake.settings, now)


def events_by_day(found: CheckedLedger) -> dict[dt.date, int]:
    """How many events Silver holds of each day."""
    if EVENTS in found.untrusted:
        return dict(found.untrusted[EVENTS])
    return {day: row.rows or 0 for day, row in found.rows.dates(EVENTS).items()}


def code_versions(graph: BaseAssetGraph) -> CodeVersions:
    """Of each asset's transform, as it is now."""
    versions = {key: graph.get(key).code_version for key in graph.get_all_asset_keys()}
    return {key: version for key, version in versions.items() if version}
