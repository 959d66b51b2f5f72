"""The models behind the emulated Model Serving: real versions of a real registry, really asked."""

from collections.abc import Mapping
from typing import Any

from churn_assets_tests.workspace.routing import ApiError


def load(registry_uri: str, entity_name: str, version: str) -> Any:
    """A registered version as MLflow's pyfunc.

    Raises:
        ApiError: 404, as the service says it where the registry has no such version.
    """
    import mlflow
    from mlflow.exceptions import MlflowException

    client = mlflow.MlflowClient(registry_uri, registry_uri)
    try:
        source = client.get_model_version(entity_name.rpartition(".")[2], version).source or ""
    except MlflowException as error:
        raise ApiError(
            404, "RESOURCE_DOES_NOT_EXIST", f"Model version {entity_name}/{version} does not exist."
        ) from error
    if source.startswith("models:/m-"):
        source = client.get_logged_model(source.removeprefix("models:/")).artifact_location
    return mlflow.pyfunc.load_model(source)


def predictions(model: Any, fields: Mapping[str, Any]) -> bytes:
    """The body of an answer.

    Raises:
        ApiError: 400, where MLflow does not take the input.
    """
    import orjson
    import pandas as pd
    from mlflow.exceptions import MlflowException

    try:
        match fields:
            case {"dataframe_records": records}:
                frame = pd.DataFrame(records)
            case {"dataframe_split": split}:
                frame = pd.DataFrame(split["data"], columns=split["columns"], index=split.get("index"))
            case {"inputs": inputs}:
                frame = pd.DataFrame(inputs)
            case _:
                raise ApiError(
                    400, "BAD_REQUEST", "Invalid input: none of dataframe_records, dataframe_split, inputs."
                )
        # As Model Serving does, by the signature: JSON's 5 is as good as 5.0 for a double.
        if set(frame.columns) == set(model.metadata.get_input_schema().input_names()):
            frame = frame.astype("float64")
        predicted = model.predict(frame)
    except (MlflowException, ValueError, TypeError) as error:
        raise ApiError(400, "BAD_REQUEST", f"Invalid input. {' '.join(str(error).split())[:200]}") from error
    return orjson.dumps({"predictions": predicted.tolist()})
