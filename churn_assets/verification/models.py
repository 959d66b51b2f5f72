"""The files of registered model versions, and the past of the tables that these were trained on."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from churn_assets import stored_databases
from churn_assets.errors import ModelError, one_line
from churn_assets.lakehouse import damage
from churn_assets.lakehouse.folder_lake import FolderLakehouse
from churn_assets.model.registry import drift_reference, moved_lake, registry, signatures
from churn_assets.settings import Settings
from churn_assets.tables import TABLES
from churn_assets.verification.findings import MODEL, Finding, damaged, well

REPAIR = "churn repair model"
DESCRIPTION = "MLmodel"

_VERSIONS = """
SELECT version.version, version.run_id, version.storage_location, alias.alias, run.artifact_uri
FROM model_versions AS version
LEFT JOIN runs AS run ON run.run_uuid = version.run_id
LEFT JOIN registered_model_aliases AS alias
    ON alias.name = version.name AND alias.version = version.version AND alias.alias = ?
WHERE version.name = ? AND version.current_stage != 'Deleted_Internal'
ORDER BY version.version
"""
_DELTA_VERSIONS = "SELECT key, value FROM tags WHERE run_uuid = ? AND key LIKE 'delta_version.%'"


class StoredVersion(NamedTuple):
    """A registered version: its training's run, the folders of its and its run's files, its tables' versions.

    A folder is None where it is none of this machine.
    """

    version: str
    run_id: str | None
    is_production: bool
    folder: Path | None
    run_folder: Path | None
    delta_versions: dict[str, int]


def versions(settings: Settings, *, deep: bool = False) -> Iterator[Finding]:
    """Look at the files of each registered version.

    Args:
        settings: whose database can be read.
        deep: compare each version's files with its signature, load it, and ask it about its own example.
    """
    for stored in stored_versions(settings):
        name = f"{registry.MODEL_NAME} version {stored.version}"
        says = version_damage(settings, stored, deep=deep)
        if says is None:
            yield well(name, "its files are there")
            continue
        needed_by = ("churn_predictions", "churn_prediction_endpoint") if stored.is_production else ()
        yield damaged(name, says, REPAIR, (*needed_by, f"churn reproduce {stored.version}"))


def training_tables(lake: FolderLakehouse) -> Iterator[Finding]:
    """Look at the past versions of tables that registered versions were trained on."""
    tables = {str(table): table for table in TABLES}
    for stored in stored_versions(lake.settings):
        for name, number in stored.delta_versions.items():
            table = tables.get(name)
            if table is None or lake.version(table) < 0:
                continue
            says = _past_damage(lake.location(table), number)
            if says:
                # No damage to anything that is computed, and nothing here can mend it.
                yield well(
                    f"{lake.table_name(table)} at version {number}",
                    f"{says}; {MODEL} version {stored.version} was trained on it and cannot be reproduced "
                    "without a backup",
                )


def stored_versions(settings: Settings) -> list[StoredVersion]:
    """Return the registered versions by the registry's database alone; none where a server has it."""
    if (place := registry.database(settings)) is None or registry.has_no_database(settings):
        return []
    with stored_databases.reading(place) as found:
        rows = found.execute(
            _VERSIONS, (registry.PRODUCTION_ALIAS, registry.registered_model_name(settings))
        ).fetchall()
        return [
            StoredVersion(
                str(version),
                run_id,
                alias is not None,
                _folder(settings, place),
                _folder(settings, of_run),
                _delta_versions(found.execute(_DELTA_VERSIONS, (run_id,)).fetchall()),
            )
            for version, run_id, place, alias, of_run in rows
        ]


def _delta_versions(tags: Iterable[tuple[str, str]]) -> dict[str, int]:
    return {key.partition(".")[2]: int(value) for key, value in tags}


def version_damage(settings: Settings, stored: StoredVersion, *, deep: bool = False) -> str | None:
    """Return what is wrong with a version's files, or with what its drift is measured against.

    Args:
        settings: of the deployment.
        stored: the version.
        deep: see ``versions``.
    """
    if stored.folder:
        says = files_damage(stored.folder)
        if says is None and deep:
            # A model is code: what this lake did not register is not run, not even to look at it.
            says = _signature_fails(settings, stored) or _loading_fails(stored.folder)
        if says:
            return says
    reference = stored.run_folder / drift_reference.ARTIFACT if stored.run_folder else None
    if reference is None or not stored.is_production:
        return None
    try:
        drift_reference.reference_of(json.loads(reference.read_text()))
    except FileNotFoundError:
        return f"{reference} is missing, which drift is measured against"
    except (OSError, ValueError, LookupError, TypeError):
        return f"{reference} cannot be read, which drift is measured against"
    return None


def files_damage(folder: Path) -> str | None:
    """Return what is wrong with the files of a logged model, None where they are as its description says."""
    try:
        described: dict[str, Any] = yaml.safe_load((folder / DESCRIPTION).read_text())
        size, flavors = int(described["model_size_bytes"]), described["flavors"]
    except FileNotFoundError:
        return f"its files are missing: there is no {folder / DESCRIPTION}"
    except (OSError, UnicodeDecodeError, yaml.YAMLError, LookupError, TypeError, ValueError):
        return f"its description {folder / DESCRIPTION} cannot be read"
    wanted = [one["path"] for one in flavors.get("python_function", {}).get("artifacts", {}).values()]
    if missing := [name for name in wanted if not (folder / name).is_file()]:
        return f"{len(missing)} of its files are missing: {missing[0]}"
    files = [file for file in folder.rglob("*") if file.is_file()]
    for file in files:
        # A pickle ends with its STOP, a full stop.
        if file.suffix == ".pkl" and not file.read_bytes().endswith(b"."):
            return f"{file.relative_to(folder)} is cut off"
    # MLflow adds its own files up before it has written the last of them.
    found = sum(file.stat().st_size for file in files)
    return None if found >= size else f"its files have {found:,} bytes, less than {size:,}"


def _folder(settings: Settings, place: str | None) -> Path | None:
    return moved_lake.folder_of(moved_lake.place_now(place, settings.mlflow_artifact_root)) if place else None


def _signature_fails(settings: Settings, stored: StoredVersion) -> str | None:
    if not signatures.has_key(settings):
        return None
    registry.configure(settings)
    from mlflow import MlflowClient

    client = MlflowClient()
    version = client.get_model_version(registry.registered_model_name(settings), stored.version)
    try:
        signatures.require(settings, client, version, stored.folder)
    except ModelError as error:
        return str(error).partition(", so none")[0]
    return None


def _loading_fails(folder: Path) -> str | None:
    import mlflow.pyfunc

    try:
        model = mlflow.pyfunc.load_model(str(folder))
        if model.input_example is not None:
            model.predict(model.input_example)
    except Exception as error:  # noqa: BLE001 - a pickle may raise anything
        return f"it cannot be loaded: {one_line(error, with_class=True)}"
    return None


def _past_damage(location: Path, number: int) -> str | None:
    try:
        past = DeltaTable(location, version=number)
    except DeltaError:
        return "the log no longer knows it"
    gone = damage.damaged_files(past, location)
    return f"{len(gone)} of its files are gone" if gone else None
