"""Simulated users whose truth is known: how near the model comes to an oracle, and how well calibrated.

For each seed: simulate, run the pipeline from landing zone to scores, and judge the Production model on the
feature_dates that lie after every horizon its training looked at, beside recency alone (floor) and an oracle
that knows each user's true visit rate and hazard (ceiling).
Run: ``python -m bench.known_truth [--users 2000] [--days 180] [--seeds 1 2 3]``; exits 1 if a calibration
error is above 0.03 or an AUC does not lie between its floor and its ceiling.
"""

import argparse
import datetime as dt
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table as RichTable

from bench.backfill import pipeline
from bench.lakes import settings_of, simulated
from churn_assets.lakehouse.lake import Lakehouse
from churn_assets.sample import oracle
from churn_assets.settings import Settings
from churn_assets.tables import CHURN_LABELS, CHURN_PREDICTIONS, USER_FEATURES

LARGEST_CALIBRATION_ERROR = 0.03
CALIBRATION_BINS = 10

console = Console(width=110)


class Judged(NamedTuple):
    """One way to predict, on the out-of-time rows."""

    roc_auc: float
    brier: float
    calibration_error: float


class Truth(NamedTuple):
    """One seed: the floor, the model and the ceiling on the same rows."""

    seed: int
    rows: int
    users: int
    dates: str
    estimator: str
    seconds: float
    recency: Judged
    model: Judged
    oracle: Judged

    @property
    def share(self) -> float:
        """Where between floor and ceiling the model's AUC lies, 0 to 1."""
        return (self.model.roc_auc - self.recency.roc_auc) / (self.oracle.roc_auc - self.recency.roc_auc)

    @property
    def holds(self) -> bool:
        """Whether the model's probabilities are calibrated and its AUC lies where it can."""
        return 0 < self.share < 1 and self.model.calibration_error <= LARGEST_CALIBRATION_ERROR


def measure(folder: Path, seed: int, users: int, days: int) -> Truth:
    """Simulate into a lake of its own, run the pipeline, and judge."""
    from churn_assets.resources import lakehouse

    settings = settings_of(folder)
    started = time.perf_counter()
    truth_file = simulated(settings, users, days, seed)
    for stage in ("ingest", "featurize", "train", "score"):
        pipeline(settings, lambda made, stage=stage: made.run_stage(stage, dt.datetime.now(dt.UTC)))
    seconds = time.perf_counter() - started
    estimator, before, out_of_time = _scored(settings, lakehouse(settings))
    label = out_of_time["label"].to_numpy()
    return Truth(
        seed=seed,
        rows=len(out_of_time),
        users=out_of_time["user_id"].nunique(),
        dates=f"{out_of_time['feature_date'].min()} to {out_of_time['feature_date'].max()}",
        estimator=estimator,
        seconds=seconds,
        recency=_judged(label, _recency(before, out_of_time)),
        model=_judged(label, out_of_time["churn_probability"].to_numpy()),
        oracle=_judged(label, oracle.probabilities(out_of_time, truth_file, settings.horizon_days)),
    )


def _scored(settings: Settings, lake: Lakehouse) -> tuple[str, Any, Any]:
    """The Production model's estimator, the labelled rows it could train on, its scores of later ones."""
    from churn_assets.model import registry
    from churn_assets.model.versions import trained_versions

    production = registry.production_version(settings)
    if production is None:
        raise SystemExit("No model was promoted; give more users or days.")
    trained = trained_versions(settings, [int(production.version)])[int(production.version)]
    keys = ["user_id", "feature_date"]
    rows = (
        lake.read(USER_FEATURES)
        .join(lake.read(CHURN_LABELS), keys)
        .join(lake.read(CHURN_PREDICTIONS).select(*keys, "churn_probability"), keys)
        .toArrow()
        .sort_by([(key, "ascending") for key in reversed(keys)])
        .to_pandas()
    )
    last_day_of_label = rows["feature_date"] + dt.timedelta(days=settings.horizon_days)
    return (
        trained.estimator,
        rows[last_day_of_label <= trained.trained_until],
        rows[rows["feature_date"] > trained.trained_until],
    )


def _recency(before: Any, out_of_time: Any) -> Any:
    """What days_since_last_event alone says, as a probability."""
    from sklearn.linear_model import LogisticRegression

    column = ["days_since_last_event"]
    fitted = LogisticRegression().fit(before[column], before["label"])
    return fitted.predict_proba(out_of_time[column])[:, 1]


def _judged(label: Any, probability: Any) -> Judged:
    from sklearn.metrics import brier_score_loss, roc_auc_score

    bins = np.array_split(np.argsort(probability, kind="stable"), CALIBRATION_BINS)
    off = [abs(probability[rows].sum() - label[rows].sum()) for rows in bins]
    return Judged(
        roc_auc=float(roc_auc_score(label, probability)),
        brier=float(brier_score_loss(label, probability)),
        calibration_error=float(sum(off) / len(label)),
    )


def _table(found: list[Truth]) -> RichTable:
    table = RichTable("seed", "", box=None, pad_edge=False)
    for heading in ("AUC", "share of the way", "Brier", "calibration error"):
        table.add_column(heading, justify="right")
    for truth in found:
        ways = {"recency": truth.recency, truth.estimator: truth.model, "oracle": truth.oracle}
        for name, way in ways.items():
            share = f"{truth.share:.0%}" if way is truth.model else ""
            figures = (f"{way.roc_auc:.4f}", share, f"{way.brier:.4f}", f"{way.calibration_error:.4f}")
            table.add_row(str(truth.seed), name, *figures)
    return table


def main(arguments: Sequence[str] = ()) -> str | None:
    """Measure and print; what does not hold, if anything."""
    parser = argparse.ArgumentParser(prog="python -m bench.known_truth")
    parser.add_argument("--users", type=int, default=2_000)
    parser.add_argument("--days", type=int, default=180)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    asked = parser.parse_args(arguments)
    found = []
    for seed in asked.seeds:
        with tempfile.TemporaryDirectory(prefix="churn-bench-") as folder:
            truth = measure(Path(folder), seed, asked.users, asked.days)
        console.print(
            f"seed {seed}: {truth.rows:,} out-of-time rows of {truth.users:,} users, {truth.dates}; "
            f"all of it took {truth.seconds:.0f} s"
        )
        found.append(truth)
    console.print(_table(found))
    failed = [truth.seed for truth in found if not truth.holds]
    if not failed:
        return None
    return (
        f"Seeds {failed}: the AUC is not between floor and ceiling, or the calibration error is above "
        f"{LARGEST_CALIBRATION_ERROR}."
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
