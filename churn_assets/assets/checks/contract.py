"""The checks of a table's contract: one step for each table, in one pass over its rows."""

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dagster as dg
from pyspark.sql import DataFrame

from churn_assets import markdown
from churn_assets.asset_keys import asset_key
from churn_assets.assets.checks.volume import volumes
from churn_assets.assets.common import ON_SPARK, is_written
from churn_assets.assets.dagster_partitions import dates_of_run
from churn_assets.dates import DateRange
from churn_assets.event_days import ranges
from churn_assets.lakehouse import coverage
from churn_assets.lakehouse.computed_dates.blocking import note_checks
from churn_assets.lakehouse.freshness import DATED_TABLES, last_date
from churn_assets.lakehouse.lake import Lakehouse
from churn_assets.lakehouse.newest_ingestion import newest_ingestion
from churn_assets.partitions import last_complete_day
from churn_assets.tables import (
    CHURN_LABELS,
    CHURN_PREDICTIONS,
    EVENTS,
    GATED,
    USER_DAILY_ACTIVITY,
    USER_FEATURES,
    Table,
)
from churn_assets.transforms import conformance

NOT_NULL = "not_null"
UNIQUE_KEY = "unique_key"
VALUES = "values"
REFERENCES = "references"
VOLUME = "volume"
LATEST_DATE = "latest_date"
SILENT_DAYS = "silent_days"

BLOCKING_CHECKS = (NOT_NULL, UNIQUE_KEY, VALUES)

WITH_VOLUME = (EVENTS, USER_DAILY_ACTIVITY, USER_FEATURES, CHURN_PREDICTIONS)

DESCRIPTIONS = {
    NOT_NULL: "Columns that must have a value have one.",
    UNIQUE_KEY: "No key occurs twice.",
    VALUES: "Values lie in the contract's ranges and keep its rules.",
    REFERENCES: "Every row is of somebody whom the upstream table knows.",
    VOLUME: "Each date has between half and double the rows of the same weekday in the four weeks before; "
    "of the last seven dates of the run. A warning.",
    LATEST_DATE: "The table holds the last date that is due, whatever was written last.",
    SILENT_DAYS: "No date lacks its label because its horizon has too many days with next to no events. "
    "A warning; all silent days of the data are in its metadata.",
}


def contract_checks(table: Table) -> dg.AssetChecksDefinition:
    """Return all checks of one table, as one step.

    In a run that writes the table they check what it wrote: the dates of the run, or else the newest
    ingestion. Executed alone they check the whole table.
    """

    @dg.multi_asset_check(
        name=f"check_{'__'.join(asset_key(table).path)}",
        specs=[_spec(table, name) for name in names(table)],
        required_resource_keys=ON_SPARK,
        can_subset=True,
    )
    def check(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        lake: Lakehouse = context.resources.lakehouse
        selected = {key.name for key in context.selected_asset_check_keys}
        now, dates = dt.datetime.now(dt.UTC), _dates_of_run(context.run.tags, table)
        if selected - {VOLUME, LATEST_DATE, SILENT_DAYS}:
            newest_only = is_written(context, table)
            results = list(_row_results(lake, table, dates, newest_only=newest_only, selected=selected))
            if table in GATED:
                # Before Dagster has the results: until then the ledger calls the rows unchecked.
                _note_results(lake, table, dates, results)
            yield from results
        if VOLUME in selected:
            yield _volume_result(lake, table, dates, last_complete_day(now))
        if SILENT_DAYS in selected:
            yield _silent_days_result(lake, table, now)
        if LATEST_DATE in selected:
            last = last_date(lake, table, now)
            yield dg.AssetCheckResult(
                asset_key=asset_key(table),
                check_name=LATEST_DATE,
                passed=last.is_fresh,
                description=last.says,
                metadata={"held": str(last.date), "due": str(last.due)},
            )

    return check


def names(table: Table) -> list[str]:
    """Return the names of a table's checks, which follow from its contract."""
    has = {
        NOT_NULL: any(not column.nullable for column in table.columns),
        UNIQUE_KEY: bool(table.key),
        VALUES: any(not rule.startswith(conformance.NOT_NULL) for rule in conformance.rules(table)),
        REFERENCES: table.references is not None,
        VOLUME: table in WITH_VOLUME,
        LATEST_DATE: table in DATED_TABLES,
        SILENT_DAYS: table is CHURN_LABELS,
    }
    return [name for name, is_there in has.items() if is_there]


def _spec(table: Table, name: str) -> dg.AssetCheckSpec:
    return dg.AssetCheckSpec(
        name,
        asset=asset_key(table),
        description=DESCRIPTIONS[name],
        blocking=table in GATED and name in BLOCKING_CHECKS,
        additional_deps=[asset_key(table.references)] if table.references and name == REFERENCES else None,
    )


def _dates_of_run(tags: Mapping[str, str], table: Table) -> DateRange | None:
    return dates_of_run(tags) if table.reads else None


def _row_results(
    lake: Lakehouse, table: Table, dates: DateRange | None, *, newest_only: bool, selected: set[str]
) -> Iterator[dg.AssetCheckResult]:
    if dates is None and newest_only and "_ingested_at" in table.column_names:
        rows, scope = newest_ingestion(lake, table), "newest ingestion"
    else:
        rows, scope = lake.read(table, dates), f"{dates}" if dates else "whole table"
    referenced = None
    if table.references:
        # A referenced table with the same dates is cut to them, too.
        same_dates = table.references.partition_column == table.partition_column
        referenced = lake.read(table.references, dates if same_dates else None)
    counted = conformance.violations(table, rows, referenced).collect()[0].asDict()
    by_rule = conformance.by_rule(table, counted)
    nulls = {rule: n for rule, n in by_rule.items() if rule.startswith(conformance.NOT_NULL)}
    repeated = conformance.repeated_keys(table, rows) if UNIQUE_KEY in selected else 0
    broken = {
        NOT_NULL: nulls,
        UNIQUE_KEY: {f"({', '.join(table.key)}) occurs twice": repeated},
        VALUES: {rule: n for rule, n in by_rule.items() if rule not in nulls},
        REFERENCES: {f"not in {table.references}": counted[conformance.UNKNOWN] or 0},
    }
    for name in broken.keys() & selected:
        violations = {rule: n for rule, n in broken[name].items() if n}
        metadata: dict[str, Any] = {"rows": counted[conformance.ROWS] or 0, "scope": scope, **violations}
        if violations and name in (NOT_NULL, VALUES):
            metadata["examples"] = dg.MetadataValue.md(_as_markdown(conformance.examples(table, rows)))
        yield dg.AssetCheckResult(
            asset_key=asset_key(table),
            check_name=name,
            passed=not violations,
            description="; ".join(f"{rule}: {n} of {metadata['rows']} rows" for rule, n in violations.items())
            or None,
            metadata=metadata,
        )


def _note_results(
    lake: Lakehouse, table: Table, dates: DateRange | None, results: Sequence[dg.AssetCheckResult]
) -> None:
    """Note the results of the blocking checks in the ledger, with the dates that fail."""
    passed = {
        str(result.check_name): result.passed for result in results if result.check_name in BLOCKING_CHECKS
    }
    failing = []
    if not all(passed.values()):
        failing = conformance.failing_dates(table, lake.read(table, dates)).collect()
    if passed:
        note_checks(lake, table, dates, passed, {row["day"] for row in failing})


def _volume_result(
    lake: Lakehouse, table: Table, dates: DateRange | None, last_complete: dt.date
) -> dg.AssetCheckResult:
    rows_by_day = lake.partition_rows(table)
    # A day that is not over rightly has fewer events than others.
    last = min(max(rows_by_day, default=last_complete), last_complete)
    judged = volumes(rows_by_day, min(dates.end, last) if dates else last, dates.start if dates else None)
    odd = [volume for volume in judged if volume.is_odd]
    return dg.AssetCheckResult(
        asset_key=asset_key(table),
        check_name=VOLUME,
        passed=not odd,
        severity=dg.AssetCheckSeverity.WARN,
        description="; ".join(f"{v.day}: {v.rows} rows, usually {v.usual:g}" for v in odd) or None,
        metadata={"dates": len(judged), "odd_dates": len(odd)},
    )


def _silent_days_result(lake: Lakehouse, table: Table, now: dt.datetime) -> dg.AssetCheckResult:
    days = coverage.covered_days(lake, now)
    dates = DateRange(days.first, days.last) if days.first and days.last else None
    unlabelled = coverage.unlabelled(days, dates, lake.settings) if dates else []
    return dg.AssetCheckResult(
        asset_key=asset_key(table),
        check_name=SILENT_DAYS,
        passed=not unlabelled,
        severity=dg.AssetCheckSeverity.WARN,
        description=" ".join(coverage.in_words(days, lake.settings)) or None,
        metadata={
            "silent_days": len(days.silent),
            "silent": ", ".join(str(run) for run, _ in days.silences) or "none",
            "unlabelled_dates": f"{len(unlabelled)}: {ranges(unlabelled)}" if unlabelled else "0",
        },
    )


def _as_markdown(rows: DataFrame) -> str:
    return markdown.table(rows.columns, [[markdown.cell(value) for value in row] for row in rows.collect()])
