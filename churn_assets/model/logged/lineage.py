"""The tables that a training read and the commit that it ran. Imported only where MLflow is used."""

import logging
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlflow.data.delta_dataset_source import DeltaDatasetSource
from mlflow.data.meta_dataset import MetaDataset

from churn_assets import identity
from churn_assets.errors import one_line
from churn_assets.model.registry import registry
from churn_assets.settings import Settings

PATIENCE_SECONDS = 30

log = logging.getLogger(__name__)


class DeltaTableVersion(DeltaDatasetSource):
    """One version of a Delta table, by its three-level name.

    MLflow's own class drops version 0, and asks a workspace for the id of any table with such a name.
    """

    def to_dict(self) -> dict[str, Any]:
        """Return what MLflow stores."""
        return {
            "delta_table_name": self.delta_table_name,
            "delta_table_version": self.delta_table_version,
        }


class UnityTableVersion(DeltaTableVersion):
    """One version of a table of Unity Catalog, with its id there.

    Without the id MLflow leaves the table out of the lineage that it sends with a model's version.
    """

    def to_dict(self) -> dict[str, Any]:
        """Return what MLflow stores."""
        return super().to_dict() | {
            "is_databricks_uc_table": True,
            "delta_table_id": self.delta_table_id,
        }


def log_tables_read(mlflow: Any, settings: Settings, delta_versions: Mapping[str, int]) -> None:
    """Log each table's version as a tag, which can be searched for, and as a dataset of the run."""
    mlflow.set_tags({f"delta_version.{table}": version for table, version in delta_versions.items()})
    for table, version in delta_versions.items():
        source = _source(settings, table, version)
        mlflow.log_input(MetaDataset(source, name=table, digest=f"version {version}"), context="training")


def _source(settings: Settings, table: str, version: int) -> DeltaTableVersion:
    if not registry.uses_unity_catalog(settings):
        return DeltaTableVersion(delta_table_name=table, delta_table_version=version)
    # Contracts name catalogs by their settings, Unity Catalog by what these say.
    catalog, _, rest = table.partition(".")
    name = f"{getattr(settings, catalog)}.{rest}"
    return UnityTableVersion(
        delta_table_name=name, delta_table_version=version, delta_table_id=_table_id(settings, name)
    )


def _table_id(settings: Settings, name: str) -> str | None:
    """Ask for a table's id; None where there is no answer, as a training is worth more than its lineage.

    Not by MLflow, which asks version 2.0 of an API whose documented version is 2.1.
    """
    from databricks.sdk import WorkspaceClient
    from databricks.sdk.config import Config

    arguments: dict[str, Any] = dict(identity.share(settings).arguments)
    try:
        config = Config(**arguments, retry_timeout_seconds=PATIENCE_SECONDS)
        return WorkspaceClient(config=config).tables.get(name).table_id
    except Exception as error:  # noqa: BLE001 - whatever it is, see above
        log.warning("The model's lineage will lack %s: %s", name, one_line(error))
        return None


def git_sha() -> dict[str, str]:
    """Return the tag of the commit that trains; empty outside a checkout and without git."""
    package = Path(__file__).parents[2]
    git = shutil.which("git")
    if git is None or not any((folder / ".git").exists() for folder in package.parents):
        return {}
    process = subprocess.run(  # noqa: S603 - a fixed command
        [git, "-C", str(package), "rev-parse", "HEAD"], capture_output=True, text=True, check=False
    )
    return {"git_sha": process.stdout.strip()} if process.returncode == 0 else {}
