"""Copies a version's estimator from the registry to the server's folder, after trying it out."""

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from churn_assets.errors import HOW_TO_SEE, ModelError, one_line
from churn_assets.model.registry import registry, signatures
from churn_assets.serving.scoring import scorer
from churn_assets.settings import Settings

Describe = Callable[[Path], dict[str, Any]]

TRY_SECONDS = 120


def publish(settings: Settings, target: Path, version: str, describe: Describe) -> None:
    """Copy a registered version to the folder from which workers load it, unless it is there already.

    Args:
        settings: the settings with which ``registry.configure`` was called.
        target: the version's folder, which is created completely or not at all.
        version: the version's number in the registry.
        describe: tries the estimator out, as ``in_a_process`` or ``scorer.describe`` do.

    Raises:
        ModelError: there is no such version, this platform did not log it, or it cannot be served.
    """
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    uri = registry.model_uri(settings, version)
    try:
        source = _registered_source(settings, version)
        published_source = _published_source(target)
        # While the registry fails, the published copy stays.
        if published_source and source in (published_source, None):
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".new-") as scratch:
            model = Path(download_artifacts(uri, dst_path=scratch))
            # Of the copy, which nobody else can change any more, and before anything of it is loaded.
            _require_own(settings, version, model)
            draft = Path(scratch) / "draft"
            draft.mkdir()
            shutil.copyfile(_estimator(model, uri), draft / scorer.ESTIMATOR_FILE)
            description = {**describe(draft), "source": source}
            (draft / scorer.DESCRIPTION_FILE).write_text(json.dumps(description))
            # It may be the same version number of another registry.
            shutil.rmtree(target, ignore_errors=True)
            draft.rename(target)
    except (MlflowException, OSError) as error:
        raise ModelError(f"{uri} cannot be had: {one_line(error)}. {HOW_TO_SEE}") from error


def _require_own(settings: Settings, version: str, model: Path) -> None:
    from mlflow import MlflowClient

    client = MlflowClient()
    registered = client.get_model_version(registry.registered_model_name(settings), version)
    signatures.require(settings, client, registered, model)


def in_a_process(folder: Path) -> dict[str, Any]:
    """Try an estimator out in a separate process.

    Raises:
        ModelError: the estimator's error, or the process's exit code and last line.
    """
    command = [sys.executable, "-m", scorer.__name__, str(folder)]
    try:
        process = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TRY_SECONDS)  # noqa: S603 - ourselves
    except subprocess.TimeoutExpired as error:
        raise ModelError(f"The estimator does not load and answer within {TRY_SECONDS} s.") from error
    # The exit code alone is no proof: a pickle can end the process with any code.
    if process.returncode != 0 or not process.stdout.strip():
        last = (process.stderr.strip().splitlines() or ["nothing"])[-1]
        raise ModelError(f"The estimator ends its process with {process.returncode}; it said: {last}")
    description = json.loads(process.stdout.splitlines()[-1])
    if "error" in description:
        raise ModelError(description["error"])
    return description


def _registered_source(settings: Settings, version: str) -> str | None:
    """Return the artifact location of a registered version; None if the registry fails."""
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    try:
        name = registry.registered_model_name(settings)
        return str(MlflowClient().get_model_version(name, version).source)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            raise
        return None


def _published_source(target: Path) -> str | None:
    try:
        return json.loads((target / scorer.DESCRIPTION_FILE).read_text())["source"]
    except (FileNotFoundError, json.JSONDecodeError, KeyError):
        return None


def _estimator(model: Path, uri: str) -> Path:
    from mlflow.models import Model

    artifacts = Model.load(str(model)).flavors.get("python_function", {}).get("artifacts", {})
    if "estimator" not in artifacts:
        raise ModelError(
            f"{uri} holds no estimator of churn_assets; expected one that churn_prediction_model logged."
        )
    estimator = (model / artifacts["estimator"]["path"]).resolve()
    if not estimator.is_relative_to(model.resolve()):
        raise ModelError(f"{uri} has its estimator outside of its own files. Train another version.")
    return estimator
