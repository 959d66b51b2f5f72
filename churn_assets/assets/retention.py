"""Whom to contact: the list of a date, and its delivery."""

import datetime as dt
from collections.abc import Iterator, Sequence
from functools import reduce
from typing import Any

import dagster as dg
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from churn_assets.asset_keys import asset_key
from churn_assets.assets import uplift
from churn_assets.assets.code_version import code_version
from churn_assets.assets.common import Assets, table_asset
from churn_assets.assets.dagster_partitions import ONE_RUN_PER_RANGE, date_range, feature_dates
from churn_assets.assets.gold import reading_as
from churn_assets.dates import ONE_DAY, DateRange
from churn_assets.lakehouse.lake import Lakehouse
from churn_assets.retention import deliveries as handing_over
from churn_assets.retention.ranking import Ranking, ranking_in_force
from churn_assets.retention.save_rate import SaveRate, measured, save_rate_in_force
from churn_assets.settings import Settings
from churn_assets.tables import (
    CHANGE_AFTER_DAYS,
    CHURN_PREDICTIONS,
    CHURN_REASONS,
    DELIVERIES,
    RETENTION_LIST,
    USER_DAILY_ACTIVITY,
    USER_FEATURES,
    USERS,
    VALUE_WINDOW_DAYS,
)
from churn_assets.transforms import retention

DELIVERED_CHECK = "delivered"


def retention_assets(settings: Settings) -> Assets:
    """Return the list and what was delivered of it."""

    @dg.asset(
        **table_asset(RETENTION_LIST, settings),
        partitions_def=feature_dates(settings),
        backfill_policy=ONE_RUN_PER_RANGE,
        ins=reading_as(
            RETENTION_LIST,
            settings,
            predictions=CHURN_PREDICTIONS,
            reasons=CHURN_REASONS,
            features=USER_FEATURES,
        ),
        deps=[dg.AssetDep(asset_key(USER_DAILY_ACTIVITY), partition_mapping=dg.AllPartitionMapping())],
        code_version=code_version(retention.retention_list),
    )
    def retention_list(
        context: dg.AssetExecutionContext, predictions: DataFrame, reasons: DataFrame, features: DataFrame
    ) -> DataFrame:
        lake: Lakehouse = context.resources.lakehouse
        dates = date_range(context)
        outcome = measured(lake)
        save_rate = save_rate_in_force(lake.settings, outcome)
        ranking = ranking_in_force(lake.settings, outcome)
        # There once lists are, as every other table, whoever delivers them.
        lake.read(DELIVERIES)
        kept = sorted(handing_over.attempted_dates(lake) & set(dates.days()))
        context.add_output_metadata(_in_force(settings, save_rate, ranking, kept))
        by_uplift = uplift.in_force(lake, ranking, outcome)
        given = terms(settings, save_rate)
        return _lists(lake, dates, kept, given, predictions, reasons, features, by_uplift)

    @dg.asset(
        **table_asset(DELIVERIES, settings),
        deps=[asset_key(RETENTION_LIST)],
        check_specs=[
            dg.AssetCheckSpec(
                DELIVERED_CHECK,
                asset=asset_key(DELIVERIES),
                description="Every list that a target should have was taken by it. What was not is sent "
                "again by the next run, and nothing waits for it.",
            )
        ],
    )
    def deliveries(
        context: dg.AssetExecutionContext,
    ) -> Iterator[dg.Output[DataFrame] | dg.AssetCheckResult]:
        lake: Lakehouse = context.resources.lakehouse
        rows = handing_over.attempts(lake, lambda rows: _note(lake, rows))
        failed = [f"{row['feature_date']}: {row['reason']}" for row in rows if row["reason"]]
        metadata = {"delivered": len(rows) - len(failed), "failed": "; ".join(failed) or "none"}
        yield dg.Output(_as_frame(lake, rows[-1:]), metadata=metadata)
        yield dg.AssetCheckResult(
            asset_key=asset_key(DELIVERIES),
            check_name=DELIVERED_CHECK,
            passed=not failed,
            description="; ".join(failed) or None,
        )

    return [retention_list, deliveries]


def terms(settings: Settings, save_rate: SaveRate) -> retention.Terms:
    """Return what decides who is in a list that is made now."""
    return retention.Terms(
        budget=settings.contact_budget,
        contact_cost=settings.contact_cost,
        saved_value=settings.saved_value,
        save_rate=save_rate.rate,
        control_share=settings.control_share,
        control_seed=settings.control_seed,
    )


def _in_force(
    settings: Settings, save_rate: SaveRate, ranking: Ranking, kept: Sequence[dt.date]
) -> dict[str, Any]:
    budget = settings.contact_budget
    return {
        "budget": "none" if budget is None else budget,
        "pause_days": settings.contact_pause_days,
        "control_share": settings.control_share,
        "save_rate": save_rate.rate,
        "save_rate_says": save_rate.says,
        "ranking": ranking.says,
        "kept_as_handed_over": ", ".join(map(str, kept)) or "none",
    }


def _lists(  # noqa: PLR0913, PLR0917 - the inputs of the asset
    lake: Lakehouse,
    dates: DateRange,
    kept: Sequence[dt.date],
    given: retention.Terms,
    predictions: DataFrame,
    reasons: DataFrame,
    features: DataFrame,
    by_uplift: uplift.Uplifts | None,
) -> DataFrame:
    """Return the lists of dates, each of which depends on those before it."""
    made: list[DataFrame] = []
    listed: dict[dt.date, DataFrame] = {}
    for day in dates.days():
        if day in kept:
            # Somebody has it: what is in the table must go on to say what they have.
            rows = lake.read(RETENTION_LIST, DateRange(day, day))
        else:
            scored, known = _on(predictions, day), _on(features, day)
            rows = retention.retention_list(
                scored,
                lake.read(CHURN_PREDICTIONS, _only(day - CHANGE_AFTER_DAYS * ONE_DAY)),
                _on(reasons, day),
                known,
                lake.read(USER_DAILY_ACTIVITY, DateRange(day - (VALUE_WINDOW_DAYS - 1) * ONE_DAY, day)),
                lake.read(USERS),
                _listed_near(lake, day, dates, kept, listed),
                given,
                by_uplift(scored, known) if by_uplift else None,
            )
        if day < dates.end:
            # Computed here and now, or each list would compute all before it again.
            rows = _collected(rows)
        made.append(rows)
        listed[day] = rows
    return reduce(lambda first, second: first.unionByName(second), made)


def _listed_near(
    lake: Lakehouse,
    day: dt.date,
    dates: DateRange,
    kept: Sequence[dt.date],
    listed: dict[dt.date, DataFrame],
) -> DataFrame:
    """Return the users of all lists that are too close to the day.

    Those of later dates as well, where an old list is made again: whom they name was or will be contacted.
    Of the dates of this run, though, only those before the day, and those that stay as they are.
    """
    reach = max(lake.settings.contact_pause_days - 1, 0)
    near = DateRange(day, day).widened(reach, reach)
    date = F.col("feature_date")
    others = lake.read(RETENTION_LIST, near).where(
        (date < F.lit(dates.start)) | (date > F.lit(dates.end)) | date.isin(*kept)
    )
    made = [rows for on, rows in listed.items() if near.start <= on and on not in kept]
    return reduce(
        lambda first, second: first.union(second), [one.select("user_id") for one in (others, *made)]
    )


def _on(rows: DataFrame, day: dt.date) -> DataFrame:
    return rows.where(F.col("feature_date") == F.lit(day))


def _only(day: dt.date) -> DateRange:
    return DateRange(day, day)


def _collected(rows: DataFrame) -> DataFrame:
    table: pa.Table = rows.toArrow()
    return rows.sparkSession.createDataFrame(table, rows.schema)


def _note(lake: Lakehouse, rows: list[handing_over.Row]) -> None:
    lake.write(DELIVERIES, _as_frame(lake, rows))


def _as_frame(lake: Lakehouse, rows: list[handing_over.Row]) -> DataFrame:
    return lake.spark.createDataFrame(
        [tuple(row[name] for name in DELIVERIES.column_names) for row in rows],
        ", ".join(f"{column.name} {column.type}" for column in DELIVERIES.columns),
    )
