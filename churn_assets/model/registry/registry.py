"""Where models are tracked and registered, and how one comes back as a scorer."""

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from churn_assets import plain_paths
from churn_assets.errors import ModelError
from churn_assets.model.data.churn_definition import ChurnDefinition
from churn_assets.model.registry import mlflow_database
from churn_assets.model.registry.quiet import quieten
from churn_assets.settings import MLFLOW_DATABASE, SQLITE, Settings

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion
    from pyspark.sql import Column, SparkSession

MODEL_NAME = "churn-prediction-model"
PRODUCTION_ALIAS = "Production"


def uses_unity_catalog(settings: Settings) -> bool:
    """Whether models are registered in Unity Catalog: on Databricks, unless another server is named."""
    return tracking_uri(settings).startswith("databricks")


def registered_model_name(settings: Settings) -> str:
    """The name in the registry: Unity Catalog wants three levels, other registries one."""
    return f"{settings.main_catalog}.gold.{MODEL_NAME}" if uses_unity_catalog(settings) else MODEL_NAME


def experiment_name(settings: Settings) -> str:
    """The experiment that trainings are logged to; in a workspace its name is a path."""
    return "/Shared/churn" if uses_unity_catalog(settings) else "churn"


def configure(settings: Settings) -> None:
    """Point MLflow at this deployment; make a local one's database and experiment where they are missing.

    Call it before dagster-mlflow's resource starts, which would otherwise let MLflow put artifacts into the
    working directory. Making a new database takes 2 s, finding an existing one some milliseconds.
    """
    quieten()
    import mlflow

    with _environment_as_it_was():
        mlflow.set_tracking_uri(tracking_uri(settings))
        mlflow.set_registry_uri(_registry_uri(settings))
    if (path := database(settings)) is None:
        return
    mlflow_database.ensure(
        path,
        experiment_name(settings),
        settings.mlflow_artifact_root,
        plain_paths.for_sqlite_url(path.parent),
    )
    client = _client(settings)
    if client.get_experiment_by_name(experiment_name(settings)) is None:
        _create_experiment(client, settings)


def database(settings: Settings) -> Path | None:
    """The file of MLflow's database, where it is in one."""
    uri = settings.mlflow_tracking_uri
    if not uri.startswith(SQLITE):
        return None
    if uri == f"{SQLITE}{settings.mlflow_folder / MLFLOW_DATABASE}":
        return settings.mlflow_folder / MLFLOW_DATABASE
    from sqlalchemy.engine import make_url

    name = make_url(uri).database
    return Path(name) if name and name != ":memory:" else None


def has_no_database(settings: Settings) -> bool:
    """Whether models would be in a file that nobody has made yet, or not to its end.

    Raises:
        ModelError: the file is damaged.
    """
    path = database(settings)
    return path is not None and not mlflow_database.is_whole(path, experiment_name(settings))


def production_version(settings: Settings) -> "ModelVersion | None":
    """The version that the alias ``Production`` names, or None where nothing has been registered yet."""
    if has_no_database(settings):
        return None
    from mlflow.exceptions import MlflowException

    try:
        return _client(settings).get_model_version_by_alias(registered_model_name(settings), PRODUCTION_ALIAS)
    except MlflowException as error:
        # Without the model the registry says the first; without the alias, sqlite says the second.
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise


def register(settings: Settings, model_uri: str, run_id: str) -> "ModelVersion":
    """Make a logged model the newest version of the registered one.

    Through the client, because ``mlflow.register_model`` prints to stderr.

    Args:
        settings: of the deployment.
        model_uri: ``models:/<model id>``, as ``log_model`` returns it.
        run_id: the MLflow run that logged it.
    """
    from mlflow.exceptions import MlflowException

    client = _client(settings)
    name = registered_model_name(settings)
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_ALREADY_EXISTS", "ALREADY_EXISTS"):
            raise
    return client.create_model_version(name, model_uri, run_id, model_id=model_uri.removeprefix("models:/"))


def promote(settings: Settings, version: str) -> None:
    """Let the alias ``Production`` name this version: what is scored and served from now on."""
    _client(settings).set_registered_model_alias(registered_model_name(settings), PRODUCTION_ALIAS, version)


def churn_definition(settings: Settings, version: "ModelVersion") -> ChurnDefinition | None:
    """What churn means to a version; None where nobody noted it."""
    found = _client(settings).get_run(version.run_id).data.tags if version.run_id else {}
    return ChurnDefinition.from_tags(found)


def tag_version(settings: Settings, version: str, tags: Mapping[str, str]) -> None:
    """Write tags on a version, over those of the same names."""
    client, name = _client(settings), registered_model_name(settings)
    for key, value in tags.items():
        client.set_model_version_tag(name, version, key, value)


def run_url(settings: Settings, run_id: str) -> str:
    """Where people look at a run; empty where no server is, but a database on this machine."""
    uri = tracking_uri(settings)
    if uri.startswith(SQLITE):
        return ""
    experiment = _client(settings).get_run(run_id).info.experiment_id
    if uri.startswith("databricks"):
        return f"{settings.databricks_host}/ml/experiments/{experiment}/runs/{run_id}"
    return f"{uri}/#/experiments/{experiment}/runs/{run_id}"


def model_uri(settings: Settings, version: str) -> str:
    """The URI of one version: a number and not the alias, so that one scoring never mixes two models."""
    return f"models:/{registered_model_name(settings)}/{version}"


@dataclass(frozen=True)
class AskedVersion:
    """One version as a function of the features that it was trained with."""

    columns: tuple[str, ...]
    answer: "Callable[..., Column]"

    def __call__(self, *columns: "Column") -> "Column":
        """Its answer to a column for each of ``columns``; without any, to those of these names."""
        from pyspark.sql import functions as F

        asked = columns or tuple(F.col(name) for name in self.columns)
        return self.answer(*(column.cast("double") for column in asked))


def scorer(spark: "SparkSession", uri: str) -> AskedVersion:
    """What gives the churn probability, a column of double.

    Args:
        spark: the session whose DataFrames will be scored.
        uri: what ``model_uri`` returns; ``configure`` has been called.
    """
    quieten()
    return _udf(spark, _pinned(uri), "double")


def explainer(spark: "SparkSession", uri: str) -> AskedVersion:
    """What gives what each feature adds to the log-odds of churn, a column of array<double>.

    Args:
        spark: as for ``scorer``.
        uri: as for ``scorer``.

    Raises:
        ModelError: the version cannot explain what it predicts.
    """
    quieten()
    from churn_assets.model.logged import packaging

    pinned = _pinned(uri)
    if not packaging.can_explain(pinned):
        raise ModelError(
            f"{uri} cannot say why it predicts what it does: it was logged by an earlier churn-assets. Train "
            "another (materialise churn_prediction_model), and score these dates with it (churn_predictions)."
        )
    return _udf(spark, pinned, "array<double>", {packaging.EXPLAIN: True})


def _udf(
    spark: "SparkSession", uri: str, result_type: str, params: dict[str, Any] | None = None
) -> AskedVersion:
    import mlflow.pyfunc

    from churn_assets.model.logged import packaging

    predict: Any = mlflow.pyfunc.spark_udf(
        spark, uri, result_type=result_type, env_manager="local", params=params
    )
    asked = AskedVersion(tuple(packaging.inputs(uri)), predict)
    _copy_to_the_worker(spark, asked)
    return asked


def _copy_to_the_worker(spark: "SparkSession", asked: AskedVersion) -> None:
    """Score one row, so that the model has been copied before many partitions ask for it at once.

    Over Spark Connect each partition copies the model to one folder a process if it is not there. Sail's
    partitions share this process, and one would read what another has half copied.
    """
    from pyspark.sql import functions as F
    from pyspark.sql.connect.session import SparkSession as ConnectSession

    if isinstance(spark, ConnectSession):
        spark.range(1).select(asked(*(F.lit(0.0) for _ in asked.columns))).collect()


def tracking_uri(settings: Settings) -> str:
    """Where MLflow keeps runs and models, as MLflow is to be told it.

    Raises:
        LakeError: the lake's own database needs a link with a plain name, and there is no place for one.
    """
    uri = settings.mlflow_tracking_uri or "databricks"
    folder = settings.mlflow_folder
    # A URI of the user's own says what it means; ours is made of a path.
    if uri == f"{SQLITE}{folder / MLFLOW_DATABASE}":
        return f"{SQLITE}{plain_paths.for_sqlite_url(folder) / MLFLOW_DATABASE}"
    return uri


def _registry_uri(settings: Settings) -> str:
    return "databricks-uc" if uses_unity_catalog(settings) else tracking_uri(settings)


def _client(settings: Settings) -> "MlflowClient":
    with warnings.catch_warnings():
        # MLflow 3.17 asks SQLAlchemy 2.1 for a loader that it deprecates, once, when its store is imported.
        warnings.filterwarnings("ignore", "The ``noload`` loader strategy", DeprecationWarning)
        from mlflow import MlflowClient

        return MlflowClient(tracking_uri(settings), _registry_uri(settings))


@contextmanager
def _environment_as_it_was() -> Iterator[None]:
    # MLflow also exports its URIs to the environment, where the next Settings read here would find them.
    from mlflow.environment_variables import MLFLOW_REGISTRY_URI, MLFLOW_TRACKING_URI

    before = {variable: variable.get_raw() for variable in (MLFLOW_TRACKING_URI, MLFLOW_REGISTRY_URI)}
    try:
        yield
    finally:
        for variable, value in before.items():
            if value is None:
                variable.unset()
            else:
                variable.set(value)


def _create_experiment(client: "MlflowClient", settings: Settings) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_experiment(experiment_name(settings), artifact_location=settings.mlflow_artifact_root)
    except MlflowException as error:
        # Another process may have been faster.
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _pinned(uri: str) -> str:
    """The URI of the logged model behind a registered version, which no other registry can have given out.

    Over Spark Connect MLflow keeps a worker's copy in a temporary folder named after the URI and the process
    id, and never looks back: version 1 of another lake, loaded there earlier, would score this one's users.
    """
    import mlflow

    if mlflow.get_registry_uri().startswith("databricks"):
        return uri
    name, version = uri.removeprefix("models:/").rsplit("/", 1)
    source = mlflow.MlflowClient().get_model_version(name, version).source or ""
    return source if source.startswith("models:/m-") else uri
