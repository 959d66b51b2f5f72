"""A fitted estimator as an MLflow model that any process with scikit-learn can load."""

import tempfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from churn_assets.errors import ModelError
from churn_assets.model.candidates import bg_nbd, ensembles, logarithms
from churn_assets.model.logged import explain

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.models import ModelSignature

CODE = Path(__file__).with_name("churn_model.py")

# The parameter of ``predict`` that asks for contributions instead of probabilities.
EXPLAIN = "explain"

# These modules travel with the model as files, so that a process without this package can load it. Pickled by
# value, no other minor version of Python could read them.
OWN_MODULES = (bg_nbd, ensembles, logarithms)

# The packages that loading and predicting import. Listed, because inferring them costs a subprocess and
# seconds. Explaining also takes shap, which a server of probabilities should not have to install.
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
    with _parts(estimator, example) as parts:
        return mlflow.pyfunc.log_model(name="model", **parts).model_uri


def save_churn_model(
    folder: Path, estimator: Any, example: "pd.DataFrame", *, run_id: str | None, model_id: str | None
) -> None:
    """Save the estimator as ``log_churn_model`` logs it, in a folder that does not exist yet.

    Args:
        folder: where to.
        estimator: as there.
        example: as there.
        run_id: the MLflow run that trained it.
        model_id: MLflow's id of the logged model whose files these are.
    """
    import mlflow.pyfunc
    from mlflow.models import Model

    described = Model(run_id=run_id, model_id=model_id)
    with _parts(estimator, example) as parts:
        mlflow.pyfunc.save_model(folder, mlflow_model=described, **parts)


@contextmanager
def _parts(estimator: Any, example: "pd.DataFrame") -> Iterator[dict[str, Any]]:
    """Yield what MLflow's functions take, as long as the estimator's file is there."""
    import cloudpickle

    columns = [str(name) for name in estimator.feature_names_in_]
    with tempfile.TemporaryDirectory() as folder:
        pickled = Path(folder) / "estimator.pkl"
        # MLflow's scikit-learn flavour would use skops, which does not trust the trees of a boosted model.
        pickled.write_bytes(cloudpickle.dumps(estimator))
        yield {
            "python_model": str(CODE),
            "artifacts": {"estimator": str(pickled), **_own_code()},
            "signature": signature(
                columns,
                explains=explain.supports(estimator),
                needed=getattr(estimator, "fallback_features_", columns),
            ),
            "input_example": example[columns].astype("float64"),
            "pip_requirements": [f"{package}=={version(package)}" for package in REQUIREMENTS],
        }


def signature(
    columns: Sequence[str], *, explains: bool = False, needed: Collection[str] | None = None
) -> "ModelSignature":
    """Return the signature: doubles by name in, one double out.

    Doubles for counts as well: an integer column would refuse a null, which a request may hold.

    Args:
        columns: the features, in the model's order.
        explains: whether ``predict`` takes the parameter ``explain`` (boolean, False), for contributions.
        needed: the features that a row must have; None for all.
    """
    from mlflow.models import ModelSignature
    from mlflow.types.schema import ColSpec, DataType, ParamSchema, ParamSpec, Schema

    return ModelSignature(
        Schema([ColSpec("double", name, required=needed is None or name in needed) for name in columns]),
        Schema([ColSpec("double")]),
        ParamSchema([ParamSpec(EXPLAIN, DataType.boolean, False)] if explains else []),
    )


def inputs(uri: str) -> list[str]:
    """Return the names of the features that a logged or registered model takes, in its order.

    Args:
        uri: of the model; the registry has been configured.

    Raises:
        ModelError: it was logged without a signature.
    """
    from mlflow.models import get_model_info

    signature = get_model_info(uri).signature
    if signature is None or signature.inputs is None:
        raise ModelError(
            f"{uri} has no signature, so nobody knows which features it takes. Register a model that "
            "churn_prediction_model trained."
        )
    return signature.inputs.input_names()


def can_explain(uri: str) -> bool:
    """Tell whether a logged or registered model takes the parameter ``explain``.

    Args:
        uri: of the model; the registry has been configured.
    """
    from mlflow.models import get_model_info

    signature = get_model_info(uri).signature
    return bool(signature and signature.params and EXPLAIN in {spec.name for spec in signature.params.params})


def _own_code() -> dict[str, str]:
    """Return the files that ``churn_model.py`` loads, by the names under which it finds them."""
    return {module.__name__.rpartition(".")[2]: str(module.__file__) for module in (explain, *OWN_MODULES)}
