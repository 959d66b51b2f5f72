"""Only what this lake's platform registered is run, and nothing of what was changed since."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from churn_assets.errors import ModelError
from churn_assets.model.registry import registry, signatures
from churn_assets.settings import Settings
from churn_assets.tables import CHURN_PREDICTIONS
from churn_assets_tests.model.conftest import mlflow_state_as_it_was, settings_with_database

NAME = registry.MODEL_NAME
BOMB = b"cos\nmkdir\n(S'exploded'\ntR."


@pytest.fixture
def settings(tmp_path: Path, new_database: Path) -> Iterator[Settings]:
    """A lake with one version, which this platform registered."""
    settings = settings_with_database(tmp_path / "lake", new_database)
    with mlflow_state_as_it_was():
        registry.configure(settings)
        import mlflow

        mlflow.set_experiment(registry.experiment_name(settings))
        logged(settings)
        yield settings


def logged(settings: Settings, *, by_platform: bool = True) -> Any:
    """A version of one file, which need not be a model to be signed."""
    import mlflow

    with mlflow.start_run() as run:
        folder = settings.lake_root / "logged"
        folder.mkdir(exist_ok=True)
        (folder / "MLmodel").write_text("flavors: {}\n")
        (folder / "estimator.pkl").write_bytes(b"a pickle")
        mlflow.log_artifacts(str(folder), "model")
        source = f"{run.info.artifact_uri}/model"
    client = mlflow.MlflowClient()
    if not by_platform:
        return client.create_model_version(NAME, source, run.info.run_id)
    if not client.search_registered_models():
        client.create_registered_model(NAME)
    version = client.create_model_version(NAME, source, run.info.run_id)
    signatures.sign(settings, client, version)
    return version


def files_of(settings: Settings, version: str) -> Path:
    from mlflow import MlflowClient
    from mlflow.artifacts import download_artifacts

    return Path(download_artifacts(str(MlflowClient().get_model_version(NAME, version).source)))


def test_what_this_platform_registered_may_be_run(settings: Settings):
    registry.require_own(settings, "1")


def test_what_loading_adds_changes_nothing(settings: Settings):
    folder = files_of(settings, "1")
    (folder / "registered_model_meta").write_text("model_version: '1'")
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "churn_model.cpython-311.pyc").write_bytes(b"code")

    registry.require_own(settings, "1")


def test_what_somebody_else_registered_is_refused(settings: Settings):
    logged(settings, by_platform=False)

    with pytest.raises(ModelError, match="Version 2 was not registered by this lake's platform"):
        registry.require_own(settings, "2")


@pytest.mark.parametrize("change", ["changed", "added", "removed", "renamed"])
def test_a_file_that_is_not_as_it_was_is_refused(settings: Settings, change: str):
    folder = files_of(settings, "1")
    file = folder / "estimator.pkl"
    if change == "changed":
        file.write_bytes(BOMB)
    elif change == "added":
        (folder / "code.py").write_text("import os")
    elif change == "removed":
        file.unlink()
    else:
        file.rename(folder / "other.pkl")

    with pytest.raises(ModelError, match="files of version 1 are not those that this lake's platform"):
        registry.require_own(settings, "1")


def test_a_signature_of_another_version_is_worth_nothing(settings: Settings):
    """Whoever writes to the registry can copy a tag, and not make one."""
    import mlflow

    client = mlflow.MlflowClient()
    stolen = client.get_model_version(NAME, "1").tags[signatures.TAG]
    other = logged(settings, by_platform=False)
    (files_of(settings, str(other.version)) / "estimator.pkl").write_bytes(BOMB)
    client.set_model_version_tag(NAME, str(other.version), signatures.TAG, stolen)

    with pytest.raises(ModelError, match="files of version 2 are not those"):
        registry.require_own(settings, "2")


def test_another_lake_of_the_same_registry_trusts_nothing_of_it(settings: Settings, tmp_path: Path):
    other = settings.model_copy(update={"lake_root": tmp_path / "other"})

    with pytest.raises(ModelError, match="files of version 1 are not those"):
        registry.require_own(other, "1")


def test_a_lake_from_before_signatures_goes_on_with_its_production(settings: Settings):
    logged(settings, by_platform=False)
    logged(settings, by_platform=False)
    registry.promote(settings, "2")
    (settings.lake_root / "serving" / signatures.KEY_FILE).unlink()
    _has_scored(settings)

    registry.require_own(settings, "2")

    with pytest.raises(ModelError, match="Version 3 was not registered by this lake's platform"):
        registry.require_own(settings, "3")
    registry.promote(settings, "3")
    with pytest.raises(ModelError, match="Version 3 was not registered by this lake's platform"):
        registry.require_own(settings, "3")


def _has_scored(settings: Settings) -> None:
    import pyarrow as pa
    from deltalake import write_deltalake

    table = CHURN_PREDICTIONS
    folder = settings.lake_root / settings.main_catalog / table.schema / table.name
    write_deltalake(folder, pa.table({"user_id": [1]}))


def test_the_key_is_for_its_owner_alone(settings: Settings):
    path = settings.lake_root / "serving" / signatures.KEY_FILE

    assert path.stat().st_mode & 0o077 == 0
    assert [file.name for file in path.parent.iterdir() if file.name.endswith("-new")] == []
    shutil.copy(path, path.with_name("copy"))
    path.chmod(0o644)
    with pytest.raises(Exception, match="has mode 644, so others can read it"):
        registry.require_own(settings, "1")
