"""The checks of lists that no single row can break: the order, the pause, and the control group."""

from collections.abc import Iterator

import dagster as dg

from churn_assets.asset_keys import asset_key
from churn_assets.assets.common import ON_SPARK
from churn_assets.assets.dagster_partitions import dates_of_run
from churn_assets.dates import DateRange
from churn_assets.lakehouse.lake import Lakehouse
from churn_assets.tables import CONTROL, RETENTION_LIST

RANKS = "ranks_without_gaps"
PAUSE = "nobody_twice_in_a_pause"
SHARE = "control_share"

DESCRIPTIONS = {
    RANKS: "The ranks of a date are 1, 2, 3 and so on, and follow the expected gain.",
    PAUSE: "Nobody is in two lists that are less than CHURN_CONTACT_PAUSE_DAYS apart. A warning: after a "
    "longer pause was set, lists of before may be closer.",
    SHARE: "As many of the users listed are control users as CHURN_CONTROL_SHARE says, but for chance. A "
    "warning.",
}

# A share further off than so many standard deviations is no chance.
DEVIATIONS = 5


def retention_checks() -> dg.AssetChecksDefinition:
    """All of them, as one step: of the dates of the run or, executed alone, of the last list."""

    @dg.multi_asset_check(
        name="check_retention_list",
        specs=[
            dg.AssetCheckSpec(name, asset=asset_key(RETENTION_LIST), description=description)
            for name, description in DESCRIPTIONS.items()
        ],
        required_resource_keys=ON_SPARK,
        can_subset=True,
    )
    def check(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        lake: Lakehouse = context.resources.lakehouse
        dates = dates_of_run(context.run.tags) or _last(lake)
        judges = {RANKS: _ranks, PAUSE: _pause, SHARE: _share}
        for key in context.selected_asset_check_keys:
            problem = judges[key.name](lake, dates) if dates else None
            yield dg.AssetCheckResult(
                asset_key=asset_key(RETENTION_LIST),
                check_name=key.name,
                passed=problem is None,
                severity=dg.AssetCheckSeverity.ERROR if key.name == RANKS else dg.AssetCheckSeverity.WARN,
                description=problem,
            )

    return check


def _last(lake: Lakehouse) -> DateRange | None:
    last = max(lake.partition_rows(RETENTION_LIST), default=None)
    return DateRange(last, last) if last else None


def _ranks(lake: Lakehouse, dates: DateRange) -> str | None:
    wrong = lake.query(
        "SELECT feature_date, sum(CASE WHEN rank = place THEN 0 ELSE 1 END) AS wrong FROM ("  # noqa: S608 - dates
        "SELECT feature_date, rank, row_number() OVER "
        "(PARTITION BY feature_date ORDER BY expected_gain DESC, user_id) AS place "
        f"FROM {{lists}} WHERE {_in(dates)}) GROUP BY feature_date ORDER BY feature_date",
        lists=RETENTION_LIST,
    )
    found = [f"{row['feature_date']}: {row['wrong']} users" for row in wrong if row["wrong"]]
    return f"Not at the place of their expected gain, on {', '.join(found)}" if found else None


def _pause(lake: Lakehouse, dates: DateRange) -> str | None:
    pause = lake.settings.contact_pause_days
    twice = lake.query(
        "SELECT count(*) AS pairs, min(one.user_id) AS user_id FROM {lists} one JOIN {lists} other "  # noqa: S608 - dates
        "ON one.user_id = other.user_id AND other.feature_date < one.feature_date "
        f"AND datediff(one.feature_date, other.feature_date) < {pause} "
        f"WHERE {_in(dates, 'one.')} AND {_in(dates.widened(pause, 0), 'other.')}",
        lists=RETENTION_LIST,
    )[0]
    if not twice["pairs"]:
        return None
    return (
        f"{twice['pairs']} times somebody was listed again within {pause} days, such as user "
        f"{twice['user_id']}"
    )


def _share(lake: Lakehouse, dates: DateRange) -> str | None:
    share = lake.settings.control_share
    counted = lake.query(
        f"SELECT count(*) AS users, sum(CASE WHEN assigned_group = '{CONTROL}' THEN 1 ELSE 0 END) AS control "  # noqa: S608 - dates
        f"FROM {{lists}} WHERE {_in(dates)}",
        lists=RETENTION_LIST,
    )[0]
    users, control = counted["users"], counted["control"] or 0
    chance = DEVIATIONS * (users * share * (1 - share)) ** 0.5
    if abs(control - users * share) <= max(chance, 1.0):
        return None
    return f"{control} of {users} users are control users, and CHURN_CONTROL_SHARE is {share:g}"


def _in(dates: DateRange, of: str = "") -> str:
    first, last = (f"date'{day}'" for day in dates)
    return f"{of}feature_date >= {first} AND {of}feature_date <= {last}"
