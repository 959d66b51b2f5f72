import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from churn_assets.errors import ModelError
from churn_assets.model.candidates import calibration, estimators, rebuilding
from churn_assets.model.data.dataset import Frames
from churn_assets.model.logged import explain, packaging
from churn_assets.settings import Settings
from churn_assets.tables import FEATURE_COLUMNS, WINDOW_FEATURES
from churn_assets_tests.model.conftest import OpenMlflow, labelled_frame, without_numba

FRAME = labelled_frame(users=50, dates=4)[["user_id", "feature_date", *WINDOW_FEATURES, "label"]]
FEATURES = FRAME.loc[:, WINDOW_FEATURES].astype("float64")

# What a serving container does: it has the model's folder and its requirements, and not this project.
LOAD_ELSEWHERE = """
import json, sys, warnings

class NoProject:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0].startswith(("churn_assets", "dagster", "pyspark")):
            raise ModuleNotFoundError(f"{name} is not there")

sys.meta_path.insert(0, NoProject())
from mlflow.pyfunc import load_model
warnings.simplefilter("error")
import pandas
model = load_model(sys.argv[1])
frame = pandas.DataFrame(json.load(sys.stdin))
answer = model.predict(frame)
print(json.dumps([str(answer.dtype), *(value.hex() for value in answer.tolist())]))
assert "shap" not in sys.modules
why = model.predict(frame, params={"explain": True})
print(json.dumps([str(why.dtype), *why.tolist()]))
"""


@pytest.fixture
def model() -> Any:
    fitted = estimators.make("gradient_boosting", {"n_estimators": 5}).fit(FEATURES, FRAME["label"])
    return calibration.with_bounded_map(fitted, FRAME.assign(**FEATURES), "sigmoid")


@pytest.fixture
def folder(settings: Settings, open_mlflow: OpenMlflow, model: Any) -> Path:
    """The logged model's artifacts."""
    from mlflow.artifacts import download_artifacts

    with open_mlflow(settings) as mlflow:
        return Path(download_artifacts(packaging.log_churn_model(mlflow, model, FEATURES.head(2))))


def test_a_process_without_this_project_gets_the_same_probabilities_and_contributions_to_the_last_bit(
    folder: Path, model: Any, tmp_path: Path
):
    asked = subprocess.run(
        [sys.executable, "-c", LOAD_ELSEWHERE, str(folder)],
        input=json.dumps({name: FEATURES[name].tolist() for name in WINDOW_FEATURES}),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert asked.returncode == 0, asked.stderr
    probabilities, contributions = asked.stdout.splitlines()
    dtype, *answer = json.loads(probabilities)
    assert dtype == "float64"
    assert answer == [value.hex() for value in model.predict_proba(FEATURES)[:, 1].tolist()]
    dtype, *answer = json.loads(contributions)
    assert dtype == "float64"
    assert answer == explain.explainer(model).contributions(FEATURES.to_numpy()).tolist()
    assert asked.stderr == ""


def test_columns_are_found_by_name(folder: Path, model: Any):
    import mlflow.pyfunc
    from mlflow.pyfunc.model import PythonModelContext

    loaded = mlflow.pyfunc.load_model(str(folder)).unwrap_python_model()
    backwards = pd.DataFrame(
        {"stranger": 1.0, **{name: FEATURES[name] for name in reversed(WINDOW_FEATURES)}}
    )

    answer = loaded.predict(PythonModelContext({}, None), backwards)

    assert (answer == model.predict_proba(FEATURES)[:, 1]).all()


def test_the_kernel_answers_where_this_project_is(folder: Path, model: Any, monkeypatch: pytest.MonkeyPatch):
    import mlflow.pyfunc
    from sklearn.ensemble import VotingClassifier

    loaded = mlflow.pyfunc.load_model(str(folder))
    expected = model.predict_proba(FEATURES)[:, 1].tolist()

    def never(*_: Any) -> Any:
        raise AssertionError("scikit-learn was asked")

    with monkeypatch.context() as patched:
        patched.setattr(VotingClassifier, "predict_proba", never)
        answer = loaded.predict(FEATURES)

    assert answer.tolist() == expected


def test_without_numba_scikit_learn_answers(folder: Path, model: Any, monkeypatch: pytest.MonkeyPatch):
    import mlflow.pyfunc

    without_numba(monkeypatch)
    loaded = mlflow.pyfunc.load_model(str(folder))

    assert loaded.unwrap_python_model().kernel is None
    assert loaded.predict(FEATURES).tolist() == model.predict_proba(FEATURES)[:, 1].tolist()


def test_rows_that_scikit_learn_refuses_are_refused_with_its_reason(folder: Path):
    import mlflow.pyfunc

    loaded = mlflow.pyfunc.load_model(str(folder))

    with pytest.raises(ValueError, match="Input X contains NaN"):
        loaded.predict(FEATURES.head(3).assign(account_age_days=float("nan")))


def test_the_signature_is_six_doubles_in_and_one_out(folder: Path):
    from mlflow.models import Model

    signature = Model.load(str(folder)).signature

    assert [(spec["name"], spec["type"], spec["required"]) for spec in signature.inputs.to_dict()] == [
        (name, "double", True) for name in WINDOW_FEATURES
    ]
    assert signature.outputs.to_dict() == [{"type": "double", "required": True}]


def test_a_model_that_can_be_explained_says_so_and_is_not_asked_to_unless_told(folder: Path):
    from mlflow.models import Model

    assert Model.load(str(folder)).signature.params.to_dict() == [
        {"name": "explain", "type": "boolean", "default": False, "shape": None}
    ]
    assert packaging.can_explain(str(folder))


def test_one_that_cannot_is_logged_all_the_same_and_does_not_say_so(
    settings: Settings, open_mlflow: OpenMlflow
):
    from sklearn.dummy import DummyClassifier

    estimator = DummyClassifier(strategy="prior").fit(FEATURES, FRAME["label"])
    with open_mlflow(settings) as mlflow:
        uri = packaging.log_churn_model(mlflow, estimator, FEATURES.head(2))
        answer = mlflow.pyfunc.load_model(uri).predict(FEATURES.head(1))

        assert not packaging.can_explain(uri)
    assert answer.tolist() == [FRAME["label"].mean()]


def test_an_input_example_is_kept_for_serving(folder: Path):
    example = json.loads((folder / "serving_input_example.json").read_text())

    assert example["dataframe_split"]["columns"] == WINDOW_FEATURES
    assert example["dataframe_split"]["data"] == FEATURES.head(2).to_numpy().tolist()


def test_requirements_are_the_versions_that_trained(folder: Path):
    assert (folder / "requirements.txt").read_text().split() == [
        f"{package}=={version(package)}"
        for package in ("mlflow", "scikit-learn", "pandas", "numpy", "cloudpickle")
    ]


def test_a_model_without_a_signature_is_named_as_nobody_knows_what_it_takes(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("mlflow.models.get_model_info", lambda _: SimpleNamespace(signature=None))

    with pytest.raises(ModelError, match=r"^models:/bare/1 has no signature"):
        packaging.inputs("models:/bare/1")


def test_a_model_of_our_own_estimators_takes_rows_with_and_without_a_history_where_this_project_is_not(
    settings: Settings, open_mlflow: OpenMlflow, tmp_path: Path
):
    from mlflow.artifacts import download_artifacts
    from mlflow.models import Model

    frame = labelled_frame(users=60, dates=3).astype(dict.fromkeys(FEATURE_COLUMNS, "float64"))
    frames = Frames(frame, frame, frame)
    parts = [{"estimator": "bg_nbd", "params": {}}, {"estimator": "log_logistic_regression", "params": {}}]
    spec = {"estimator": "average", "params": {"estimators": parts}, "calibration": "none"}
    six = {"estimator": "logistic_regression", "params": {}, "calibration": "none"}
    whole = rebuilding.rebuild({**spec, "fallback": six}, frames, bounded=True)
    with open_mlflow(settings) as mlflow:
        logged = packaging.log_churn_model(mlflow, whole, frame.head(2))
        folder = download_artifacts(logged)

    needed = {spec["name"]: spec["required"] for spec in Model.load(folder).signature.inputs.to_dict()}
    assert needed == {name: name in WINDOW_FEATURES for name in FEATURE_COLUMNS}
    for columns in (FEATURE_COLUMNS, WINDOW_FEATURES):
        rows: Any = frame.head(40)[columns]
        asked = subprocess.run(
            [sys.executable, "-c", LOAD_ELSEWHERE, folder],
            input=json.dumps(
                {name: rows[name].astype(object).where(rows[name].notna(), None).tolist() for name in rows}
            ),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert asked.returncode == 0, asked.stderr
        answer = [float.fromhex(value) for value in json.loads(asked.stdout.splitlines()[0])[1:]]
        assert answer == whole.predict_proba(rows.reindex(columns=FEATURE_COLUMNS))[:, 1].tolist()
