"""Does live performance keep what the holdout promised, where events come late?

Of each log some events arrive 1 to 10 days late: a share of them each for itself (``events``), or all of a
user's day together (``days``). A model is trained at the end of a day as the platform does it: features of
past dates, recomputed from all that has arrived by then. Each of the next 30 days is scored as it comes, from
what has arrived by its end, and judged by what happened in the end. Beside it stand the same users and dates
with features recomputed from everything, which tells lateness from time; and a model trained on what was
known then: each date's features from what had arrived by its end. Rows, samples, fits and calibration are
the product's; of those that compete it is BG/NBD and boosting that are judged, whoever wins, so that no
difference is one of who won.
Run: ``python -m bench.lateness [--seeds 1 2 3 4 5] [--shares 0 0.02 0.1 0.3] [--online-retail FOLDER]``
"""

import argparse
import datetime as dt
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from rich.console import Console

from bench.arrivals import (
    IN_THE_END,
    Frame,
    Log,
    Together,
    arrival_days,
    arrived,
    as_known,
    features,
    ingested_log,
    labels,
    number,
    simulated_log,
)
from bench.lakes import HORIZON, START, settings_of
from bench.lateness_tables import Case, Found, Metrics, Way, differences, levels
from bench.models import FIRST_DAY_OF_RETAIL, landed_online_retail
from churn_assets.model.candidates import calibration, competition
from churn_assets.model.candidates.estimators import FORMULA
from churn_assets.model.data import dataset
from churn_assets.model.data.dataset import Frames
from churn_assets.model.metrics import bootstrap, evaluation
from churn_assets.model.metrics.bootstrap import Ranking, Sampling, user_numbers
from churn_assets.settings import Settings
from churn_assets.tables import FEATURE_COLUMNS

LIVE_DAYS = 30
DAYS_BEFORE_TRAINING = 180
# Its log ends on 9 December, so that the last live day's horizon is over.
TRAINING_OF_RETAIL = dt.date(2011, 10, 10)
JUDGED = (FORMULA, "hist_gradient_boosting")
KEYS = ["user_id", "feature_date"]

console = Console(width=150)


class Period(NamedTuple):
    """Days since 1970: the first of a log, and that at whose end a model is trained."""

    first: int
    training: int

    @property
    def live(self) -> range:
        """The days that are scored as they come."""
        return range(self.training + 1, self.training + 1 + LIVE_DAYS)


def measure(log: Log, period: Period, settings: Settings, case: Case, draw: Sampling) -> Found:
    """Train and score where a share comes late.

    Args:
        log: events up to a horizon after the last live day.
        period: when what happens.
        settings: of a lake, whose engine takes the samples.
        case: which share is late, and what is late together.
        draw: of who is late; and how often users are drawn again for the intervals.
    """
    arrival = arrival_days(log, case.share, case.together, np.random.default_rng([draw.seed, 10]))
    whole = arrived(log, arrival)
    mature = range(period.first, period.training - settings.horizon_days + 1)
    tables = {"recomputed": features(whole, period.training, mature[0], mature[-1])}
    if case.share:
        tables["as known"] = as_known(whole, mature)
    known = as_known(whole, period.live)
    everything = features(whole, IN_THE_END, period.live[0], period.live[-1])
    recomputed = known[KEYS].merge(everything, "left", KEYS, validate="1:1")
    live = _Live(known, recomputed, labels(whole, IN_THE_END, known, settings.horizon_days))
    unscored = 1 - len(known) / len(everything)

    ways: dict[tuple[str, str], Way] = {}
    asked: dict[tuple[str, str], np.ndarray] = {}
    drawn: dict[tuple[str, str], Metrics] = {}
    for how, rows in tables.items():
        frames, models = _trained(
            rows.assign(label=labels(whole, period.training, rows, settings.horizon_days)), settings
        )
        for who, model in models.items():
            asked[how, who] = _probability(model, live.known)
            of_recomputed = _probability(model, live.recomputed)
            ways[how, who] = Way(
                holdout=_judged(frames.holdout["label"], _probability(model, frames.holdout)),
                scored=_judged(live.label, asked[how, who]),
                recomputed=_judged(live.label, of_recomputed),
            )
            if not case.share or not draw.replicates:
                continue
            if how == "recomputed":
                drawn["lateness", who] = live.drawn(asked[how, who], of_recomputed, draw)
            else:
                drawn["mend", who] = live.drawn(asked[how, who], asked["recomputed", who], draw)
    return Found(unscored, ways, drawn)


class _Live(NamedTuple):
    """Rows that were scored, features as they were then and as all events make them, and what happened."""

    known: Frame
    recomputed: Frame
    label: np.ndarray

    def drawn(self, one: np.ndarray, other: np.ndarray, draw: Sampling) -> dict[str, Any]:
        """The differences of the first's metrics from the second's, users drawn again and again."""
        user, label = user_numbers(self.known["user_id"]), self.label.astype("float64")
        users = int(user.max()) + 1
        first, second = bootstrap.paired_draws([Ranking(user, label, p) for p in (one, other)], users, draw)
        by_user, rows = np.bincount(user, one - other), np.bincount(user)
        surplus = [weight @ by_user / (weight @ rows) for weight in draw.draws(users)]
        return {"surplus": np.array(surplus), **{name: first[name] - second[name] for name in first}}


def _trained(rows: Frame, settings: Settings) -> tuple[Frames, dict[str, Any]]:
    """The models of these rows that are judged, by name, and the rows."""
    from churn_assets.resources import lakehouse

    spark: Any = lakehouse(settings).spark
    dates = pa.array(rows["feature_date"].to_numpy().astype("int32")).cast(pa.date32())
    table = pa.Table.from_pandas(rows[["user_id", *FEATURE_COLUMNS, "label"]], preserve_index=False)
    labelled = spark.createDataFrame(table.add_column(1, "feature_date", dates))
    split = dataset.out_of_time_split(dataset.rows_by_date(labelled), settings.horizon_days)
    frames = dataset.frames(labelled, split, settings.training_rows)
    found = competition.compete(
        frames, horizon_days=settings.horizon_days, trials=0, with_article_model=False
    )
    return frames, {
        one.name: competition.calibrate(one, frames.calibration).estimator
        for one in found
        if one.name in JUDGED
    }


def _probability(model: Any, rows: Frame) -> np.ndarray:
    return calibration.churn_probability(model, rows[FEATURE_COLUMNS].astype("float64"))


def _judged(label: Any, probability: np.ndarray) -> Metrics:
    surplus = float(probability.mean() - np.mean(label))
    return {"surplus": surplus, **evaluation.evaluate(label, probability)}


def simulated(users: int, seeds: Sequence[int]) -> Iterator[tuple[Log, Period, Settings, int]]:
    """Logs of as many populations as there are seeds."""
    days = DAYS_BEFORE_TRAINING + LIVE_DAYS + HORIZON
    first = number(START)
    for seed in seeds:
        with tempfile.TemporaryDirectory(prefix="churn-bench-") as folder:
            log = simulated_log(Path(folder), users, days, START, seed)
            yield log, Period(first, first + DAYS_BEFORE_TRAINING - 1), settings_of(Path(folder)), seed


def online_retail(folder: Path, seeds: Sequence[int]) -> Iterator[tuple[Log, Period, Settings, int]]:
    """One log of people; of seeds only who is late."""
    with tempfile.TemporaryDirectory(prefix="churn-bench-") as temporary:
        settings = landed_online_retail(Path(temporary), sorted(folder.glob("*.csv")))
        log = ingested_log(settings)
        for seed in seeds:
            yield log, Period(number(FIRST_DAY_OF_RETAIL), number(TRAINING_OF_RETAIL)), settings, seed


def main(arguments: Sequence[str] = ()) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.lateness")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--shares", type=float, nargs="+", default=[0, 0.02, 0.1, 0.3])
    parser.add_argument("--together", choices=("events", "days"), nargs="+", default=["events", "days"])
    parser.add_argument("--users", type=int, default=2_000)
    parser.add_argument("--online-retail", type=Path)
    parser.add_argument(
        "--draws", type=int, default=0, help="of users, for intervals where all logs have the same"
    )
    asked = parser.parse_args(arguments)
    started = time.monotonic()
    kinds: list[Together] = asked.together
    shares = [share for share in asked.shares if share]
    cases = [Case(0.0, kinds[0]), *(Case(share, kind) for kind in kinds for share in shares)]
    found: dict[Case, list[Found]] = {case: [] for case in cases}
    retail, users = asked.online_retail, asked.users
    for log, period, settings, seed in (
        online_retail(retail, asked.seeds) if retail else simulated(users, asked.seeds)
    ):
        for case in cases:
            found[case].append(measure(log, period, settings, case, Sampling(asked.draws, seed)))
            console.print(f"seed {seed}, {case}: {time.monotonic() - started:.0f} s", style="dim")
    for table in (*levels(found), *differences(found)):
        console.print(table)


if __name__ == "__main__":
    main(sys.argv[1:])
