"""Metrics of each way to predict, out of time: recency, BG/NBD, the last 30 days, everything, an oracle.

For simulated users (``--seeds``), and for a folder of Online Retail's daily CSV files (``--online-retail``):
everything from the landing zone to the labels, then the race as a training runs it. All are judged on the
same rows, the last mature dates. Intervals are of 95 %, by a bootstrap of users.
Run: ``python -m bench.models [--seeds 1 2 3] [--online-retail FOLDER]
[--label-event-types purchase] [--plot FILE.png]``
"""

import argparse
import datetime as dt
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pyspark.sql import DataFrame
from rich.console import Console
from rich.table import Table as RichTable

from bench.backfill import pipeline
from bench.lakes import settings_of, simulated
from churn_assets.model.candidates import calibration, competition
from churn_assets.model.data import dataset
from churn_assets.model.data.dataset import Frames
from churn_assets.model.gate import gate, judging
from churn_assets.model.metrics import bootstrap, curves, evaluation
from churn_assets.model.metrics.bootstrap import Ranking, Sampling, user_numbers
from churn_assets.model.report import plots
from churn_assets.sample.importer import import_files
from churn_assets.settings import Settings
from churn_assets.tables import CHURN_LABELS, USER_FEATURES
from churn_assets_tests.end_to_end.online_retail import MAPPING
from churn_assets_tests.sample import oracle

FIRST_DAY_OF_RETAIL = dt.date(2010, 12, 1)
SHOWN = {"roc_auc": "AUC", "brier": "Brier", "pr_auc": "PR AUC", "calibration_error": "calibration error"}
DRAWS = Sampling(replicates=200, seed=0)

console = Console(width=130)

Probabilities = Mapping[str, Any]


def of_simulated_users(folder: Path, seed: int, event_types: str = "") -> tuple[Frames, Probabilities]:
    """Simulate 2,000 users over 180 days; return the rows, and the probabilities of churn by model."""
    settings = settings_of(folder, label_event_types=event_types)
    truth_file = simulated(settings, 2_000, 180, seed)
    frames, probabilities = _compete(settings)
    if event_types:
        # The oracle knows when users come, not what they do then.
        return frames, probabilities
    truth = oracle.probabilities(frames.holdout, truth_file, settings.horizon_days)
    return frames, {**probabilities, "oracle": truth}


def of_online_retail(
    folder: Path, files: Sequence[Path], event_types: str = ""
) -> tuple[Frames, Probabilities]:
    """Do the same for the customers of Online Retail, whose true probabilities are unknown."""
    return _compete(landed_online_retail(folder, files, event_types))


def landed_online_retail(folder: Path, files: Sequence[Path], event_types: str = "") -> Settings:
    """Make a lake whose landing zone holds these files of Online Retail."""
    from churn_assets.resources import lakehouse

    settings = settings_of(folder, FIRST_DAY_OF_RETAIL, label_event_types=event_types)
    import_files(files, settings.landing_root, lambda: lakehouse(settings).spark, **MAPPING)
    return settings


def labelled_rows(settings: Settings) -> DataFrame:
    """Compute the rows that a training would read, in a lake whose events have only landed."""
    from churn_assets.resources import lakehouse

    for stage in ("ingest", "featurize"):
        pipeline(settings, lambda made, stage=stage: made.run_stage(stage, dt.datetime.now(dt.UTC)))
    lake = lakehouse(settings)
    return dataset.labelled_rows(lake.read(USER_FEATURES), lake.read(CHURN_LABELS))


def _compete(settings: Settings) -> tuple[Frames, Probabilities]:
    labelled = labelled_rows(settings)
    split = dataset.out_of_time_split(dataset.rows_by_date(labelled), settings.horizon_days)
    frames = dataset.frames(labelled, split, settings.training_rows)
    fitted = competition.compete(
        frames, horizon_days=settings.horizon_days, staying_types=settings.staying_types
    )
    best = judging.first_model(frames, fitted, judging.costs(settings))
    calibrated = competition.calibrate(best, frames.calibration)
    fallback, calibrated_fallback = competition.fit_fallback(frames)
    candidates = {name: judging.fitted_candidate(fitted, name) for name in ("recency", "bg_nbd")}
    baselines = {name: one.fitted for name, one in candidates.items() if one is not None}
    window = dataset.without_history(frames).holdout
    return frames, {
        **{name: calibration.churn_probability(one, frames.holdout) for name, one in baselines.items()},
        f"last 30 days ({fallback.name})": calibration.churn_probability(
            calibrated_fallback.estimator, window
        ),
        f"all ({best.name}, map {calibrated.method})": calibration.churn_probability(
            calibrated.estimator, frames.holdout
        ),
    }


def _table(title: str, frames: Frames, probabilities: Probabilities) -> RichTable:
    table = RichTable(title, box=None, pad_edge=False)
    for heading in SHOWN.values():
        table.add_column(heading, justify="right")
    user, label = user_numbers(frames.holdout["user_id"]), frames.holdout["label"].to_numpy("float64")
    rankings = [Ranking(user, label, np.asarray(one, "float64")) for one in probabilities.values()]
    drawn = bootstrap.paired_draws(rankings, int(user.max()) + 1, DRAWS)
    for (name, probability), draws in zip(probabilities.items(), drawn, strict=True):
        metrics = evaluation.evaluate(label, probability)
        cells = []
        for metric in SHOWN:
            low, high = bootstrap.interval(draws[metric])
            cells.append(f"{metrics[metric]:.4f} ({low:.3f} to {high:.3f})")
        table.add_row(name, *cells)
    return table


def _show(title: str, frames: Frames, probabilities: Probabilities) -> None:
    holdout = frames.holdout
    dates, users = holdout["feature_date"], holdout["user_id"].nunique()
    console.print(
        f"{title}: {len(holdout):,} rows of {users:,} users, {dates.min()} to {dates.max()}, "
        f"{holdout['label'].mean():.1%} churned; trained on {len(frames.train):,} rows"
    )
    console.print(_table(title, frames, probabilities))
    ours = next(one for name, one in probabilities.items() if name.startswith("all"))
    better = gate.beats(holdout, ours, np.asarray(probabilities["bg_nbd"]), evaluation.DEFAULT_COSTS)
    console.print(f"Better than BG/NBD beyond noise, in Brier score and AUC: {'yes' if better else 'no'}")
    if "oracle" in probabilities:
        models = (probabilities["recency"], ours, probabilities["oracle"])
        floor, model, ceiling = (evaluation.evaluate(holdout["label"], one)["roc_auc"] for one in models)
        console.print(
            f"Share of the way from recency to the oracle: {(model - floor) / (ceiling - floor):.0%}"
        )


def plot(file: Path, measured: Sequence[tuple[str, Frames, Probabilities]]) -> None:
    """Draw churn rates over predicted probabilities, a picture for each data set side by side."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(plots.STYLE):
        figure = Figure(figsize=(4.6 * len(measured), 4.2), layout="constrained")
        for axes, (title, frames, probabilities) in zip(
            figure.subplots(1, len(measured), squeeze=False)[0], measured, strict=True
        ):
            label = frames.holdout["label"].to_numpy("float64")
            axes.plot([0, 1], [0, 1], color=plots.COLOURS["muted"], linewidth=0.8)
            for (name, probability), style in zip(probabilities.items(), plots.LINES.values(), strict=False):
                curve = curves.reliability(label, np.asarray(probability))
                text = f"{name}, {curve.summary:.3f}"
                axes.plot(curve.x, curve.y, marker="o", markersize=4, linestyle=style, label=text)
            axes.set(
                title=title, xlabel="Predicted probability of churn", ylabel="Churn rate", aspect="equal"
            )
            axes.legend(loc="upper left", title="mean distance", alignment="left")
        figure.savefig(file, dpi=100, facecolor=plots.COLOURS["paper"])


def main(arguments: Sequence[str] = ()) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.models")
    parser.add_argument("--seeds", type=int, nargs="*", default=[1, 2, 3])
    parser.add_argument("--online-retail", type=Path)
    parser.add_argument("--plot", type=Path, help="PNG to draw calibration into")
    parser.add_argument("--label-event-types", default="", help="as CHURN_LABEL_EVENT_TYPES")
    options = parser.parse_args(arguments)
    types = options.label_event_types
    measured = []
    for seed in options.seeds:
        with tempfile.TemporaryDirectory(prefix="churn-bench-") as folder:
            probabilities = of_simulated_users(Path(folder), seed, types)
        measured.append((f"Simulated users, seed {seed}", *probabilities))
        _show(*measured[-1])
    if options.online_retail:
        files = sorted(options.online_retail.glob("*.csv"))
        with tempfile.TemporaryDirectory(prefix="churn-bench-") as folder:
            probabilities = of_online_retail(Path(folder), files, types)
        measured.append(("Online Retail", *probabilities))
        _show(*measured[-1])
    if options.plot:
        plot(
            options.plot,
            [(title, frames, _to_draw(probabilities)) for title, frames, probabilities in measured],
        )


def _to_draw(probabilities: Probabilities) -> Probabilities:
    wanted = {"all": "the model", "bg_nbd": "BG/NBD", "recency": "recency alone"}
    by_kind = {name.split(" ")[0]: probability for name, probability in probabilities.items()}
    return {shown: by_kind[kind] for kind, shown in wanted.items() if kind in by_kind}


if __name__ == "__main__":
    main(sys.argv[1:])
