"""What is published for the scoring server, here and in a bucket: all versions, or only a new one."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from churn_assets import bucket
from churn_assets.serving import shared_store, versions
from churn_assets.serving.shared_store import Shared
from churn_assets.settings import Settings

# A server of this machine that copies a version may be at it for so long.
PATIENCE_SECONDS = 600


@contextmanager
def all_versions(settings: Settings, what: Shared) -> Iterator[list[Path]]:
    """Give the folders of all versions; of those in a bucket, copies that are removed afterwards."""
    copies = settings.local_root / f".erasing-{what.name}"
    # Of whoever was killed here.
    shutil.rmtree(copies, ignore_errors=True)
    found = versions.version_folders(what.here(settings))
    try:
        if settings.is_in_bucket:
            for version in sorted(shared_store.versions_in_bucket(settings, what)):
                folder = copies / version
                folder.mkdir(parents=True)
                _copy(what.in_bucket(settings) / version, folder)
                found.append(folder)
        yield found
    finally:
        shutil.rmtree(copies, ignore_errors=True)


@contextmanager
def replacing(settings: Settings, what: Shared) -> Iterator[Path]:
    """Give the folder of this machine, with the current version in it, to publish another version.

    Afterwards no version but the current one is there, nor in the bucket; none at all if none is current.
    """
    if settings.is_in_bucket:
        shared_store.follow(settings, what, PATIENCE_SECONDS)
    folder = what.here(settings)
    before = versions.version_folders(folder)
    with shared_store.publishing(settings, what, PATIENCE_SECONDS):
        yield folder
        current = versions.current_version(folder) if (folder / versions.POINTER).exists() else ""
        if settings.is_in_bucket:
            _send(settings, what, current)
        for one in before:
            if one.name != current:
                bucket.remove(one)


def _send(settings: Settings, what: Shared, current: str) -> None:
    there = what.in_bucket(settings)
    if current:
        shared_store.share(settings, current, what)
    else:
        bucket.remove(there / versions.POINTER)
    for old in shared_store.versions_in_bucket(settings, what) - {current}:
        bucket.remove(there / old)


def _copy(version: Path, folder: Path) -> None:
    for name in bucket.sizes(version):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes((version / name).read_bytes())
