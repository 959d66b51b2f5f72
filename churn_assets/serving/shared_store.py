"""What is published for the server of a lake in a bucket: sent there, and copied to each serving machine.

The files of a version are sent before the object that names it, so whoever follows that finds them all.
"""

import contextlib
from collections.abc import Iterator
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


@contextlib.contextmanager
def publishing(settings: Settings, what: Shared, patience: float = -1) -> Iterator[None]:
    """Keep the follower of this machine away until what is published here has been sent, too.

    It would bring the version before back, and remove the one that is about to be sent.

    Args:
        settings: of the lake; in a folder nobody follows anything.
        what: is published.
        patience: seconds to wait for another, for ever if negative.

    Raises:
        filelock.Timeout: another is at it for longer.
    """
    if not settings.is_in_bucket:
        yield
        return
    from filelock import FileLock

    folder = what.here(settings)
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".sharing", timeout=patience):
        yield


def share(settings: Settings, version: str, what: Shared = ONLINE) -> None:
    """Send a version that was published on this machine to the bucket, where it replaces the one before."""
    shared, folder = what.in_bucket(settings), what.here(settings)
    for name in what.files:
        (shared / version / name).write_bytes((folder / version / name).read_bytes())
    before = current_in_bucket(settings, what)
    (shared / POINTER).write_text(version)
    # Whoever read the name before this still finds its files.
    for old in versions_in_bucket(settings, what) - {version, before}:
        bucket.remove(shared / old)


def current_in_bucket(settings: Settings, what: Shared) -> str | None:
    """Return the name of the version that the bucket says is current; None before the first."""
    pointer = bucket.read(what.in_bucket(settings) / POINTER)
    return pointer.content.decode() if pointer else None


def versions_in_bucket(settings: Settings, what: Shared) -> set[str]:
    """Return the names of all versions of which the bucket has a file."""
    return {name.partition("/")[0] for name in bucket.sizes(what.in_bucket(settings))} - {POINTER}


def follow(settings: Settings, what: Shared = ONLINE, patience: float = 0) -> bool:
    """Copy the current version of the bucket to this machine, unless it is here; return whether it was.

    Versions that the bucket has no longer, as after an erasure, go from here as well. While this machine is
    publishing one itself, nothing is done.

    Args:
        settings: of the lake.
        what: is followed.
        patience: seconds to wait for that.
    """
    from filelock import Timeout

    try:
        with publishing(settings, what, patience):
            return _follow(settings, what)
    except Timeout:
        return False


def _follow(settings: Settings, what: Shared) -> bool:
    shared, folder = what.in_bucket(settings), what.here(settings)
    version = current_in_bucket(settings, what)
    if version is None:
        return False
    with contextlib.suppress(FileNotFoundError):
        if versions.current_version(folder) == version:
            return False
    versions.adopt(folder, version, {name: (shared / version / name).read_bytes() for name in what.files})
    there = versions_in_bucket(settings, what)
    for old in versions.version_folders(folder):
        if old.name not in there:
            bucket.remove(old)
    return True
