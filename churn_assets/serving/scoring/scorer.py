"""A model version in a worker's memory: its kernel or its estimator, without MLflow or pandas around it.

A kernel is read from arrays. So a worker unpickles nothing and imports no scikit-learn, unless it is asked
for reasons, or for a version that has no kernel.
"""

import json
import pickle
import warnings
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from churn_assets.errors import ModelError, one_line
from churn_assets.model.kernel import kernel as kernels
from churn_assets.model.kernel.kernel import Kernel
from churn_assets.serving.scoring.payload import Parser

if TYPE_CHECKING:
    import pandas as pd

ESTIMATOR_FILE = "estimator.pkl"
DESCRIPTION_FILE = "model.json"
KERNEL_FILE = "kernel.npz"
# What is told of the estimator to those that do not load it.
TRAITS_FILE = "traits.json"


@dataclass(frozen=True)
class Traits:
    """What an estimator takes and can do, beside the features that ``describe`` returns.

    ``accepts_nan`` tells whether it scores rows without some of the features, whichever these are;
    ``explains`` whether its predictions can be explained; ``history`` are the optional features that every
    row with a history has.
    """

    accepts_nan: bool
    explains: bool
    history: list[str]


@dataclass(frozen=True)
class ServedModel:
    """One version in memory, with the parser of its requests; without a kernel its estimator answers."""

    version: str
    folder: Path
    parser: Parser
    accepts_nan: bool = False
    kernel: Kernel | None = None

    def predict(self, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the probability of churn of each row, as the version's MLflow model does.

        Args:
            matrix: one row for each user, one column for each feature.
        """
        if self.kernel is not None:
            scores = self.kernel.predict(matrix)
            if scores is not None:
                return scores
        return self._by_scikit_learn(matrix)

    def _by_scikit_learn(self, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        import sklearn

        # payload.py has made the same checks, which take a tenth of an answer's time. Set at each call, in
        # 0.2 us, because scikit-learn keeps its configuration by thread.
        sklearn.set_config(assume_finite=True, skip_parameter_validation=True)
        return np.ascontiguousarray(self.estimator.predict_proba(matrix)[:, 1])

    @cached_property
    def estimator(self) -> Any:
        """The estimator itself; the first one of a process takes a second, to import scikit-learn."""
        from threadpoolctl import threadpool_limits

        # The columns are in the estimator's own order.
        warnings.filterwarnings("ignore", "X does not have valid feature names", UserWarning)
        estimator = _estimator(self.folder)
        # Several processes answer, so threads for one or two rows would only wait for each other.
        threadpool_limits(1)
        return estimator

    def accepts(self, matrix: NDArray[np.float64]) -> bool:
        """Return whether it can score these rows, in which NaN stands for missing features."""
        missing = np.isnan(matrix)[:, self._required]
        return self.accepts_nan or not missing.any()

    @cached_property
    def _required(self) -> list[int]:
        """The positions of the features that every row must have."""
        return [self.parser.columns.index(name) for name in self.parser.required.always]

    def contributions(self, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return what each feature adds to each row's log-odds of churn, as the version's MLflow model does.

        The result has the matrix's shape. The first call imports shap, which takes seconds.
        """
        return self._explainer.contributions(matrix)

    @cached_property
    def _explainer(self) -> Any:
        from churn_assets.model.logged import explain

        return explain.explainer(self.estimator)


def load(folder: Path, version: str) -> ServedModel:
    """Load a published version. The first one takes half a second, to import numba, or a second without.

    Args:
        folder: the folder that ``publish.py`` wrote.
        version: the version's number in the registry.
    """
    description = json.loads((folder / DESCRIPTION_FILE).read_text())
    columns = description["columns"]
    kernel, traits = kernels.load(folder / KERNEL_FILE), _traits(folder)
    # Releases before users' histories did not write the optional features, nor those before kernels the rest.
    if kernel is None or traits is None or "optional" not in description:
        estimator = _estimator(folder)
        description.setdefault("optional", _optional(estimator))
        kernel, traits = kernels.kernel_of(estimator), _traits_of(estimator)
    parser = Parser(
        columns,
        accepts_nan=traits.accepts_nan,
        explains=traits.explains,
        optional=description["optional"],
        history=traits.history,
    )
    model = ServedModel(version, folder, parser, traits.accepts_nan, kernel)
    if kernel is None:
        model.predict(_example_rows(columns, description["optional"]))
    return model


def _traits(folder: Path) -> Traits | None:
    try:
        return Traits(**json.loads((folder / TRAITS_FILE).read_text()))
    except FileNotFoundError:
        return None


def _traits_of(estimator: Any) -> Traits:
    from churn_assets.model.logged import explain

    # Rows without a history must have all other features, because the fallback uses them.
    accepts_nan = not _optional(estimator) and _accepts_nan(estimator, len(estimator.feature_names_in_))
    history = [str(name) for name in getattr(estimator, "history", ())]
    return Traits(accepts_nan, explain.supports(estimator), history)


def _optional(estimator: Any) -> list[str]:
    """Return the features that a row may lack; see ``model/candidates/ensembles.py``."""
    columns = [str(name) for name in estimator.feature_names_in_]
    needed = getattr(estimator, "fallback_features_", columns)
    return [name for name in columns if name not in needed]


def _example_rows(columns: list[str], optional: list[str]) -> NDArray[np.float64]:
    """Return a row with all features, and one with only the required ones if any are optional."""
    rows = np.zeros((2 if optional else 1, len(columns)))
    rows[1:, [columns.index(name) for name in optional]] = np.nan
    return rows


def _accepts_nan(estimator: Any, columns: int) -> bool:
    """Try out whether the estimator scores NaN, which the tags of a pipeline or a wrapper do not tell."""
    import sklearn

    # With the input checks that predict() switches off.
    with sklearn.config_context(assume_finite=False), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "X does not have valid feature names", UserWarning)
        try:
            answer = estimator.predict_proba(np.full((1, columns), np.nan))
        except Exception:  # noqa: BLE001 - each estimator refuses NaN with its own error
            return False
    return bool(np.isfinite(answer).all())


def describe(folder: Path) -> dict[str, Any]:
    """Load an estimator, let it score example rows, write its kernel and its traits, and return its features.

    The kernel is written if it gives the estimator's probabilities; see ``kernel.kernel_of``.

    Returns:
        ``columns``: the features in the estimator's order; ``optional``: the features that a row may lack.

    Raises:
        ModelError: the estimator cannot be loaded, or does not return the probabilities of two classes.
    """
    try:
        estimator = _estimator(folder)
        columns = [str(name) for name in estimator.feature_names_in_]
        optional = _optional(estimator)
        rows = _example_rows(columns, optional)
        answer = estimator.predict_proba(_frame(rows, columns))
    except Exception as error:
        raise ModelError(
            f"The estimator cannot be loaded and asked: {one_line(error, with_class=True)}"
        ) from error
    if answer.shape != (len(rows), 2) or not np.isfinite(answer).all():
        raise ModelError(f"The estimator answers {answer.tolist()}; expected two probabilities.")
    kernel = kernels.kernel_of(estimator)
    if kernel is not None:
        kernel.save(folder / KERNEL_FILE)
    (folder / TRAITS_FILE).write_text(json.dumps(asdict(_traits_of(estimator))))
    return {"columns": columns, "optional": optional}


def _frame(rows: NDArray[np.float64], columns: list[str]) -> "pd.DataFrame":
    import pandas as pd

    return pd.DataFrame(rows, columns=pd.Index(columns))


def _estimator(folder: Path) -> Any:
    # ``publish.py`` put it there, after it had checked that this platform logged it.
    return pickle.loads((folder / ESTIMATOR_FILE).read_bytes())  # noqa: S301 - see above


if __name__ == "__main__":
    import sys

    # In a separate process: a broken model ends only that one, and the follower never imports scikit-learn.
    try:
        print(json.dumps(describe(Path(sys.argv[1]))))
    except ModelError as error:
        print(json.dumps({"error": str(error)}))
