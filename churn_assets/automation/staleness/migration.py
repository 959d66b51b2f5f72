"""What this release changes in a lake of an earlier one: tables, their columns, and dates computed again.

Nothing here is needed for the change itself. A table gains its columns when it is opened, and dates that
other code computed count as stale anyway; this module says so beforehand.
"""

import datetime as dt
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import dagster as dg

from churn_assets.asset_keys import asset_key
from churn_assets.automation.history.log_reader import latest_tags
from churn_assets.automation.staleness.plan import Plan
from churn_assets.automation.staleness.planning import code_versions, make_plan
from churn_assets.automation.staleness.staleness import CODE_CHANGED, CodeVersions
from churn_assets.contracts import Column
from churn_assets.errors import DateRangeError
from churn_assets.lakehouse.lake import Lakehouse
from churn_assets.tables import ASSET_TABLES, CONTACT_TABLES, USERS, Table

Dates = Mapping[str, list[dt.date]]


@dataclass(frozen=True)
class Change:
    """What a release changes in one table: whether it is new, columns to add, dates to compute by reason.

    ``rewritten`` says why a table without dates is made again, and is empty if it is not.
    """

    table: Table
    is_new: bool = False
    columns: list[Column] = field(default_factory=list)
    dates: Dates = field(default_factory=dict)
    rewritten: str = ""

    def __bool__(self) -> bool:
        return bool(self.is_new or self.columns or self.dates or self.rewritten)


def changes(
    lake: Lakehouse, instance: dg.DagsterInstance, definitions: dg.Definitions, now: dt.datetime
) -> list[Change]:
    """Return the tables that this release changes, in the order of the graph, and change nothing.

    The dates are those of the events that have been taken in.

    Raises:
        ContractError: a table differs from its contract in what it cannot gain.
    """
    versions = code_versions(definitions.resolve_asset_graph())
    columns = {table: lake.missing_columns(table) for table in ASSET_TABLES}
    dates = _dates(lake, versions, now)
    every_table = [
        Change(
            table,
            # Those of contacts are made once somebody imports some.
            is_new=table not in CONTACT_TABLES and lake.version(table) < 0,
            columns=columns[table],
            dates=dates.get(table, {}),
            rewritten=CODE_CHANGED
            if table is USERS and made_by_other_code(instance, table, versions)
            else "",
        )
        for table in ASSET_TABLES
    ]
    return [change for change in every_table if change]


def grow(lake: Lakehouse) -> dict[Table, list[Column]]:
    """Add the columns that tables lack.

    Returns:
        The tables that lacked any, with the columns.

    Raises:
        ContractError: as ``changes``; no table has been changed.
    """
    missing = {table: columns for table in ASSET_TABLES if (columns := lake.missing_columns(table))}
    for table in missing:
        lake.add_missing_columns(table)
    return missing


def made_by_other_code(instance: dg.DagsterInstance, table: Table, versions: CodeVersions) -> bool:
    """Whether a table that is replaced as a whole was last made by another transform than today's."""
    made_by = latest_tags(instance, asset_key(table)).get("dagster/code_version")
    return made_by is not None and made_by != versions.get(asset_key(table), made_by)


def _dates(lake: Lakehouse, versions: CodeVersions, now: dt.datetime) -> dict[Table, Dates]:
    try:
        plan = make_plan(lake.read_only(), now, code_versions=versions)
    except DateRangeError:
        # No event has been taken in, so no date is computed by anything.
        return {}
    return {table: dict(_by_reason(plan, table)) for table in plan.reasons}


def _by_reason(plan: Plan, table: Table) -> Iterator[tuple[str, list[dt.date]]]:
    reasons = plan.reasons[table]
    for reason in sorted(set(reasons.values())):
        yield reason, sorted(day for day, why in reasons.items() if why == reason)
