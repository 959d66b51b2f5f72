"""MLflow's tracking and registry: where they are, the registered versions, and these as Spark functions."""

import datetime as dt
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from churn_assets import identity, plain_paths
from churn_assets.errors import ModelError, WorkspaceError, one_line
from churn_assets.model.data.churn_definition import ChurnDefinition
from churn_assets.model.registry import (
    mlflow_database,
    mlflow_postgres,
    moved_lake,
    shared_database,
    signatures,
)
from churn_assets.model.registry.quiet import quieten, without_deprecations
from churn_assets.model.registry.stored_version import (
    ProductionVersion,
    UnknownRevisionError,
    stored_version,
)
from churn_assets.postgres import MLFLOW_SCHEMA, Postgres
from churn_assets.settings import MLFLOW_DATABASE, SQLITE, Settings
from churn_assets.stored_databases import Place

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion
    from pyspark.sql import Column, SparkSession

MODEL_NAME = "churn-prediction-model"
PRODUCTION_ALIAS = "Production"

# What to do where Unity Catalog refuses. No grant moves an alias.
OWNER = (
    "Only an owner of the model moves it: name a group of all who train as CHURN_DATABRICKS_OWNER, and run, "
    "as who owns it now, churn setup --databricks"
)
ENGINEERS = (
    "It needs {} on the model's schema: name a group of all who train as CHURN_DATABRICKS_ENGINEERS, and run "
    "churn setup --databricks"
)


def uses_unity_catalog(settings: Settings) -> bool:
    """Tell whether models are registered in Unity Catalog: on Databricks, unless another server is named."""
    return tracking_uri(settings).startswith("databricks")


def registered_model_name(settings: Settings) -> str:
    """Return the model's name in the registry: of three levels in Unity Catalog, of one elsewhere."""
    return f"{settings.main_catalog}.gold.{MODEL_NAME}" if uses_unity_catalog(settings) else MODEL_NAME


def experiment_name(settings: Settings) -> str:
    """Return the experiment that trainings are logged to; in a workspace its name is a path."""
    return "/Shared/churn" if uses_unity_catalog(settings) else "churn"


def configure(settings: Settings) -> None:
    """Point MLflow at this deployment, and create a local database and experiment where they are missing.

    Artifacts of a lake that was moved since are found where it is now. Call it before dagster-mlflow's
    resource starts, which would otherwise let MLflow put artifacts into the working directory. Creating a
    database takes 2 s, finding an existing one some milliseconds.
    """
    quieten()
    _log_in(settings)
    import mlflow

    with _environment_restored():
        mlflow.set_tracking_uri(tracking_uri(settings))
        mlflow.set_registry_uri(_registry_uri(settings))
    if (path := database(settings)) is None:
        return
    if isinstance(path, Postgres):
        mlflow_postgres.ensure(
            path, experiment_name(settings), settings.mlflow_artifact_root, own_file(settings)
        )
        return
    if not path.exists():
        shared_database.fetch(settings)
    mlflow_database.ensure(
        path,
        experiment_name(settings),
        settings.mlflow_artifact_root,
        plain_paths.for_sqlite_url(path.parent),
    )
    if path.parent == settings.mlflow_folder:
        moved_lake.follow(path, experiment_name(settings), settings.mlflow_artifact_root)
    client = _client(settings)
    if client.get_experiment_by_name(experiment_name(settings)) is None:
        _create_experiment(client, settings)


def database(settings: Settings) -> Place | None:
    """Return MLflow's database, a file or ``CHURN_DATABASE_URL``'s; None where a server has it."""
    uri = settings.mlflow_tracking_uri
    if not uri and settings.database and settings.deployment != "databricks":
        return settings.database.of_schema(MLFLOW_SCHEMA)
    if not uri.startswith(SQLITE):
        return None
    if uri == f"{SQLITE}{own_file(settings)}":
        return own_file(settings)
    from sqlalchemy.engine import make_url

    name = make_url(uri).database
    return Path(name) if name and name != ":memory:" else None


def own_file(settings: Settings) -> Path:
    """Return the file that holds MLflow's database unless a setting names another."""
    return settings.mlflow_folder / MLFLOW_DATABASE


def has_no_database(settings: Settings) -> bool:
    """Tell whether models would be in a database that does not exist yet, or is not complete.

    Raises:
        ModelError: the file is damaged, or the lake's models are in it and have not been carried over.
    """
    place = database(settings)
    if isinstance(place, Postgres):
        return not mlflow_postgres.is_whole(place, experiment_name(settings), own_file(settings))
    return place is not None and not mlflow_database.is_whole(place, experiment_name(settings))


def production_version(settings: Settings) -> "ModelVersion | None":
    """Return the version that the alias ``Production`` names, None where there is none."""
    if has_no_database(settings):
        return None
    from mlflow.exceptions import MlflowException

    try:
        return _client(settings).get_model_version_by_alias(registered_model_name(settings), PRODUCTION_ALIAS)
    except MlflowException as error:
        # The first code is for a missing model, the second is a database's for a missing alias.
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise


def production_number(settings: Settings) -> str | None:
    """Return the number of the Production version, None where there is none; without MLflow if possible."""
    try:
        stored = _stored(settings)
    except UnknownRevisionError:
        version = production_version(settings)
        return str(version.version) if version else None
    return stored.version if stored else None


def production(settings: Settings) -> ProductionVersion | None:
    """Return the Production version with what its training logged; without MLflow if possible."""
    try:
        return _stored(settings)
    except UnknownRevisionError:
        quieten()
    version = production_version(settings)
    if version is None:
        return None
    data = _client(settings).get_run(version.run_id).data if version.run_id else None
    return ProductionVersion(
        version=str(version.version),
        created_at=dt.datetime.fromtimestamp(version.creation_timestamp / 1000, dt.UTC),
        run_id=version.run_id,
        metrics=dict(data.metrics) if data else {},
        tags=dict(data.tags) if data else {},
    )


def _stored(settings: Settings) -> ProductionVersion | None:
    if has_no_database(settings):
        return None
    path = database(settings)
    if path is None:
        raise UnknownRevisionError("The registry is a server's.")
    return stored_version(path, registered_model_name(settings), PRODUCTION_ALIAS)


def register(settings: Settings, model_uri: str, run_id: str) -> "ModelVersion":
    """Register a logged model as the newest version, and sign its files as this platform's.

    Through the client, because ``mlflow.register_model`` prints to stderr.

    Args:
        settings: of the deployment.
        model_uri: ``models:/<model id>``, as ``log_model`` returns it.
        run_id: the MLflow run that logged it.

    Raises:
        WorkspaceError: Unity Catalog does not let this user.
    """
    from mlflow.exceptions import MlflowException

    client = _client(settings)
    name = registered_model_name(settings)
    with _in_one_line(settings, f"No version of {name} was registered", ENGINEERS.format("CREATE MODEL")):
        try:
            client.create_registered_model(name)
        except MlflowException as error:
            if error.error_code not in ("RESOURCE_ALREADY_EXISTS", "ALREADY_EXISTS"):
                raise
        model_id = model_uri.removeprefix("models:/")
        version = client.create_model_version(name, model_uri, run_id, model_id=model_id)
        signatures.sign(settings, client, version)
        return version


def promote(settings: Settings, version: str) -> None:
    """Move the alias ``Production`` to this version, which scores and serves from now on.

    Raises:
        WorkspaceError: Unity Catalog does not let this user; the alias is where it was.
    """
    name = registered_model_name(settings)
    what = f"The alias {PRODUCTION_ALIAS} of {name} was not moved to version {version}"
    with _in_one_line(settings, what, OWNER):
        _client(settings).set_registered_model_alias(name, PRODUCTION_ALIAS, version)


def churn_definition(settings: Settings, version: "ModelVersion") -> ChurnDefinition | None:
    """Return the churn definition of a version; None where its training logged none."""
    tags = _client(settings).get_run(version.run_id).data.tags if version.run_id else {}
    return ChurnDefinition.from_tags(tags)


def tag_version(settings: Settings, version: str, tags: Mapping[str, str]) -> None:
    """Set tags of a version; tags of the same names are overwritten.

    Raises:
        WorkspaceError: Unity Catalog does not let this user.
    """
    client, name = _client(settings), registered_model_name(settings)
    with _in_one_line(settings, f"Version {version} of {name} was not tagged", ENGINEERS.format("APPLY TAG")):
        for key, value in tags.items():
            client.set_model_version_tag(name, version, key, value)


def remove_tags(settings: Settings, version: str, keys: Iterable[str]) -> None:
    """Remove tags that a version has.

    Raises:
        WorkspaceError: Unity Catalog does not let this user.
    """
    client, name = _client(settings), registered_model_name(settings)
    with _in_one_line(settings, f"Version {version} of {name} keeps its tags", ENGINEERS.format("APPLY TAG")):
        for key in keys:
            client.delete_model_version_tag(name, version, key)


def run_url(settings: Settings, run_id: str) -> str:
    """Return the page of a run; empty where there is none, or its host is not known."""
    uri = tracking_uri(settings)
    # A database has no page, and its URI a password.
    if not uri.startswith(("http", "databricks")):
        return ""
    experiment = _client(settings).get_run(run_id).info.experiment_id
    if uri.startswith("databricks"):
        # Not known on a cluster where a profile names it.
        if settings.databricks_host is None:
            return ""
        return f"{settings.databricks_host}/ml/experiments/{experiment}/runs/{run_id}"
    return f"{uri}/#/experiments/{experiment}/runs/{run_id}"


def model_uri(settings: Settings, version: str) -> str:
    """Return the URI of a version: by number and not by alias, so that no scoring mixes two models."""
    return f"models:/{registered_model_name(settings)}/{version}"


@dataclass(frozen=True)
class VersionFunction:
    """A version as a Spark function of the features that it was trained with."""

    columns: tuple[str, ...]
    function: "Callable[..., Column]"

    def __call__(self, *columns: "Column") -> "Column":
        """Apply it to one column for each of ``columns``; by default to the columns of these names."""
        from pyspark.sql import functions as F

        inputs = columns or tuple(F.col(name) for name in self.columns)
        return self.function(*(column.cast("double") for column in inputs))


def require_own(settings: Settings, version: str) -> None:
    """Require that a version's files are those that this platform registered, before any code of it runs.

    Args:
        settings: of the deployment; ``configure`` has been called with them.
        version: the version's number.

    Raises:
        ModelError: somebody else registered it, or its files have changed since.
    """
    client = _client(settings)
    registered = client.get_model_version(registered_model_name(settings), version)
    signatures.require(settings, client, registered)


def scorer(spark: "SparkSession", uri: str) -> VersionFunction:
    """Return the function from features to the churn probability, a column of double.

    Args:
        spark: the session whose DataFrames will be scored.
        uri: what ``model_uri`` returns; ``configure`` has been called.
    """
    quieten()
    return _udf(spark, _pinned(uri), "double")


def explainer(spark: "SparkSession", uri: str) -> VersionFunction:
    """Return the function from features to their contributions to the log-odds of churn, array<double>.

    Args:
        spark: as for ``scorer``.
        uri: as for ``scorer``.

    Raises:
        ModelError: the version cannot explain its predictions.
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
) -> VersionFunction:
    import mlflow.pyfunc

    from churn_assets.model.logged import packaging

    predict: Any = mlflow.pyfunc.spark_udf(
        spark, uri, result_type=result_type, env_manager="local", params=params
    )
    function = VersionFunction(tuple(packaging.inputs(uri)), predict)
    _copy_to_the_worker(spark, function)
    return function


def _copy_to_the_worker(spark: "SparkSession", function: VersionFunction) -> None:
    """Score one row, so that the model is copied before many partitions load it at once.

    Over Spark Connect each partition copies the model to one folder per process if it is not there. Sail's
    partitions share this process, and one would read a half-made copy of another.
    """
    from pyspark.sql import functions as F
    from pyspark.sql.connect.session import SparkSession as ConnectSession

    if isinstance(spark, ConnectSession):
        spark.range(1).select(function(*(F.lit(0.0) for _ in function.columns))).collect()


def tracking_uri(settings: Settings) -> str:
    """Return the URI of MLflow's runs and models, in the form that MLflow takes.

    Raises:
        LakeError: the lake's database needs a link with a plain name, and there is no place for one.
    """
    if isinstance(place := database(settings), Postgres):
        return place.for_sqlalchemy()
    uri = settings.mlflow_tracking_uri or "databricks"
    folder = settings.mlflow_folder
    # A URI that the user set is left alone; ours is made from a path.
    if uri == f"{SQLITE}{folder / MLFLOW_DATABASE}":
        return f"{SQLITE}{plain_paths.for_sqlite_url(folder) / MLFLOW_DATABASE}"
    return uri


def _registry_uri(settings: Settings) -> str:
    return "databricks-uc" if uses_unity_catalog(settings) else tracking_uri(settings)


def _client(settings: Settings) -> "MlflowClient":
    with without_deprecations():
        _log_in(settings)
        from mlflow import MlflowClient

        return MlflowClient(tracking_uri(settings), _registry_uri(settings))


def _log_in(settings: Settings) -> None:
    if uses_unity_catalog(settings):
        identity.share(settings)


@contextmanager
def _in_one_line(settings: Settings, what: str, remedy: str) -> Iterator[None]:
    """Raise a refusal of Unity Catalog, which MLflow raises as its own error, as one that says what to do."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        if error.error_code != "PERMISSION_DENIED" or not uses_unity_catalog(settings):
            raise
        raise WorkspaceError(f"{what}: {one_line(error)}. {remedy}") from error


@contextmanager
def _environment_restored() -> Iterator[None]:
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
    """Return the URI of the logged model behind a registered version, which is unique among registries.

    Over Spark Connect MLflow keeps a worker's copy in a temporary folder named after the URI and the process
    id, and never updates it: version 1 of another lake, loaded there earlier, would score this one's users.
    """
    import mlflow

    if mlflow.get_registry_uri().startswith("databricks"):
        return uri
    name, version = uri.removeprefix("models:/").rsplit("/", 1)
    source = mlflow.MlflowClient().get_model_version(name, version).source or ""
    return source if source.startswith("models:/m-") else uri
