"""The model as MLflow loads it: six features in, the probability of churn out.

Nobody imports this file. It is copied into every logged model and run wherever one is loaded, in a serving
container or on a Spark worker, so it must not know ``churn_assets``. scikit-learn's own MLflow flavour would
answer with labels, or with both classes' probabilities.
"""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel


class ChurnModel(PythonModel):
    """A fitted scikit-learn classifier, asked for the probability of label 1."""

    def load_context(self, context: Any) -> None:
        """Read the estimator that was logged with the model."""
        # The file lies in the model's own folder, beside this code: who can change one can change the other.
        self.estimator = pickle.loads(Path(context.artifacts["estimator"]).read_bytes())  # noqa: S301 - see above
        self.columns = list(self.estimator.feature_names_in_)

    def predict(  # type: ignore[override]  # the base class returns nothing
        self,
        context: Any,  # noqa: ARG002 - MLflow passes it
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,  # noqa: ARG002 - MLflow passes it
    ) -> np.ndarray:
        """The probability of churn of each row, float64; columns are found by name, others ignored."""
        return self.estimator.predict_proba(model_input[self.columns])[:, 1]


set_model(ChurnModel())
