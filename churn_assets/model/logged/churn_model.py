"""The model that MLflow loads: features in, the probability of churn or the features' contributions out.

This file is not imported. It is copied into every logged model and run wherever one is loaded, in a serving
container or on a Spark worker, so it must do without ``churn_assets``. Where that is installed, and numba,
its kernel gives the probabilities; elsewhere scikit-learn gives the same. scikit-learn's own MLflow flavour
would predict labels, or both classes' probabilities.
"""

import importlib.util
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel


class ChurnModel(PythonModel):
    """A fitted scikit-learn classifier as a model that predicts the probability of label 1."""

    def load_context(self, context: Any) -> None:
        """Read the estimator that was logged with the model."""
        # Unpickling runs code, but the file lies beside this one: whoever can change it can change both.
        with Path(context.artifacts["estimator"]).open("rb") as file:
            self.estimator = _Unpickler(file, context.artifacts).load()
        self.columns = list(self.estimator.feature_names_in_)
        self.explainer: Any = None
        self.kernel = _kernel(self.estimator)

    def predict(  # type: ignore[override]  # the base class returns nothing
        self,
        context: Any,
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,
    ) -> np.ndarray:
        """Return the probability of churn of each row: float64, shape (rows,).

        With ``params={"explain": True}`` return the contribution of each feature to each row's log-odds of
        churn: float64, shape (rows, features), in the order of the signature. For a model of trees this takes
        the package shap. Columns are found by name, and unknown ones ignored; those that the signature does
        not require may be left out.
        """
        rows = model_input.reindex(columns=self.columns).astype("float64")
        if not (params and params.get("explain")):
            scores = self.kernel.predict(rows.to_numpy("float64")) if self.kernel else None
            return self.estimator.predict_proba(rows)[:, 1] if scores is None else scores
        if self.explainer is None:
            self.explainer = _module(context.artifacts["explain"]).explainer(self.estimator)
        return self.explainer.contributions(rows.to_numpy("float64"))


class _Unpickler(pickle.Unpickler):
    """An unpickler that finds this project's estimators in the files that were logged with the model."""

    def __init__(self, file: Any, artifacts: Mapping[str, str]) -> None:
        super().__init__(file)
        self._artifacts = artifacts
        self._modules: dict[str, Any] = {}

    def find_class(self, module_name: str, global_name: str) -> Any:
        """Return a class or function that the pickle names, from its module."""
        package, _, name = module_name.rpartition(".")
        if package != "churn_assets.model.candidates":
            return super().find_class(module_name, global_name)
        if name not in self._modules:
            self._modules[name] = _module(self._artifacts[name])
        return getattr(self._modules[name], global_name)


def _kernel(estimator: Any) -> Any:
    """Return the estimator's kernel; None without numba, and without a churn-assets that has kernels."""
    try:
        from churn_assets.model.kernel.kernel import kernel_of
    except ImportError:
        return None
    return kernel_of(estimator)


def _module(path: str) -> Any:
    # Not by name: each of several models in one process has a file of this name.
    spec = importlib.util.spec_from_file_location(f"churn_model_{Path(path).stem}", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


set_model(ChurnModel())
