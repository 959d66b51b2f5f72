"""What is published for the server of a lake in a bucket: sent there, and copied to each serving machine.

The files of a version are sent before the object that names it, so whoever follows that finds them all.
"""

import contextlib
from pathlib import Path
from typing import NamedTuple

from churn_assets import bucket
from churn_assets.serving import versions
from churn_assets.serving.endpoint import online_folder, page_folder
from churn_assets.serving.features import online_store
from churn_assets.serving.page import store as page_store
from churn_assets.serving.versions import POINTER
from churn_assets.settings import Settings


class Shared(NamedTuple):
    """Something that is published: the name of its folder, here and in the bucket, and of its files."""

    name: str
    files: tuple[str, ...]

    def here(self, settings: Settings) -> Path:
        """Return its folder on this machine."""
        return {"online": online_folder, "page": page_folder}[self.name](settings)

    def in_bucket(self, settings: Settings) -> Path:
        """Return its prefix in the bucket."""
        return settings.lake_root / "serving" / self.name


ONLINE = Shared("online", (online_store.IDS, online_store.FEATURES, online_store.META))
PAGE = Shared("page", (page_store.FILE,))


def share(settings: Settings, version: str, what: Shared = ONLINE) -> None:
    """Send a version that was published on this machine to the bucket, where it replaces the one before."""
    shared, folder = what.in_bucket(settings), what.here(settings)
    for name in what.files:
        (shared / version / name).write_bytes((folder / version / name).read_bytes())
    before = bucket.read(shared / POINTER)
    (shared / POINTER).write_text(version)
    # Whoever read the name before this still finds its files.
    kept = {version, before.content.decode() if before else version}
    for old in {name.partition("/")[0] for name in bucket.sizes(shared)} - {POINTER, *kept}:
        bucket.remove(shared / old)


def follow(settings: Settings, what: Shared = ONLINE) -> bool:
    """Copy the current version of the bucket to this machine, unless it is here; return whether it was."""
    shared, folder = what.in_bucket(settings), what.here(settings)
    pointer = bucket.read(shared / POINTER)
    if pointer is None:
        return False
    version = pointer.content.decode()
    with contextlib.suppress(FileNotFoundError):
        if versions.current_version(folder) == version:
            return False
    versions.adopt(folder, version, {name: (shared / version / name).read_bytes() for name in what.files})
    return True
