"""What more training rows buy, and what they cost: the learning curve behind ``CHURN_TRAINING_ROWS``.

A training as the product runs it, on the same lake with more and more rows, judged on the same holdout: its
first model, which may be BG/NBD's four parameters, and the best of the others. ``draw`` 0 is the product's
own sample. In further draws all users have other ids, so that others are sampled and others calibrate: how
far the figures of one size are apart is chance.
Run: ``python -m bench.learning_curve [--seeds 1 2 3] [--users 6000] [--online-retail FOLDER] [--draws 2]``
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from rich.console import Console
from rich.table import Table as RichTable

from bench.lakes import settings_of, simulated
from bench.models import labelled_rows, landed_online_retail
from churn_assets.model.candidates import calibration, competition
from churn_assets.model.candidates.estimators import FLOOR, FORMULA
from churn_assets.model.data import dataset
from churn_assets.model.data.dataset import Split
from churn_assets.model.gate import judging
from churn_assets.model.metrics import evaluation
from churn_assets.settings import Settings

DAYS = 180
SIZES = (2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 200_000)
# Near the choice: larger samples leave hardly anybody out, and take minutes.
DRAWN_AGAIN = (10_000, 25_000, 50_000)
COLUMNS = {"roc_auc": "AUC", "brier": "Brier", "pr_auc": "PR AUC", "calibration_error": "ECE"}

console = Console(width=150)


class Trained(NamedTuple):
    """One training: how good its first model and its best learner are on the holdout, and its seconds.

    ``wall`` and ``cpu`` are those of collecting the rows, of the race, the calibration and the model of rows
    without a history; judging, the report and MLflow take the same for any number of rows.
    """

    size: int
    draw: int
    rows: int
    users: int
    dates: int
    names: tuple[str, str]
    first: dict[str, float]
    learner: dict[str, float]
    wall: float
    cpu: float


def curve(labelled: DataFrame, settings: Settings, sizes: Sequence[int], draws: int) -> Iterator[Trained]:
    """A training for each size and draw, up to the first size that takes all rows there are."""
    by_date = dataset.rows_by_date(labelled)
    split = dataset.out_of_time_split(by_date, settings.horizon_days)
    available = sum(rows for day, rows in by_date.items() if split.train.start <= day <= split.train.end)
    for size in sizes:
        for draw in range(draws if size in DRAWN_AGAIN else 1):
            yield _trained(_renamed(labelled, draw), split, settings, (size, draw))
        if size >= available:
            return


def _trained(
    labelled: DataFrame, split: Split, settings: Settings, size_and_draw: tuple[int, int]
) -> Trained:
    wall, cpu = time.perf_counter(), time.process_time()
    frames = dataset.frames(labelled, split, size_and_draw[0])
    candidates = competition.compete(
        frames, seconds=settings.training_seconds, horizon_days=settings.horizon_days
    )
    best = judging.first_model(frames, candidates, judging.costs(settings))
    first = competition.calibrate(best, frames.calibration)
    competition.fit_fallback(frames, settings.training_seconds)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    learner = next(one for one in candidates if one.estimator_name not in (FORMULA, FLOOR))

    def judged(estimator: Any) -> dict[str, float]:
        rows = frames.holdout
        return evaluation.evaluate(rows["label"], calibration.churn_probability(estimator, rows))

    return Trained(
        *size_and_draw,
        rows=len(frames.train),
        users=int(frames.train["user_id"].nunique()),
        dates=int(frames.train["feature_date"].nunique()),
        names=(best.name, learner.name),
        first=judged(first.estimator),
        learner=judged(competition.calibrate(learner, frames.calibration).estimator),
        wall=wall,
        cpu=cpu,
    )


def _renamed(labelled: DataFrame, draw: int) -> DataFrame:
    """The same rows; with another draw the users have other ids, of which a sample takes others."""
    return labelled.withColumn("user_id", F.xxhash64(F.lit(draw), "user_id")) if draw else labelled


def _table(title: str, trainings: Sequence[Trained]) -> RichTable:
    table = RichTable(title, box=None, pad_edge=False)
    for heading in ("draw", "rows", "users", "dates", "wall s", "CPU s"):
        table.add_column(heading, justify="right")
    for who in ("first model", "best learner"):
        table.add_column(who)
        for heading in COLUMNS.values():
            table.add_column(heading, justify="right")
    for one in trainings:
        counts = (f"{n:,}" for n in (one.size, one.draw, one.rows, one.users, one.dates))
        first, learner = (
            (name, *(f"{metrics[metric]:.4f}" for metric in COLUMNS))
            for name, metrics in zip(one.names, (one.first, one.learner), strict=True)
        )
        table.add_row(*counts, f"{one.wall:.1f}", f"{one.cpu:.1f}", *first, *learner)
    return table


def _summary(trainings: Sequence[Sequence[Trained]]) -> RichTable:
    """Of each size that all logs have: the mean over logs and draws, and how far apart draws are."""
    table = RichTable("mean of all logs", box=None, pad_edge=False)
    for who in ("first model", "best learner"):
        for heading in COLUMNS.values():
            table.add_column(f"{who}'s {heading}" if heading == "AUC" else heading, justify="right")
    table.add_column("CPU s", justify="right")
    sizes: list[int] = sorted(set.intersection(*({one.size for one in log} for log in trainings)))
    for size in sizes:
        logs = [[one for one in log if one.size == size] for log in trainings]
        cells = [
            _mean_and_spread([[getattr(one, who)[metric] for one in log] for log in logs])
            for who in ("first", "learner")
            for metric in COLUMNS
        ]
        table.add_row(f"{size:,}", *cells, f"{np.mean([one.cpu for log in logs for one in log]):.1f}")
    return table


def _mean_and_spread(logs: Sequence[Sequence[float]]) -> str:
    mean = np.mean([np.mean(log) for log in logs])
    if min(map(len, logs)) < 2:
        return f"{mean:.4f}"
    return f"{mean:.4f} ± {np.sqrt(np.mean([np.var(log, ddof=1) for log in logs])):.4f}"


def main(arguments: Sequence[str] = ()) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.learning_curve")
    parser.add_argument("--seeds", type=int, nargs="*", default=[1, 2, 3])
    parser.add_argument("--users", type=int, default=6_000, help="of a simulated log of 180 days")
    parser.add_argument("--online-retail", type=Path)
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--draws", type=int, default=2)
    options = parser.parse_args(arguments)
    trainings: list[list[Trained]] = []

    def measure(title: str, settings: Settings) -> None:
        trainings.append(list(curve(labelled_rows(settings), settings, options.sizes, options.draws)))
        console.print(_table(title, trainings[-1]))

    for seed in options.seeds:
        with tempfile.TemporaryDirectory(prefix="churn-bench-") as folder:
            settings = settings_of(Path(folder))
            simulated(settings, options.users, DAYS, seed)
            measure(f"seed {seed}, {options.users:,} users", settings)
    if options.online_retail:
        files = sorted(options.online_retail.glob("*.csv"))
        with tempfile.TemporaryDirectory(prefix="churn-bench-") as folder:
            measure("Online Retail", landed_online_retail(Path(folder), files))
    console.print("± is the standard deviation of one draw")
    console.print(_summary(trainings))


if __name__ == "__main__":
    main(sys.argv[1:])
