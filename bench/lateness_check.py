"""Whether ``bench.lateness`` reckons with what the platform really does where events come late, day by day.

Simulated events land in files of the days on which they arrive. A model is trained; then each of the next
days lands alone, and goes through the pipeline up to its scores. What the lake holds must be what
``bench.arrivals`` says: the features and labels of the past as recomputed, the features of a day as it comes,
and, after the last day, the scores of all as they were given.
Run: ``python -m bench.lateness_check``; exits with 1 if anything differs.
"""

import datetime as dt
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bench.arrivals import (
    EPOCH,
    Arrived,
    Frame,
    Log,
    arrival_days,
    arrived,
    as_known,
    features,
    labels,
    number,
    simulated_log,
)
from bench.backfill import pipeline
from bench.lakes import HORIZON, START, settings_of
from churn_assets.dates import ONE_DAY
from churn_assets.lakehouse.lake import Lakehouse
from churn_assets.settings import Settings
from churn_assets.tables import CHURN_LABELS, CHURN_PREDICTIONS, USER_FEATURES, Table

USERS, SEED, SHARE = 600, 1, 0.1
DAYS_BEFORE_TRAINING, LIVE_DAYS = 100, 3
KEYS = ["user_id", "feature_date"]


def main() -> str | None:
    """Go through the days; what differed, if anything did."""
    from churn_assets.resources import lakehouse

    with tempfile.TemporaryDirectory(prefix="churn-bench-") as folder:
        settings = settings_of(Path(folder))
        log = simulated_log(Path(folder), USERS, DAYS_BEFORE_TRAINING + LIVE_DAYS, START, SEED)
        arrival = arrival_days(log, SHARE, "days", np.random.default_rng(SEED))
        whole, lake = arrived(log, arrival), lakehouse(settings)
        training = number(START) + DAYS_BEFORE_TRAINING - 1
        _land(settings, log, arrival, range(number(START), training + 1))
        _run(settings, training, "ingest", "featurize", "train", "score")
        past = features(whole, training, number(START), training)
        wrong = _differences("features of all past dates", past, _of(lake, USER_FEATURES))
        mature = past[past["feature_date"] <= training - HORIZON]
        mature = mature[KEYS].assign(label=labels(whole, training, mature, HORIZON))
        wrong += _differences("labels", mature, _of(lake, CHURN_LABELS)[[*KEYS, "label"]])

        live = range(training + 1, training + 1 + LIVE_DAYS)
        for day in live:
            _land(settings, log, arrival, range(day, day + 1))
            _run(settings, day, "ingest", "featurize", "score")
            known = as_known(whole, [day])
            wrong += _differences(f"features of {_date(day)}", known, _of(lake, USER_FEATURES, day))
        wrong += _scores(settings, lake, whole, live)
    return "; ".join(wrong) or None


def _scores(settings: Settings, lake: Lakehouse, whole: Arrived, live: range) -> list[str]:
    """The scores of all live days, after the last, against the model's answers for features as known."""
    from churn_assets.model.logged import packaging
    from churn_assets.model.registry import registry

    registry.configure(settings)
    production = registry.production_version(settings)
    if production is None:
        raise SystemExit("No model was promoted; give more users or days.")
    import mlflow.pyfunc

    model = mlflow.pyfunc.load_model(registry.model_uri(settings, production.version))
    inputs = packaging.inputs(registry.model_uri(settings, production.version))
    scored = pd.concat([_of(lake, CHURN_PREDICTIONS, day) for day in live])[[*KEYS, "churn_probability"]]
    found = []
    last = features(whole, live[-1], live[0], live[-1])
    for what, rows in (("as known", as_known(whole, live)), ("as recomputed after the last day", last)):
        probability = np.asarray(model.predict(rows[inputs].astype("float64")), dtype="float64")
        asked = rows[KEYS].assign(churn_probability=probability)
        found.append(_differences(f"scores of {len(live)} days from features {what}", asked, scored))
    # Those of features as recomputed must differ, or nothing was late and nothing is shown.
    return found[0] if found[1] else [*found[0], "features recomputed later give the same scores"]


def _land(settings: Settings, log: Log, arrival: np.ndarray, days: range) -> None:
    """A file a day of arrival, with the lines that arrived on it."""
    landing = Path(settings.landing_root)
    landing.mkdir(parents=True, exist_ok=True)
    lines: Any = log.line
    for day in days:
        arriving = lines.take(np.flatnonzero(arrival == day)).to_pylist()
        (landing / f"events-{_date(day)}.json").write_bytes(b"".join(arriving))


def _run(settings: Settings, day: int, *stages: Any) -> None:
    """What the daily job does on the morning after a day."""
    now = dt.datetime.combine(_date(day) + ONE_DAY, dt.time(6), dt.UTC)
    for stage in stages:
        pipeline(settings, lambda made, stage=stage: made.run_stage(stage, now))


def _of(lake: Lakehouse, table: Table, day: int | None = None) -> Frame:
    rows = lake.read(table)
    if day is not None:
        rows = rows.where(f"feature_date = '{_date(day)}'")
    found = rows.toArrow().to_pandas()
    return found.assign(feature_date=[number(one) for one in found["feature_date"]])


def _differences(what: str, expected: Frame, found: Frame) -> list[str]:
    """Says how many rows were compared, and returns what differs."""
    both = [frame.set_index(KEYS).sort_index() for frame in (expected, found)]
    here, there = both[0], both[1]
    equal = here.index.equals(there.index) and np.allclose(
        here.to_numpy("float64"), there[here.columns].to_numpy("float64"), rtol=0, atol=1e-12, equal_nan=True
    )
    print(f"{what}: {len(here):,} rows, {'equal' if equal else 'different'}", flush=True)
    return [] if equal else [f"{what} differ"]


def _date(day: int) -> dt.date:
    return EPOCH + day * ONE_DAY


if __name__ == "__main__":
    sys.exit(main())
