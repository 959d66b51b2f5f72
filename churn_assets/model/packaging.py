"""A fitted estimator as an MLflow model that any process with scikit-learn can load."""

import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from churn_assets.tables import FEATURE_COLUMNS

if TYPE_CHECKING:
    import pandas as pd

CODE = Path(__file__).with_name("churn_model.py")

# What loading and predicting import. Named here, because inferring them costs a subprocess and seconds.
REQUIREMENTS = ("mlflow", "scikit-learn", "pandas", "numpy", "cloudpickle")


def log_churn_model(mlflow: Any, estimator: Any, example: "pd.DataFrame") -> str:
    """Log the estimator to the active run, with signature, input example and exact requirements.

    Args:
        mlflow: the ``mlflow`` module, or dagster-mlflow's resource, which mirrors it.
        estimator: fitted on a DataFrame with the columns of ``tables.FEATURE_COLUMNS``.
        example: some rows of features; MLflow predicts them once to see that serving them works.

    Returns:
        ``models:/<model id>``.
    """
    import cloudpickle

    with tempfile.TemporaryDirectory() as folder:
        pickled = Path(folder) / "estimator.pkl"
        # MLflow's scikit-learn flavour would use skops, which does not trust the trees of a boosted model.
        pickled.write_bytes(cloudpickle.dumps(estimator))
        info = mlflow.pyfunc.log_model(
            name="model",
            python_model=str(CODE),
            artifacts={"estimator": str(pickled)},
            signature=signature(),
            input_example=example[FEATURE_COLUMNS].astype("float64"),
            pip_requirements=[f"{package}=={version(package)}" for package in REQUIREMENTS],
        )
    return info.model_uri


def signature() -> Any:
    """Six doubles by name in, one double out. Integer columns would refuse a null that serving may send."""
    from mlflow.models import ModelSignature
    from mlflow.types.schema import ColSpec, Schema

    return ModelSignature(
        Schema([ColSpec("double", name) for name in FEATURE_COLUMNS]), Schema([ColSpec("double")])
    )
