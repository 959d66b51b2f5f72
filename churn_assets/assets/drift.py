"""The drift of features and scores from those of the training, and the checks of its limits."""

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dagster as dg
from pyspark.sql import DataFrame

from churn_assets import markdown
from churn_assets.asset_keys import asset_key
from churn_assets.assets.code_version import code_version
from churn_assets.assets.common import ON_SPARK, Assets, table_asset
from churn_assets.assets.dagster_partitions import ONE_RUN_PER_RANGE, dates_of_run, feature_dates
from churn_assets.assets.gold import reading_as
from churn_assets.dates import ONE_DAY, DateRange
from churn_assets.errors import ModelError
from churn_assets.lakehouse.lake import Lakehouse
from churn_assets.settings import Settings
from churn_assets.tables import CHURN_PREDICTIONS, FEATURE_COLUMNS, FEATURE_DRIFT, SCORE, USER_FEATURES
from churn_assets.transforms import drift as drift_transforms
from churn_assets.transforms.drift import JUDGED, NOT_JUDGED

FEATURE_CHECK = "feature_drift"
SCORE_CHECK = "score_drift"

# The columns that each check shows, and those that can make it fail.
SHOWN = {FEATURE_CHECK: tuple(FEATURE_COLUMNS), SCORE_CHECK: (SCORE,)}
CAN_FAIL = {FEATURE_CHECK: JUDGED, SCORE_CHECK: (SCORE,)}

# Only the end of a long range is judged: what drifted last spring is history.
LAST_DATES = 7

DESCRIPTIONS = {
    FEATURE_CHECK: "The features of the last dates are distributed as in the training of the model that "
    "scored them: no PSI reaches CHURN_DRIFT_FAIL, or, as a warning, CHURN_DRIFT_WARN. With few users chance "
    "alone may reach these; then what chance does is the limit. Not judged, as it grows with the calendar: "
    f"{', '.join(NOT_JUDGED)}.",
    SCORE_CHECK: "The churn probabilities of the last dates are distributed as those that the model was "
    "judged by, its holdout's, by the same limits.",
}

NOTHING_TO_JUDGE = "Nothing to judge: no date here was scored by a version whose training left a reference."

Row = Mapping[str, Any]


def drift_assets(settings: Settings) -> Assets:
    """Return the drift of each scored date."""

    @dg.asset(
        **table_asset(FEATURE_DRIFT, settings),
        partitions_def=feature_dates(settings),
        backfill_policy=ONE_RUN_PER_RANGE,
        ins=reading_as(FEATURE_DRIFT, settings, predictions=CHURN_PREDICTIONS, features=USER_FEATURES),
        code_version=code_version(drift_transforms.feature_drift),
    )
    def feature_drift(
        context: dg.AssetExecutionContext, predictions: DataFrame, features: DataFrame
    ) -> DataFrame:
        references, without = _references(predictions, settings)
        for reason in without:
            context.log.warning(reason)
        context.add_output_metadata({"compared_with_versions": ", ".join(map(str, references)) or "none"})
        return drift_transforms.feature_drift(features, predictions, references)

    return [feature_drift]


def drift_checks() -> dg.AssetChecksDefinition:
    """Both checks, as one step that reads a few rows of the table.

    In a run that writes the table they judge its dates, at most the last seven; executed alone, the last date
    that the table holds.
    """

    @dg.multi_asset_check(
        name="check_drift",
        specs=[
            dg.AssetCheckSpec(name, asset=asset_key(FEATURE_DRIFT), description=description)
            for name, description in DESCRIPTIONS.items()
        ],
        required_resource_keys=ON_SPARK,
        can_subset=True,
    )
    def check(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        lake: Lakehouse = context.resources.lakehouse
        rows = _rows(lake, dates_of_run(context.run.tags))
        for key in context.selected_asset_check_keys:
            yield judge(key.name, rows, lake.settings)

    return check


def judge(check: str, rows: Sequence[Row], settings: Settings) -> dg.AssetCheckResult:
    """Judge rows of ``tables.FEATURE_DRIFT`` by one check.

    The check fails where a PSI reaches ``settings.drift_fail``, and warns where one reaches
    ``settings.drift_warn``. Where the PSI by chance is larger than these limits, it is the limit.
    """
    judged = [row for row in rows if row["feature"] in CAN_FAIL[check]]
    failing = _reaching(settings.drift_fail, judged)
    drifted = failing or _reaching(settings.drift_warn, judged)
    limit = (
        ("CHURN_DRIFT_FAIL", settings.drift_fail) if failing else ("CHURN_DRIFT_WARN", settings.drift_warn)
    )
    description = "; ".join(_describe(row, *limit) for row in _furthest_by_feature(drifted))
    metadata: dict[str, Any] = {"dates": len({row["feature_date"] for row in judged})}
    if judged:
        metadata["largest_psi"] = max(row["psi"] for row in judged)
        metadata["psi"] = dg.MetadataValue.md(_as_markdown(rows, SHOWN[check]))
    return dg.AssetCheckResult(
        asset_key=asset_key(FEATURE_DRIFT),
        check_name=check,
        passed=not drifted,
        severity=dg.AssetCheckSeverity.WARN if drifted and not failing else dg.AssetCheckSeverity.ERROR,
        description=description or (None if judged else NOTHING_TO_JUDGE),
        metadata=metadata,
    )


def _references(
    predictions: DataFrame, settings: Settings
) -> tuple[dict[int, drift_transforms.Reference], list[str]]:
    """Return the reference of each version that scored these rows, and why other versions have none."""
    from churn_assets.model.registry.drift_reference import load_reference

    references, reasons = {}, []
    for version in sorted(row[0] for row in predictions.select("model_version").distinct().collect()):
        try:
            references[version] = load_reference(settings, version)
        except ModelError as reason:
            # A version registered by hand: it scores, so monitoring must not stop the daily run.
            reasons.append(str(reason))
    return references, reasons


def _rows(lake: Lakehouse, dates: DateRange | None) -> Sequence[Row]:
    """Return the rows of the run's last dates or, for a run without dates, of the table's last date."""
    rows_by_date = lake.partition_rows(FEATURE_DRIFT)
    if not rows_by_date:
        return []
    dates = dates or DateRange(max(rows_by_date), max(rows_by_date))
    start = max(dates.start, dates.end - (LAST_DATES - 1) * ONE_DAY)
    columns = ", ".join(FEATURE_DRIFT.column_names)
    return lake.query(
        f"SELECT {columns} FROM {{drift}} "  # noqa: S608 - columns of the contract, and dates
        f"WHERE feature_date >= date'{start}' AND feature_date <= date'{dates.end}' "
        "ORDER BY feature_date, feature",
        drift=FEATURE_DRIFT,
    )


def _reaching(limit: float, judged: Sequence[Row]) -> list[Row]:
    return [row for row in judged if row["psi"] >= max(limit, row["psi_by_chance"])]


def _furthest_by_feature(drifted: Sequence[Row]) -> list[Row]:
    furthest: dict[str, Row] = {}
    for row in sorted(drifted, key=lambda row: row["psi"], reverse=True):
        furthest.setdefault(row["feature"], row)
    return list(furthest.values())


def _describe(row: Row, setting: str, limit: float) -> str:
    chance = row["psi_by_chance"]
    why = f"{limit:g} ({setting})" if limit >= chance else f"{chance:.3f} (chance with {row['users']} users)"
    return f"{row['feature']} on {row['feature_date']}: PSI {row['psi']:.3f}, the limit is {why}"


def _as_markdown(rows: Sequence[Row], names: Sequence[str]) -> str:
    """Return a line for each date, newest first: each feature's PSI and, in brackets, that by chance."""
    by_date: dict[dt.date, dict[str, Row]] = {}
    for row in rows:
        by_date.setdefault(row["feature_date"], {})[row["feature"]] = row
    lines: list[list[str]] = []
    for date, of_date in sorted(by_date.items(), reverse=True):
        first_row = next(iter(of_date.values()))
        cells = [_cell(of_date.get(name)) for name in names]
        lines.append([str(date), str(first_row["users"]), str(first_row["model_version"]), *cells])
    return markdown.table(["feature_date", "users", "model_version", *names], lines)


def _cell(row: Row | None) -> str:
    # A version that was trained before a feature was added has no PSI of it.
    return f"{row['psi']:.3f} ({row['psi_by_chance']:.3f})" if row else "none"
