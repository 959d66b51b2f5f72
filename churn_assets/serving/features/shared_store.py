"""The online store of a lake in a bucket: published there, and mapped from a copy on each serving machine.

The files of a version are sent before the object that names it, so whoever follows that finds them all.
"""

import contextlib
from pathlib import Path

from churn_assets import bucket
from churn_assets.serving.endpoint import online_folder
from churn_assets.serving.features import online_store
from churn_assets.serving.features.online_store import POINTER
from churn_assets.settings import Settings

FILES = (online_store.IDS, online_store.FEATURES, online_store.META)


def share(settings: Settings, version: str) -> None:
    """Send a version that was published on this machine to the bucket, where it replaces the one before."""
    shared, folder = _shared(settings), online_folder(settings)
    for name in FILES:
        (shared / version / name).write_bytes((folder / version / name).read_bytes())
    before = bucket.read(shared / POINTER)
    (shared / POINTER).write_text(version)
    # Whoever read the name before this still finds its files.
    kept = {version, before.content.decode() if before else version}
    for old in {name.partition("/")[0] for name in bucket.sizes(shared)} - {POINTER, *kept}:
        bucket.remove(shared / old)


def follow(settings: Settings) -> bool:
    """Copy the current version of the bucket to this machine, unless it is here; return whether it was."""
    shared, folder = _shared(settings), online_folder(settings)
    pointer = bucket.read(shared / POINTER)
    if pointer is None:
        return False
    version = pointer.content.decode()
    with contextlib.suppress(FileNotFoundError):
        if online_store.current_version(folder) == version:
            return False
    online_store.adopt(folder, version, {name: (shared / version / name).read_bytes() for name in FILES})
    return True


def _shared(settings: Settings) -> Path:
    return settings.lake_root / "serving" / "online"
