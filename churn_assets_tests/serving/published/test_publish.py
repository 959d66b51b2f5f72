"""From the registry to the server's folder, and back out of it with the same answers."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from churn_assets.errors import ModelError
from churn_assets.model.candidates import estimators
from churn_assets.serving.published.publish import in_a_process, publish
from churn_assets.serving.scoring import scorer
from churn_assets.serving.scoring.replies import BadRequestError
from churn_assets.settings import Settings
from churn_assets.tables import FEATURE_COLUMNS, HISTORY_OF_ALL, WINDOW_FEATURES
from churn_assets_tests.model.conftest import without_numba
from churn_assets_tests.serving.conftest import (
    BROKEN_PICKLE,
    FEATURES,
    FOREIGN,
    FRAME,
    HISTORY,
    MODELS,
    RECORD,
    THREE_CLASSES,
    WITH_HISTORY,
    WITH_ITS_HISTORY,
    knows_history,
    mlflow_answers,
)

# The boosted models agree to the last bit; a product of matrices may sum in another order.
TOLERANCE = {"gradient_boosting": 0.0, "hist_gradient_boosting": 0.0, "logistic_regression": 1e-12}


@pytest.mark.parametrize("version", MODELS, ids=[name for name, _ in MODELS.values()])
@pytest.mark.parametrize("rows", [1, 300])
def test_a_published_version_answers_as_mlflow_does(lake: Settings, tmp_path: Path, version: str, rows: int):
    target = tmp_path / version

    publish(lake, target, version, scorer.describe)
    answers = scorer.load(target, version).predict(FEATURES.head(rows).to_numpy())

    expected = mlflow_answers(lake, version, FEATURES.head(rows).to_dict("records"))
    assert answers.dtype == np.float64
    assert np.abs(answers - expected).max() <= TOLERANCE[MODELS[version][0]]
    # Constant answers would agree as well.
    assert rows == 1 or len(set(expected)) > 5


def test_a_version_says_which_columns_it_wants_and_where_it_came_from(lake: Settings, tmp_path: Path):
    import mlflow

    publish(lake, tmp_path / "1", "1", in_a_process)

    description = json.loads((tmp_path / "1" / scorer.DESCRIPTION_FILE).read_text())
    source = mlflow.MlflowClient().get_model_version("churn-prediction-model", "1").source
    assert description == {"columns": WINDOW_FEATURES, "optional": [], "source": source}
    assert sorted(file.name for file in tmp_path.iterdir() if file.name.startswith(".new")) == []


def test_a_version_of_histories_says_what_a_row_may_lack(lake: Settings, tmp_path: Path):
    publish(lake, tmp_path / "7", WITH_HISTORY, in_a_process)

    description = json.loads((tmp_path / "7" / scorer.DESCRIPTION_FILE).read_text())
    assert (description["columns"], description["optional"]) == (FEATURE_COLUMNS, list(HISTORY))


@pytest.mark.parametrize("version", ["2", WITH_HISTORY])
def test_what_a_release_before_histories_published_is_served_as_before(
    lake: Settings, tmp_path: Path, version: str
):
    publish(lake, tmp_path / version, version, scorer.describe)
    file = tmp_path / version / scorer.DESCRIPTION_FILE
    known = scorer.load(tmp_path / version, version)
    description = json.loads(file.read_text())
    del description["optional"]
    file.write_text(json.dumps(description))

    model = scorer.load(tmp_path / version, version)

    assert model.accepts_nan == known.accepts_nan == (version == "2")
    assert model.parser.required.optional == known.parser.required.optional
    assert model.parser.required.history == (HISTORY_OF_ALL if version == WITH_HISTORY else [])
    body = json.dumps({"inputs": [RECORD]}).encode()
    score = model.predict(model.parser.rows(body, lambda: None).matrix).tolist()
    assert score == mlflow_answers(lake, version, [RECORD])


@pytest.mark.parametrize("version", [*MODELS, WITH_HISTORY])
def test_what_a_release_before_kernels_published_gets_one_in_memory(
    lake: Settings, tmp_path: Path, version: str
):
    publish(lake, tmp_path / version, version, scorer.describe)
    known = scorer.load(tmp_path / version, version)
    (tmp_path / version / scorer.KERNEL_FILE).unlink()
    (tmp_path / version / scorer.TRAITS_FILE).unlink()

    model = scorer.load(tmp_path / version, version)

    assert model.kernel is not None
    rows = WITH_ITS_HISTORY.loc[:, model.parser.columns].head(20).to_numpy()
    assert model.predict(rows).tolist() == known.predict(rows).tolist()
    assert (model.accepts_nan, model.parser.required.optional, model.parser.required.history) == (
        known.accepts_nan,
        known.parser.required.optional,
        known.parser.required.history,
    )


SCORE_ELSEWHERE = """
import sys
from pathlib import Path
import numpy as np
from churn_assets.serving.scoring import scorer
model = scorer.load(Path(sys.argv[1]), "7")
print(model.predict(np.ones((2, len(model.parser.columns)))).tolist())
assert not {"sklearn", "pandas", "mlflow"} & {name.partition(".")[0] for name in sys.modules}
"""


def test_a_worker_scores_without_the_pickle_and_without_scikit_learn(lake: Settings, tmp_path: Path):
    folder = tmp_path / WITH_HISTORY
    publish(lake, folder, WITH_HISTORY, scorer.describe)
    expected = scorer.load(folder, WITH_HISTORY).predict(np.ones((2, len(FEATURE_COLUMNS)))).tolist()
    (folder / scorer.ESTIMATOR_FILE).unlink()

    asked = subprocess.run(
        [sys.executable, "-c", SCORE_ELSEWHERE, str(folder)], capture_output=True, text=True, check=False
    )

    assert asked.returncode == 0, asked.stderr
    assert json.loads(asked.stdout) == expected


def test_without_numba_a_version_is_published_and_answers(
    lake: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    expected = mlflow_answers(lake, "2", FEATURES.head(5).to_dict("records"))
    without_numba(monkeypatch)

    publish(lake, tmp_path / "2", "2", scorer.describe)
    model = scorer.load(tmp_path / "2", "2")

    assert model.kernel is None
    assert not (tmp_path / "2" / scorer.KERNEL_FILE).exists()
    assert model.predict(FEATURES.head(5).to_numpy()).tolist() == expected


def test_a_version_of_histories_may_lack_nothing_else_even_where_it_could(tmp_path: Path):
    import cloudpickle

    together = knows_history()
    without = estimators.make("hist_gradient_boosting", {"max_iter": 2}).fit(FEATURES, FRAME["label"])
    assert np.isfinite(without.predict_proba(FEATURES.head(1) * np.nan)).all()
    together.fallback = without
    (tmp_path / scorer.ESTIMATOR_FILE).write_bytes(cloudpickle.dumps(together))
    (tmp_path / scorer.DESCRIPTION_FILE).write_text(json.dumps(scorer.describe(tmp_path)))

    model = scorer.load(tmp_path, WITH_HISTORY)

    assert not model.accepts_nan
    body = json.dumps({"inputs": [{**RECORD, "account_age_days": None}]}).encode()
    with pytest.raises(BadRequestError, match="Row 0 has account_age_days = null; expected a number"):
        model.parser.rows(body, lambda: None)


def test_a_version_that_cannot_answer_without_a_history_is_refused(tmp_path: Path):
    import cloudpickle

    together = knows_history()
    together.fallback = estimators.make("logistic_regression").fit(FEATURES, np.arange(len(FEATURES)) % 3)
    (tmp_path / scorer.ESTIMATOR_FILE).write_bytes(cloudpickle.dumps(together))

    with pytest.raises(ModelError, match="cannot be loaded and asked"):
        scorer.describe(tmp_path)


def test_what_is_there_is_not_fetched_again(lake: Settings, tmp_path: Path):
    publish(lake, tmp_path / "1", "1", scorer.describe)

    def never(_folder: Path) -> dict[str, Any]:
        raise AssertionError("it was tried out again")

    publish(lake, tmp_path / "1", "1", never)


@pytest.mark.parametrize("left", ['{"columns": [], "source": "models:/m-other"}', "{", "{}", ""])
def test_what_another_registry_left_under_the_same_number_is_replaced(
    lake: Settings, tmp_path: Path, left: str
):
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / scorer.DESCRIPTION_FILE).write_text(left)

    publish(lake, tmp_path / "1", "1", scorer.describe)

    assert scorer.load(tmp_path / "1", "1").parser.columns == WINDOW_FEATURES


@pytest.mark.parametrize(
    ("version", "reason"),
    [
        (BROKEN_PICKLE, "The estimator cannot be loaded and asked: UnpicklingError"),
        (FOREIGN, "holds no estimator of churn_assets"),
        (THREE_CLASSES, "expected two probabilities"),
        ("99", "models:/churn-prediction-model/99 cannot be had: .*not found"),
    ],
)
def test_what_cannot_be_served_is_refused_and_leaves_nothing(
    lake: Settings, tmp_path: Path, version: str, reason: str
):
    with pytest.raises(ModelError, match=reason) as raised:
        publish(lake, tmp_path / "models" / version, version, scorer.describe)

    assert "\n" not in str(raised.value)
    assert not (tmp_path / "models" / version).exists()
    assert list((tmp_path / "models").glob(".new-*")) == []


@pytest.mark.parametrize(
    ("pickled", "reason"),
    [
        (b"this is no pickle", "cannot be loaded and asked"),
        # A pickle that ends the process which loads it.
        (b"cos\n_exit\n(I7\ntR.", "ends its process with 7"),
        (b"cos\n_exit\n(I0\ntR.", "ends its process with 0"),
    ],
    ids=["broken", "exits with 7", "exits with 0"],
)
def test_a_broken_model_ends_only_the_process_that_tries_it(tmp_path: Path, pickled: bytes, reason: str):
    (tmp_path / scorer.ESTIMATOR_FILE).write_bytes(pickled)

    with pytest.raises(ModelError, match=reason):
        in_a_process(tmp_path)
