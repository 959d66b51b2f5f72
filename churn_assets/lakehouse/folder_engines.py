"""What differs between the engines that compute on a lake in folders."""

from typing import NamedTuple

from churn_assets.lakehouse.lake import FileDiscovery
from churn_assets.settings import Settings


class FolderEngine(NamedTuple):
    """An engine that reads Delta tables in folders.

    Attributes:
        name: for people.
        needs_java: whether it runs in a JVM.
        has_catalogs: whether it knows three-level names; else catalog and schema are joined into one.
        needs_plain_paths: whether it misreads some characters of a location. Apache Spark takes a location
            as it is, and so do its workers on other machines, where there is no link to it.
        commits_empty_writes: whether appending no row is a commit.
        finds_files_by: how it finds new event files.
    """

    name: str
    needs_java: bool
    has_catalogs: bool
    needs_plain_paths: bool
    commits_empty_writes: bool
    finds_files_by: FileDiscovery


def folder_engine(settings: Settings) -> FolderEngine:
    """Return the engine of this deployment: Apache Spark for ``spark``, else Sail."""
    if settings.deployment == "spark":
        return FolderEngine(
            name=f"Apache Spark at {settings.spark_master}",
            needs_java=True,
            has_catalogs=False,
            needs_plain_paths=False,
            commits_empty_writes=True,
            finds_files_by="file stream",
        )
    return FolderEngine(
        name="Sail",
        needs_java=False,
        has_catalogs=True,
        needs_plain_paths=True,
        commits_empty_writes=False,
        finds_files_by="listing",
    )
