"""A folder of published versions, each a folder of its own, and a file that names the current one.

That file is replaced last, so an interrupted publication leaves the version before, which stays on disk for
whoever has it open. Every worker of the server imports this module: it needs the standard library alone.
"""

import contextlib
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Generic, TypeVar

from churn_assets import durable_files

POINTER = "CURRENT"

T = TypeVar("T")


def current_version(folder: Path) -> str:
    """Return the name of the current version.

    Raises:
        FileNotFoundError: nothing has been published.
    """
    return (folder / POINTER).read_text()


def version_folders(folder: Path) -> list[Path]:
    """Return the folders of all versions on disk, by name."""
    return sorted(path for path in folder.glob("*-v*") if path.is_dir())


class Current(Generic[T]):
    """What is open of the current version. A look costs one ``stat`` if nothing changed.

    Args:
        folder: of all versions.
        read: opens the current version; None if there is none after all.
        close: is given what is open once another version has taken its place.
    """

    def __init__(
        self, folder: Path, read: Callable[[], T | None], close: Callable[[T], None] | None = None
    ) -> None:
        self._pointer = folder / POINTER
        self._read = read
        self._close = close
        self._cached_file: tuple[int, ...] | None = None
        self._open: T | None = None

    def get(self) -> T | None:
        """Return what is open, None before the first version; raises what ``read`` does."""
        try:
            status = os.stat(self._pointer)  # noqa: PTH116 - on the path of every request
        except FileNotFoundError:
            self._replace(None, None)
            return None
        file = (status.st_ino, status.st_mtime_ns, status.st_size)
        if file != self._cached_file:
            self._replace(self._read(), file)
        return self._open

    def _replace(self, opened: T | None, file: tuple[int, ...] | None) -> None:
        if self._open is not None and self._close:
            self._close(self._open)
        self._open, self._cached_file = opened, file


def add(folder: Path, version: str, write: Callable[[Path], None]) -> None:
    """Make a version and let it be the current one. The version before stays on disk, older ones go.

    Args:
        folder: of all versions, created if it is missing.
        version: its name.
        write: writes its files into the empty folder that it is given; they are brought to disk here.
    """
    from filelock import FileLock

    folder.mkdir(parents=True, exist_ok=True)
    # One publisher at a time, or one would remove what another is still writing.
    with FileLock(folder / ".lock"):
        target = folder / version
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()
        write(target)
        for path in (*target.iterdir(), target):
            durable_files.sync(path)
        _clear(folder, keep={version, _replace_pointer(folder, version)})


def adopt(folder: Path, version: str, files: Mapping[str, bytes]) -> None:
    """Make a version that was published elsewhere the current one here.

    Args:
        folder: of all versions, created if it is missing.
        version: its name.
        files: the contents of its files by name.
    """

    def write(target: Path) -> None:
        for name, content in files.items():
            (target / name).write_bytes(content)

    add(folder, version, write)


def _replace_pointer(folder: Path, version: str) -> str | None:
    """Make this version the current one, and return the previous one."""
    previous = None
    with contextlib.suppress(FileNotFoundError):
        previous = current_version(folder)
    draft = folder / f".{POINTER}-{version}"
    durable_files.write(draft, version.encode())
    draft.replace(folder / POINTER)
    durable_files.sync(folder)
    return previous


def _clear(folder: Path, keep: set[str | None]) -> None:
    for path in folder.iterdir():
        if path.is_dir() and path.name not in keep:
            shutil.rmtree(path)
        elif path.name.startswith(f".{POINTER}-"):
            path.unlink()
