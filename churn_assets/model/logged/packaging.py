"""A fitted estimator as an MLflow model that any process with scikit-learn can load."""

import tempfile
from collections.abc import Collection, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from churn_assets.errors import ModelError
from churn_assets.model.candidates import bg_nbd, ensembles, logarithms
from churn_assets.model.logged import explain

if TYPE_CHECKING:
    import pandas as pd

CODE = Path(__file__).with_name("churn_model.py")

# What ``predict`` can be asked for instead of the probability.
EXPLAIN = "explain"

# Estimators of our own travel with the model as files, so that whoever loads it needs nothing of ours.
# Pickled by value, no other minor version of Python could read them.
OWN = (bg_nbd, ensembles, logarithms)

# What loading and predicting import. Named here, because inferring them costs a subprocess and seconds.
# Explaining takes shap besides, which nobody who serves probabilities should have to install.
REQUIREMENTS = ("mlflow", "scikit-learn", "pandas", "numpy", "cloudpickle")


def log_churn_model(mlflow: Any, estimator: Any, example: "pd.DataFrame") -> str:
    """Log the estimator to the active run, with signature, input example and exact requirements.

    Args:
        mlflow: the ``mlflow`` module, or dagster-mlflow's resource, which mirrors it.
        estimator: fitted on a DataFrame of features; their names are its signature.
        example: some rows of these features; MLflow predicts them once to see that serving them works.

    Returns:
        ``models:/<model id>``.
    """
    import cloudpickle

    columns = [str(name) for name in estimator.feature_names_in_]
    with tempfile.TemporaryDirectory() as folder:
        pickled = Path(folder) / "estimator.pkl"
        # MLflow's scikit-learn flavour would use skops, which does not trust the trees of a boosted model.
        pickled.write_bytes(cloudpickle.dumps(estimator))
        info = mlflow.pyfunc.log_model(
            name="model",
            python_model=str(CODE),
            artifacts={"estimator": str(pickled), **_own_code()},
            signature=signature(
                columns,
                explains=explain.supports(estimator),
                needed=getattr(estimator, "fallback_features_", columns),
            ),
            input_example=example[columns].astype("float64"),
            pip_requirements=[f"{package}=={version(package)}" for package in REQUIREMENTS],
        )
    return info.model_uri


def signature(
    columns: Sequence[str], *, explains: bool = False, needed: Collection[str] | None = None
) -> Any:
    """Doubles by name in, one double out. Integer columns would refuse a null that serving may send.

    Args:
        columns: the features, in the model's order.
        explains: whether contributions can be asked for, by the parameter ``explain`` (boolean, False).
        needed: the features that a row must have; all, without it.
    """
    from mlflow.models import ModelSignature
    from mlflow.types.schema import ColSpec, DataType, ParamSchema, ParamSpec, Schema

    return ModelSignature(
        Schema([ColSpec("double", name, required=needed is None or name in needed) for name in columns]),
        Schema([ColSpec("double")]),
        ParamSchema([ParamSpec(EXPLAIN, DataType.boolean, False)] if explains else []),
    )


def inputs(uri: str) -> list[str]:
    """The features that a logged or registered model takes, in its order: those that it was trained with.

    Args:
        uri: of the model; the registry has been configured.

    Raises:
        ModelError: it was logged without a signature.
    """
    from mlflow.models import get_model_info

    found = get_model_info(uri).signature
    if found is None or found.inputs is None:
        raise ModelError(
            f"{uri} has no signature, so nobody knows which features it takes. Register a model that "
            "churn_prediction_model trained."
        )
    return found.inputs.input_names()


def can_explain(uri: str) -> bool:
    """Whether a logged or registered model takes the parameter ``explain``.

    Args:
        uri: of the model; the registry has been configured.
    """
    from mlflow.models import get_model_info

    found = get_model_info(uri).signature
    return bool(found and found.params and EXPLAIN in {spec.name for spec in found.params.params})


def _own_code() -> dict[str, str]:
    """Files that the model's code loads beside it, by the names that it knows them by."""
    return {module.__name__.rpartition(".")[2]: str(module.__file__) for module in (explain, *OWN)}
