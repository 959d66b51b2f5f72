"""The checks that the model is still as good as on its holdout: by outcomes, and before there are any."""

import datetime as dt
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import dagster as dg
from pyspark.sql import functions as F

from churn_assets import markdown
from churn_assets.asset_keys import asset_key
from churn_assets.assets.common import ON_SPARK
from churn_assets.assets.dagster_partitions import dates_of_run
from churn_assets.dates import DateRange
from churn_assets.lakehouse.lake import Lakehouse
from churn_assets.model.metrics.expected import expected_brier, expected_churn_rate, expected_roc_auc
from churn_assets.model.metrics.performance import (
    Complaint,
    Counts,
    Performance,
    auc_by_chance,
    auc_complaint,
    complaints,
    realised,
    too_few,
)
from churn_assets.model.registry.versions import TrainedVersion, trained_versions
from churn_assets.tables import CHURN_PREDICTIONS, PREDICTION_OUTCOMES
from churn_assets.transforms.outcomes import counted_by_probability

PERFORMANCE = "performance"
EXPECTED_PERFORMANCE = "expected_performance"

# A version is judged on this many out-of-time dates: older ones say little about today.
LAST_DATES = 30

Metadata = dict[str, Any]


class Judged(NamedTuple):
    """One version's performance on the dates that it scored."""

    version: int
    dates: DateRange
    performance: Performance


class Scored(NamedTuple):
    """The metrics to expect from the probabilities of one date."""

    version: int
    users: int
    roc_auc: float
    brier: float
    churn_rate: float


def performance() -> dg.AssetChecksDefinition:
    """Return the check of outcomes: AUC against the holdout's, and calibration."""

    @dg.asset_check(
        name=PERFORMANCE,
        asset=asset_key(PREDICTION_OUTCOMES),
        required_resource_keys=ON_SPARK,
        description="Over the last 30 out-of-time feature_dates, each version's AUC is not far below its "
        "holdout's, and its probabilities come true. Limits: CHURN_AUC_DROP_*, CHURN_CALIBRATION_*.",
    )
    def check(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        lake: Lakehouse = context.resources.lakehouse
        judged = _judged(lake)
        if not judged:
            return dg.AssetCheckResult(passed=True, description="No out-of-time prediction has an outcome.")
        trained = trained_versions(lake.settings, [one.version for one in judged])
        objections = {
            one: complaints(one.performance, _holdout_roc_auc(trained, one.version), lake.settings)
            for one in judged
        }
        levels = {complaint.level for listed in objections.values() for complaint in listed}
        metadata = [_of_version(one, _holdout_roc_auc(trained, one.version)) for one in judged]
        return dg.AssetCheckResult(
            passed=not levels,
            severity=dg.AssetCheckSeverity.ERROR if "fail" in levels else dg.AssetCheckSeverity.WARN,
            description=" ".join(_sentence(one, listed) for one, listed in objections.items()),
            # Of the newest version one by one, so that Dagster plots them; of all as a table.
            metadata=metadata[-1] | {"by_version": dg.MetadataValue.md(_as_markdown(metadata))},
        )

    return check


def expected_performance() -> dg.AssetChecksDefinition:
    """Return the check of fresh predictions, a horizon before their labels: it warns and never fails."""

    @dg.asset_check(
        name=EXPECTED_PERFORMANCE,
        asset=asset_key(CHURN_PREDICTIONS),
        required_resource_keys=ON_SPARK,
        description="The AUC, Brier score and churn rate that the last date's probabilities lead one to "
        "expect. Warns where the AUC is further below the holdout's than CHURN_AUC_DROP_WARN.",
    )
    def check(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        lake: Lakehouse = context.resources.lakehouse
        day = _last_day(context, lake)
        scored = _scored(lake, day) if day else None
        if day is None or scored is None:
            return dg.AssetCheckResult(passed=True, description="No user was scored.")
        holdout = _holdout_roc_auc(trained_versions(lake.settings, [scored.version]), scored.version)
        complaint = _objection(scored, holdout, lake)
        name = f"Version {scored.version}, {day}"
        return dg.AssetCheckResult(
            passed=complaint is None,
            severity=dg.AssetCheckSeverity.WARN,
            description=f"{name}: {complaint.message}."
            if complaint
            else f"{name}: AUC {scored.roc_auc:.3f} expected.",
            metadata=_known(
                {
                    "model_version": scored.version,
                    "feature_date": str(day),
                    "users": scored.users,
                    "expected_roc_auc": scored.roc_auc,
                    "expected_brier": scored.brier,
                    "expected_churn_rate": scored.churn_rate,
                    "holdout_roc_auc": holdout,
                }
            ),
        )

    return check


def _scored(lake: Lakehouse, day: dt.date) -> Scored | None:
    """Return the metrics to expect of one date's scores, all of one version; None where there are none."""
    rows = lake.read(CHURN_PREDICTIONS, DateRange(day, day)).select("churn_probability", "model_version")
    scores = rows.toArrow()
    if scores.num_rows == 0:
        return None
    probability = scores["churn_probability"].to_numpy()
    return Scored(
        version=scores["model_version"][0].as_py(),
        users=scores.num_rows,
        roc_auc=expected_roc_auc(probability),
        brier=expected_brier(probability),
        churn_rate=expected_churn_rate(probability),
    )


def _objection(scored: Scored, holdout_roc_auc: float | None, lake: Lakehouse) -> Complaint | None:
    if too_few(scored.users, scored.roc_auc):
        return None
    churners = scored.users * scored.churn_rate
    by_chance = auc_by_chance(scored.roc_auc, churners, scored.users - churners)
    return auc_complaint("expected AUC", scored.roc_auc, by_chance, holdout_roc_auc, lake.settings)


def _judged(lake: Lakehouse) -> list[Judged]:
    """Judge each version on the last out-of-time dates that it scored, oldest version first."""
    outcomes = lake.read(PREDICTION_OUTCOMES).where("is_out_of_time")
    scored = outcomes.groupBy("model_version", "feature_date").agg(F.count(F.lit(1)).alias("rows")).collect()
    last = sorted({row["feature_date"] for row in scored})[-LAST_DATES:]
    if not last:
        return []
    recent = outcomes.where(F.col("feature_date") >= F.lit(last[0]))
    counted = counted_by_probability(recent).toArrow().to_pandas().sort_values("probability_bin")
    judged = []
    for version, bins in counted.groupby("model_version"):
        dates = [row["feature_date"] for row in scored if row["model_version"] == version]
        dates = sorted(set(dates) & set(last))
        counts = Counts(
            rows=bins["rows"].to_numpy("float64"),
            churned=bins["churned"].to_numpy("float64"),
            probability=(bins["probability"] / bins["rows"]).to_numpy("float64"),
            squares=bins["squares"].to_numpy("float64"),
            churned_probability=bins["churned_probability"].to_numpy("float64"),
        )
        # Horizons of dates that are close together share days.
        overlap = min(len(dates), lake.settings.horizon_days)
        judged.append(Judged(int(version), DateRange(dates[0], dates[-1]), realised(counts, overlap)))
    return judged


def _holdout_roc_auc(trained: Mapping[int, TrainedVersion], version: int) -> float | None:
    return trained[version].holdout.get("roc_auc") if version in trained else None


def _last_day(context: dg.AssetCheckExecutionContext, lake: Lakehouse) -> dt.date | None:
    """Return the last date of the run, or of the table where the check runs alone."""
    if dates := dates_of_run(context.run.tags):
        return dates.end
    return lake.details(CHURN_PREDICTIONS).last_date if lake.version(CHURN_PREDICTIONS) >= 0 else None


def _sentence(one: Judged, objections: list[Complaint]) -> str:
    name = f"Version {one.version}, {one.dates}"
    if too_few(one.performance.rows, one.performance.roc_auc):
        return f"{name}: {one.performance.rows} rows are too few, or all of one class, to judge it."
    if objections:
        return f"{name}: {'; '.join(complaint.message for complaint in objections)}."
    auc, error = one.performance.roc_auc, one.performance.calibration_error
    return f"{name}: AUC {auc:.3f}, calibration error {error:.3f}."


def _of_version(one: Judged, holdout_roc_auc: float | None) -> Metadata:
    figures = {"model_version": one.version, "dates": str(one.dates), **one.performance._asdict()}
    return _known({**figures, "holdout_roc_auc": holdout_roc_auc})


def _known(figures: Metadata) -> Metadata:
    """Drop the figures that are not known, as JSON has no NaN."""
    return {
        name: value
        for name, value in figures.items()
        if value is not None and not (isinstance(value, float) and math.isnan(value))
    }


def _as_markdown(versions: list[Metadata]) -> str:
    columns = list(max(versions, key=len))
    cells = [[_cell(figures.get(name, "")) for name in columns] for figures in versions]
    return markdown.table(columns, cells)


def _cell(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)
