"""From the registry to the server's folder: one version's estimator, tried out before anything serves it."""

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from churn_assets.errors import ModelError, one_line
from churn_assets.model.registry import registry
from churn_assets.serving.scoring import scorer
from churn_assets.settings import Settings

Describe = Callable[[Path], dict[str, Any]]

TRY_SECONDS = 120


def publish(settings: Settings, target: Path, version: str, describe: Describe) -> None:
    """Put a registered version where workers load it from; nothing is done where it is there already.

    Args:
        settings: ``registry.configure`` has been called with them.
        target: the version's folder; it appears whole or not at all.
        version: a number in the registry.
        describe: tries the estimator out, as ``in_a_process`` or ``scorer.describe`` do.

    Raises:
        ModelError: there is no such version, or it is none that can be served.
    """
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    uri = registry.model_uri(settings, version)
    try:
        source = _source(settings, version)
        found = _source_of(target)
        # A registry that fails does not take away what was served before.
        if found and source in (found, None):
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".new-") as scratch:
            model = Path(download_artifacts(uri, dst_path=scratch))
            draft = Path(scratch) / "draft"
            draft.mkdir()
            shutil.copyfile(_estimator(model, uri), draft / scorer.ESTIMATOR_FILE)
            description = {**describe(draft), "source": source}
            (draft / scorer.DESCRIPTION_FILE).write_text(json.dumps(description))
            # Left from another registry that counted the same way.
            shutil.rmtree(target, ignore_errors=True)
            draft.rename(target)
    except (MlflowException, OSError) as error:
        raise ModelError(f"{uri} cannot be had: {one_line(error)}. See: churn status") from error


def in_a_process(folder: Path) -> dict[str, Any]:
    """Try an estimator out in a process that ends afterwards.

    Raises:
        ModelError: what it said, or how it ended.
    """
    command = [sys.executable, "-m", scorer.__name__, str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TRY_SECONDS)  # noqa: S603 - ourselves
    except subprocess.TimeoutExpired as error:
        raise ModelError(f"The estimator does not load and answer within {TRY_SECONDS} s.") from error
    # The status alone tells little: what a pickle calls may end the process with any.
    if done.returncode != 0 or not done.stdout.strip():
        last = (done.stderr.strip().splitlines() or ["nothing"])[-1]
        raise ModelError(f"The estimator ends its process with {done.returncode}; it said: {last}")
    description = json.loads(done.stdout.splitlines()[-1])
    if "error" in description:
        raise ModelError(description["error"])
    return description


def _source(settings: Settings, version: str) -> str | None:
    """Where the registry has the version from; None where the registry fails."""
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    try:
        name = registry.registered_model_name(settings)
        return str(MlflowClient().get_model_version(name, version).source)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            raise
        return None


def _source_of(target: Path) -> str | None:
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
    return model / artifacts["estimator"]["path"]
