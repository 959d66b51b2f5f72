"""A model version as the server holds it: the estimator itself, without MLflow or pandas around it."""

import json
import pickle
import warnings
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from churn_assets.errors import ModelError, one_line
from churn_assets.serving.scoring.payload import Parser

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

    def takes(self, matrix: np.ndarray) -> bool:
        """Whether it can score rows that lack what these lack."""
        missing = np.isnan(matrix)[:, self._always]
        return self.takes_nan or not missing.any()

    @cached_property
    def _always(self) -> list[int]:
        """The places of the features without which it scores no row."""
        return [self.parser.columns.index(name) for name in self.parser.needs.always]

    def contributions(self, matrix: np.ndarray) -> np.ndarray:
        """What each feature adds to each row's log-odds of churn, as the version's MLflow model gives it.

        The first call imports shap, which takes seconds.
        """
        return self._explainer.contributions(matrix)

    @cached_property
    def _explainer(self) -> Any:
        from churn_assets.model.logged import explain

        return explain.explainer(self.estimator)


def load(folder: Path, version: str) -> ServedModel:
    """Read a published version. The first one costs a second, for scikit-learn.

    Args:
        folder: where ``publish.py`` put it.
        version: its number in the registry.
    """
    from threadpoolctl import threadpool_limits

    from churn_assets.model.logged import explain

    # Columns come as an array in the estimator's own order.
    warnings.filterwarnings("ignore", "X does not have valid feature names", UserWarning)
    estimator = _estimator(folder)
    description = json.loads((folder / DESCRIPTION_FILE).read_text())
    columns = description["columns"]
    # Releases before users' histories did not note what a row may lack.
    optional = description.get("optional", _optional(estimator))
    # Several processes answer; threads of one for a row or two would only wait for each other.
    threadpool_limits(1)
    # Who may lack a history may lack nothing else: the rest is what the answer stands on.
    takes_nan = not optional and _takes_nan(estimator, len(columns))
    parser = Parser(
        columns,
        takes_nan=takes_nan,
        explains=explain.supports(estimator),
        optional=optional,
        history=getattr(estimator, "history", ()),
    )
    model = ServedModel(version, estimator, parser, takes_nan)
    model.predict(_some_rows(columns, optional))
    return model


def _optional(estimator: Any) -> list[str]:
    """The features that a row need not have; see ``model/candidates/ensembles.py``."""
    columns = [str(name) for name in estimator.feature_names_in_]
    needed = getattr(estimator, "fallback_features_", columns)
    return [name for name in columns if name not in needed]


def _some_rows(columns: list[str], optional: list[str]) -> np.ndarray:
    """A row with all features, and one with those alone that a row must have."""
    rows = np.zeros((2 if optional else 1, len(columns)))
    rows[1:, [columns.index(name) for name in optional]] = np.nan
    return rows


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
        ``columns``: the features in the order in which it wants them; ``optional``: those of them that a
        row need not have.

    Raises:
        ModelError: it cannot be loaded, or does not give two classes' probabilities.
    """
    try:
        estimator = _estimator(folder)
        columns = [str(name) for name in estimator.feature_names_in_]
        optional = _optional(estimator)
        rows = _some_rows(columns, optional)
        answer = estimator.predict_proba(_frame(rows, columns))
    except Exception as error:
        raise ModelError(
            f"The estimator cannot be loaded and asked: {one_line(error, with_class=True)}"
        ) from error
    if answer.shape != (len(rows), 2) or not np.isfinite(answer).all():
        raise ModelError(f"The estimator answers {answer.tolist()}; expected two probabilities.")
    return {"columns": columns, "optional": optional}


def _frame(rows: np.ndarray, columns: Any) -> Any:
    import pandas as pd

    return pd.DataFrame(rows, columns=columns)


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
