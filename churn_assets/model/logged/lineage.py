"""The tables that a training read and the commit that it ran. Imported only where MLflow is used."""

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlflow.data.delta_dataset_source import DeltaDatasetSource
from mlflow.data.meta_dataset import MetaDataset


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


def log_tables_read(mlflow: Any, delta_versions: Mapping[str, int]) -> None:
    """Log each table's version as a tag, which can be searched for, and as a dataset of the run."""
    mlflow.set_tags({f"delta_version.{table}": version for table, version in delta_versions.items()})
    for table, version in delta_versions.items():
        source = DeltaTableVersion(delta_table_name=table, delta_table_version=version)
        mlflow.log_input(MetaDataset(source, name=table, digest=f"version {version}"), context="training")


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
