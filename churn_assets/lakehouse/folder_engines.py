"""What differs between the engines that compute on a lake in folders."""

import os
from typing import NamedTuple

from churn_assets.lakehouse.lake import FileDiscovery
from churn_assets.lakehouse.landing_lines import DEFAULT_READERS
from churn_assets.settings import Settings


class FolderEngine(NamedTuple):
    """An engine that reads Delta tables in folders.

    Attributes:
        name: for people.
        needs_java: whether it runs in a JVM.
        has_catalogs: whether it knows three-level names; else catalog and schema are joined into one.
        needs_plain_paths: whether it misreads some characters of a location. Apache Spark takes a location
            as it is, and so do its workers on other machines, where there is no link to it.
        needs_arrow_writes: whether its own writer is slow, or its commits not safe; see ``arrow_writes``.
        commits_safely: whether its own commits, of merges and creations, overwrite no other writer's.
        finds_files_by: how it finds new event files.
        parallel_files: how many of them it reads at once. Sail's readers are threads of this process, which
            wait for each other if there are many more than cores.
    """

    name: str
    needs_java: bool
    has_catalogs: bool
    needs_plain_paths: bool
    needs_arrow_writes: bool
    commits_safely: bool
    finds_files_by: FileDiscovery
    parallel_files: int


def folder_engine(settings: Settings) -> FolderEngine:
    """Return the engine of this deployment: Apache Spark for ``spark``, else Sail."""
    if settings.deployment == "spark":
        return FolderEngine(
            name=f"Apache Spark at {settings.spark_master}",
            needs_java=True,
            has_catalogs=False,
            needs_plain_paths=False,
            needs_arrow_writes=settings.is_in_bucket,
            commits_safely=not settings.is_in_bucket,
            # A stream's checkpoint wants files that are renamed, which no bucket does.
            finds_files_by="listing" if settings.is_in_bucket else "file stream",
            parallel_files=DEFAULT_READERS,
        )
    return FolderEngine(
        name="Sail",
        needs_java=False,
        has_catalogs=True,
        needs_plain_paths=True,
        needs_arrow_writes=True,
        commits_safely=True,
        finds_files_by="listing",
        parallel_files=2 * (os.cpu_count() or 2),
    )
