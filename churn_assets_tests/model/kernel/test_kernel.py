"""Every estimator that may be served, beside its kernel: the same probabilities, row by row."""

import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from threadpoolctl import threadpool_limits

from churn_assets.model.candidates import calibration, entrants, estimators, fitting
from churn_assets.model.candidates.entrants import Entrant
from churn_assets.model.data.dataset import Frames
from churn_assets.model.kernel import kernel, program
from churn_assets.model.kernel.kernel import Kernel, kernel_of
from churn_assets.tables import FEATURE_COLUMNS, WINDOW_FEATURES
from churn_assets_tests.model.conftest import labelled_frame, without_numba

pytestmark = pytest.mark.usefixtures("one_thread")

FRAME = labelled_frame(users=300, dates=10).astype(dict.fromkeys(FEATURE_COLUMNS, "float64"))
FEATURES = FRAME.loc[:, FEATURE_COLUMNS]
FRAMES = Frames(FRAME, FRAME, FRAME)

ENTRANTS = {
    entrant.name: entrant
    for entrant in (
        *entrants.entrants(history=True),
        *(Entrant(name, name, estimators.DEFAULTS[name]) for name in ("logistic_regression",)),
    )
}
MAPS: tuple[calibration.Method, ...] = ("none", "sigmoid", "isotonic")
# scikit-learn's own trees, and not a sum that a matrix product may make in another order.
OF_TREES = {"hist_gradient_boosting", "gradient_boosting", *(name for name in ENTRANTS if "search" in name)}


@cache
def candidate(name: str) -> Any:
    made = fitting.fit(ENTRANTS[name], FRAMES)
    assert made.fitted is not None, made.error
    return made.fitted


@cache
def fitted(name: str, method: calibration.Method) -> Any:
    return calibration.with_bounded_map(candidate(name), FRAME, method)


ROWS_OF_A_KIND = 150


def _rows(kind: str) -> np.ndarray:
    random = np.random.default_rng(4)
    if kind == "of training":
        return FEATURES.sample(ROWS_OF_A_KIND, random_state=1).to_numpy()
    rows = np.floor(10 ** random.uniform(-1, 3, (ROWS_OF_A_KIND, len(FEATURE_COLUMNS))))
    if kind == "between two float32":
        nudges = random.choice([0, 1e-9, -1e-9, 3e-8, -3e-8, 6e-8], rows.shape)
        return FEATURES.sample(ROWS_OF_A_KIND, random_state=2).fillna(1.0).to_numpy() * (1 + nudges)
    share, value = {
        "ordinary": (0.0, 0.0),
        "zeros": (0.3, 0.0),
        "all zero": (1.0, 0.0),
        "negative": (0.2, -3.5),
        "huge": (0.02, 1e300),
        "infinite": (0.02, np.inf),
        "minus infinite": (0.02, -np.inf),
        "missing": (0.2, np.nan),
        "all missing": (1.0, np.nan),
    }[kind]
    return np.where(random.random(rows.shape) < share, value, rows)


ROWS = {
    kind: _rows(kind)
    for kind in (
        *("of training", "between two float32", "ordinary", "zeros", "all zero", "negative", "huge"),
        *("infinite", "minus infinite", "missing", "all missing"),
    )
}


def by_scikit_learn(estimator: Any, rows: np.ndarray) -> np.ndarray | None:
    """Its probabilities of label 1; None where it refuses one of the rows."""
    columns = pd.Index(FEATURE_COLUMNS)
    with np.errstate(all="ignore"):
        try:
            return estimator.predict_proba(pd.DataFrame(rows, columns=columns))[:, 1]
        except ValueError:
            return None


def translated(estimator: Any) -> Kernel:
    made = kernel_of(estimator)
    assert made is not None
    return made


@pytest.mark.parametrize(("name", "method"), [(name, method) for name in ENTRANTS for method in MAPS])
def test_a_kernel_gives_the_probabilities_of_scikit_learn(name: str, method: calibration.Method):
    made, tolerance = translated_once(name, method), 0.0 if name in OF_TREES else 1e-12
    for kind, rows in ROWS.items():
        scores, expected = made.predict(rows), by_scikit_learn(fitted(name, method), rows)
        if scores is not None:
            assert expected is not None, kind
            assert np.abs(scores - expected).max() <= tolerance, kind
        else:
            # scikit-learn refuses one of the rows for all.
            assert expected is None or np.isnan(expected).any(), kind
        if kind in {"of training", "ordinary", "zeros"}:
            assert scores is not None
            assert len(set(scores.tolist())) > 1


@pytest.mark.parametrize("name", [name for name in ENTRANTS if "search" not in name])
def test_rows_that_a_kernel_does_not_know_have_no_probability(name: str):
    made, estimator = translated_once(name, "isotonic"), fitted(name, "isotonic")
    for kind in ("negative", "huge", "infinite", "minus infinite", "missing", "all missing"):
        for row in ROWS[kind][:6]:
            score, expected = made.predict(row[None, :]), by_scikit_learn(estimator, row[None, :])
            if score is None:
                assert expected is None or np.isnan(expected).all(), row
            else:
                assert expected is not None, row
                assert abs(score - expected) <= 1e-12, row


@cache
def translated_once(name: str, method: calibration.Method) -> Kernel:
    return translated(fitted(name, method))


def test_every_estimator_that_can_be_named_is_among_these():
    assert {entrant.estimator_name for entrant in ENTRANTS.values()} == set(estimators.ESTIMATORS)


@pytest.mark.parametrize("method", MAPS)
@pytest.mark.parametrize("six", ["logistic_regression", "hist_gradient_boosting"])
def test_rows_without_a_history_are_scored_by_the_model_of_the_window(six: str, method: calibration.Method):
    window: Any = FRAME[["user_id", *WINDOW_FEATURES, "label"]]
    fallback = fitting.fit(Entrant(six, six, estimators.DEFAULTS[six]), Frames(window, window, window)).fitted
    together = fitting.with_fallback(
        fitted("average_with_bg_nbd", "none"), calibration.with_bounded_map(fallback, window, method)
    )
    lacking = np.random.default_rng(5).random(len(FEATURES)) < 0.5
    rows = FEATURES.to_numpy(copy=True)
    rows[lacking[:, None] & ~np.isin(FEATURE_COLUMNS, WINDOW_FEATURES)] = np.nan

    scores, expected = translated(together).predict(rows), by_scikit_learn(together, rows)

    assert scores is not None
    assert expected is not None
    assert np.abs(scores - expected).max() <= 1e-12
    alone = translated(fitted("average_with_bg_nbd", "none")).predict(rows)
    assert alone is not None
    assert (alone[~lacking] == scores[~lacking]).all()
    assert (alone[lacking] != scores[lacking]).all()


def test_many_rows_are_scored_as_one_by_one():
    made, rows = translated_once("average_with_bg_nbd", "isotonic"), ROWS["of training"]

    together = made.predict(rows)

    assert together is not None
    one_by_one = [made.predict(rows[[row]]) for row in range(len(rows))]
    assert together.tolist() == [scores[0] for scores in one_by_one if scores is not None]


def test_rows_may_be_read_only_and_in_any_layout():
    made, rows = translated_once("hist_gradient_boosting", "none"), ROWS["ordinary"]
    locked = np.asfortranarray(rows)
    locked.flags.writeable = False

    scores, expected = made.predict(locked), made.predict(rows)

    assert scores is not None
    assert expected is not None
    assert scores.tolist() == expected.tolist()


def test_of_no_rows_scikit_learn_is_asked_which_refuses_them():
    assert translated_once("hist_gradient_boosting", "none").predict(ROWS["ordinary"][:0]) is None


def test_a_threshold_of_doubles_parts_them_as_that_of_float32_does():
    random = np.random.default_rng(6)
    thresholds = np.concatenate([random.normal(0, 50, 2000), np.arange(-500.0, 500) / 2])
    moved = program._of_doubles(thresholds)
    nearest = thresholds.astype(np.float32)
    for neighbour in (
        nearest,
        np.nextafter(nearest, np.float32(np.inf)),
        np.nextafter(nearest, np.float32(-1e9)),
    ):
        middle = (nearest.astype(np.float64) + neighbour) / 2
        for values in (middle, np.nextafter(middle, np.inf), np.nextafter(middle, -np.inf), thresholds):
            assert ((values <= moved) == (values.astype(np.float32) <= thresholds)).all()


def _of_another_kind(kind: str) -> Any:
    from sklearn.dummy import DummyClassifier
    from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import MinMaxScaler, StandardScaler

    return {
        "forest": RandomForestClassifier(5, random_state=1),
        "dummy": DummyClassifier(),
        "categories": HistGradientBoostingClassifier(max_iter=2).set_params(categorical_features=[0]),
        "other order": make_pipeline(StandardScaler(), MinMaxScaler(clip=True), LogisticRegression()),
        "three classes": estimators.make("logistic_regression"),
    }[kind]


@pytest.mark.parametrize("kind", ["forest", "dummy", "categories", "other order", "three classes"])
def test_an_estimator_that_the_loops_do_not_know_has_no_kernel(kind: str):
    rows = FEATURES[WINDOW_FEATURES].clip(upper=200)
    label = np.arange(len(rows)) % 3 if kind == "three classes" else FRAME["label"]
    with threadpool_limits(1):
        estimator = _of_another_kind(kind).fit(rows, label)

        assert kernel_of(estimator) is None


def test_what_scikit_learn_calls_otherwise_one_day_has_no_kernel():
    estimator = fitting.fit(ENTRANTS["hist_gradient_boosting"], FRAMES).fitted
    assert kernel_of(estimator) is not None

    estimator.__dict__["renamed"] = estimator.__dict__.pop("is_categorical_")

    assert kernel_of(estimator) is None


def test_a_kernel_that_says_something_else_is_not_used(monkeypatch: pytest.MonkeyPatch):
    estimator = fitted("bg_nbd", "none")
    assert kernel_of(estimator) is not None
    say = Kernel.predict

    def slightly_more(self: Kernel, rows: np.ndarray) -> Any:
        scores = say(self, rows)
        return None if scores is None else scores + 1e-11

    monkeypatch.setattr(Kernel, "predict", slightly_more)

    assert kernel_of(estimator) is None


def test_a_file_holds_the_kernel_without_code(tmp_path: Path):
    made = translated_once("average_with_bg_nbd", "sigmoid")

    made.save(tmp_path / "kernel.npz")

    with np.load(tmp_path / "kernel.npz", allow_pickle=False) as content:
        assert {array.dtype.kind for array in dict(content).values()} <= set("iuf")
    read = kernel.load(tmp_path / "kernel.npz")
    assert read is not None
    scores, expected = read.predict(ROWS["ordinary"]), made.predict(ROWS["ordinary"])
    assert scores is not None
    assert expected is not None
    assert scores.tolist() == expected.tolist()


def test_a_file_of_another_format_is_not_read_nor_one_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    translated_once("bg_nbd", "none").save(tmp_path / "kernel.npz")

    monkeypatch.setattr(kernel, "FORMAT", 0)

    assert kernel.load(tmp_path / "kernel.npz") is None
    assert kernel.load(tmp_path / "none.npz") is None


def test_without_numba_there_is_no_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    translated_once("bg_nbd", "none").save(tmp_path / "kernel.npz")
    without_numba(monkeypatch)

    assert kernel.kernel_of(fitted("bg_nbd", "none")) is None
    assert kernel.load(tmp_path / "kernel.npz") is None


HITS = "from churn_assets.model.kernel import loops; print(sum(loops.score.stats.cache_hits.values()))"
NOWHERE = "from numba.core.caching import CacheImpl; CacheImpl._locator_classes = []"


def _cache_hits(cache_folder: Path, before: str = "") -> int:
    """How many loops a new process finds compiled."""
    asked = subprocess.run(
        [sys.executable, "-W", "error", "-c", f"{before}\n{HITS}"],
        env={**os.environ, "NUMBA_CACHE_DIR": str(cache_folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert asked.returncode == 0, asked.stderr
    return int(asked.stdout)


def test_the_loops_are_compiled_once(tmp_path: Path):
    assert [_cache_hits(tmp_path), _cache_hits(tmp_path)] == [0, 1]


def test_the_loops_are_compiled_also_where_no_cache_can_be_written(tmp_path: Path):
    assert _cache_hits(tmp_path, NOWHERE) == 0
    assert list(tmp_path.iterdir()) == []
