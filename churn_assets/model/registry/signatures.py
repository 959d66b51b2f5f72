"""Signatures of model versions: a model is code, and only code that this platform registered is run.

A version's tag holds a keyed digest of its files. The key is a file of the lake, so whoever can write to the
registry or to its artifacts, and not to the lake, can neither add a version that is loaded nor change one.
In Unity Catalog there are no signatures: its permissions say who may register, and no server of ours loads.
"""

import contextlib
import hashlib
import hmac
from pathlib import Path
from typing import TYPE_CHECKING

from churn_assets.errors import ModelError
from churn_assets.own_secrets import own_secret
from churn_assets.settings import Settings
from churn_assets.tables import CHURN_PREDICTIONS, MODEL_PROMOTIONS

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

TAG = "files_signature"
KEY_FILE = "model-key"

# MLflow writes the one beside a version that it fetches, and Python the others where it runs a model's code.
NOT_LOGGED = ("registered_model_meta", "__pycache__")

IN_MESSAGES = "The key of this lake's models", "Mend the lake's folder."


def has_key(settings: Settings) -> bool:
    """Whether versions are signed in this lake: an older one signs its own when it next uses one."""
    return not _has_no_signatures(settings) and _key_file(settings).exists()


def sign(settings: Settings, client: "MlflowClient", version: "ModelVersion") -> None:
    """Sign a version whose files this process has just made."""
    if _has_no_signatures(settings):
        return
    key = _key(settings, client, version.name)
    client.set_model_version_tag(version.name, str(version.version), TAG, _signature(key, _files(version)))


def require(
    settings: Settings, client: "MlflowClient", version: "ModelVersion", folder: Path | None = None
) -> None:
    """Require that a version's files are those that were signed.

    Args:
        settings: of the deployment.
        client: of its registry.
        version: as the registry has it.
        folder: a copy of the version's files; None fetches them.

    Raises:
        ModelError: the version is not signed with this lake's key, or its files have changed since.
    """
    if _has_no_signatures(settings):
        return
    number = str(version.version)
    key = _key(settings, client, version.name)
    # Anew, because the first use of the key signs the versions of before.
    signed = client.get_model_version(version.name, number).tags.get(TAG, "")
    if not signed:
        raise ModelError(
            f"Version {number} was not registered by this lake's platform, so none of its code is run. Train "
            "one (materialise churn_prediction_model), or set the CHURN_LAKE_ROOT that it was trained in."
        )
    if not hmac.compare_digest(signed, _signature(key, _files(version) if folder is None else folder)):
        raise ModelError(
            f"The files of version {number} are not those that this lake's platform registered, so none of "
            "its code is run. Bring them back, or train another version (materialise churn_prediction_model)."
        )


def digest(folder: Path) -> str:
    """Return the SHA-256 of the names and contents of all files in a folder, without what was not logged."""
    lines = []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if path.is_file() and not set(name.parts) & set(NOT_LOGGED):
            lines.append(f"{hashlib.sha256(path.read_bytes()).hexdigest()} {name.as_posix()}\n")
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _signature(key: str, folder: Path) -> str:
    return hmac.new(key.encode(), digest(folder).encode(), hashlib.sha256).hexdigest()


def _files(version: "ModelVersion") -> Path:
    from mlflow.artifacts import download_artifacts

    return Path(download_artifacts(f"models:/{version.name}/{version.version}"))


def _key(settings: Settings, client: "MlflowClient", name: str) -> str:
    path = _key_file(settings)
    # A lake in a bucket had a key from its first version on.
    if not settings.is_in_bucket and not path.exists():
        from filelock import FileLock

        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(f".{KEY_FILE}.lock")):
            if not path.exists():
                # In place only once all are signed: whoever is killed before begins anew.
                draft = path.with_name(f".{KEY_FILE}-new")
                _sign_those_of_before(settings, client, name, own_secret(draft, *IN_MESSAGES))
                draft.replace(path)
    return own_secret(path, *IN_MESSAGES)


def _key_file(settings: Settings) -> Path:
    return settings.lake_root / "serving" / KEY_FILE


def _sign_those_of_before(settings: Settings, client: "MlflowClient", name: str, key: str) -> None:
    """Sign the versions that this lake has trusted before it had a key: those that were Production."""
    from mlflow.exceptions import MlflowException

    for number in _trusted_before(settings, client, name):
        try:
            version = client.get_model_version(name, number)
            client.set_model_version_tag(name, number, TAG, _signature(key, _files(version)))
        except (MlflowException, OSError):
            # Deleted meanwhile, or without its files: nothing of it can be run.
            continue


def _trusted_before(settings: Settings, client: "MlflowClient", name: str) -> list[str]:
    from deltalake import DeltaTable
    from mlflow.exceptions import MlflowException

    promotions, predictions = (
        settings.lake_root / settings.main_catalog / table.schema / table.name
        for table in (MODEL_PROMOTIONS, CHURN_PREDICTIONS)
    )
    trusted: set[int] = set()
    if DeltaTable.is_deltatable(str(promotions)):
        trusted |= set(DeltaTable(promotions).to_pyarrow_table(columns=["version"])["version"].to_pylist())
    # A lake that has scored nothing has trusted nobody, whatever a shared registry has.
    if DeltaTable.is_deltatable(str(predictions)):
        with contextlib.suppress(MlflowException):
            trusted.add(int(client.get_model_version_by_alias(name, "Production").version))
    return [str(number) for number in sorted(trusted)]


def _has_no_signatures(settings: Settings) -> bool:
    # Clusters have no lake's folder to share a key in, whatever MLflow is.
    return settings.deployment == "databricks" or settings.mlflow_tracking_uri.startswith("databricks")
