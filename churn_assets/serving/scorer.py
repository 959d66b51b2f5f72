"""A model version as the server holds it: the estimator itself, without MLflow or pandas around it."""

import json
import pickle
import warnings
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from churn_assets.errors import ModelError
from churn_assets.serving.payload import Parser

ESTIMATOR_FILE = "estimator.pkl"
DESCRIPTION_FILE = "model.json"


@dataclass(frozen=True)
class ServedModel:
    """One version in memory, with what reads requests for it."""

    version: str
    estimator: Any
    parser: Parser
    takes_nan: bool = False

    def predict(self, matrix: np.ndarray) -> np.ndarray:
        """The probability of churn of each row (float64), as the version's MLflow model gives it."""
        import sklearn

        # What these would look at, for a tenth of an answer's time, has been looked at: see payload.py.
        # At each call, which takes 0.2 us: scikit-learn keeps it by thread, and many may answer.
        sklearn.set_config(assume_finite=True, skip_parameter_validation=True)
        return np.ascontiguousarray(self.estimator.predict_proba(matrix)[:, 1])

    def contributions(self, matrix: np.ndarray) -> np.ndarray:
        """What each feature adds to each row's log-odds of churn, as the version's MLflow model gives it.

        The first call imports shap, which takes seconds.
        """
        return self._explainer.contributions(matrix)

    @cached_property
    def _explainer(self) -> Any:
        from churn_assets.model import explain

        return explain.explainer(self.estimator)


def load(folder: Path, version: str) -> ServedModel:
    """Read a published version. The first one costs a second, for scikit-learn.

    Args:
        folder: where ``publish.py`` put it.
        version: its number in the registry.
    """
    from threadpoolctl import threadpool_limits

    from churn_assets.model import explain

    # Columns come as an array in the estimator's own order.
    warnings.filterwarnings("ignore", "X does not have valid feature names", UserWarning)
    estimator = _estimator(folder)
    columns = json.loads((folder / DESCRIPTION_FILE).read_text())["columns"]
    # Several processes answer; threads of one for a row or two would only wait for each other.
    threadpool_limits(1)
    takes_nan = _takes_nan(estimator, len(columns))
    parser = Parser(columns, takes_nan=takes_nan, explains=explain.supports(estimator))
    model = ServedModel(version, estimator, parser, takes_nan)
    model.predict(np.zeros((1, len(columns))))
    return model


def _takes_nan(estimator: Any, columns: int) -> bool:
    """Whether it scores rows that lack features. Tried out: a pipeline's or a wrapper's tags do not say."""
    import sklearn

    # What looks at its input is switched off while requests are scored, and may be here.
    with sklearn.config_context(assume_finite=False):
        try:
            answer = estimator.predict_proba(np.full((1, columns), np.nan))
        except Exception:  # noqa: BLE001 - however it says so
            return False
    return bool(np.isfinite(answer).all())


def describe(folder: Path) -> dict[str, Any]:
    """Load the estimator that was put there, let it answer once, and say what it needs.

    Returns:
        ``columns``: the features in the order in which it wants them.

    Raises:
        ModelError: it cannot be loaded, or does not give two classes' probabilities.
    """
    try:
        estimator = _estimator(folder)
        columns = [str(name) for name in estimator.feature_names_in_]
        answer = estimator.predict_proba(_one_row(columns))
    except Exception as error:
        in_one_line = " ".join(f"{type(error).__name__}: {error}".split())
        raise ModelError(f"The estimator cannot be loaded and asked: {in_one_line}") from error
    if answer.shape != (1, 2) or not np.isfinite(answer).all():
        raise ModelError(f"The estimator answers {answer.tolist()}; expected two probabilities.")
    return {"columns": columns}


def _one_row(columns: list[str]) -> Any:
    import pandas as pd

    return pd.DataFrame([dict.fromkeys(columns, 0.0)])


def _estimator(folder: Path) -> Any:
    # From the registry, which trained it: who can change it there can change what is served anyway.
    return pickle.loads((folder / ESTIMATOR_FILE).read_bytes())  # noqa: S301 - see above


if __name__ == "__main__":
    import sys

    # In a process of its own: a broken model ends only that, and the follower stays without scikit-learn.
    try:
        print(json.dumps(describe(Path(sys.argv[1]))))
    except ModelError as error:
        print(json.dumps({"error": str(error)}))
