"""The landing zone where it is a folder: each real file once, and why others cannot be ingested.

Links are followed, as folders elsewhere may be linked in; a file with several names is listed by one of them:
its own, or else the first link's. Odd entries are reported and never stop the rest.
"""

import os
import stat
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

SUFFIXES = tuple(f"{name}{gz}" for name in (".json", ".jsonl", ".ndjson") for gz in ("", ".gz"))

NOT_UTF8 = "its name is no UTF-8; rename it"
DANGLING = "is a link to nothing"
ABOVE = "is a link to a folder that it lies in, and is not followed"
NO_FILE = "is no file but a pipe, a socket or a device"
EMPTY_FOLDER = "is a folder, and one without event files"

# Names of one file share it: the path without links or, for hard links, the file system's id.
Identity = str | tuple[int, int]


def is_event_file(name: str) -> bool:
    """Whether a file of this name is ingested: JSON lines, plain or .gz, in any letter case."""
    return name.lower().endswith(SUFFIXES)


@dataclass
class FolderListing:
    """Names relative to the folder.

    Attributes:
        files: event files, each real file once.
        passed_over: files with other suffixes.
        left_out: event files, and folders, that cannot be ingested, each with the reason.
        has_aliases: whether a link or a hard link was seen, so that files may have other names.
        has_loops: whether a link leads to a folder that it lies in.
    """

    files: list[str] = field(default_factory=list)
    passed_over: list[str] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    has_aliases: bool = False
    has_loops: bool = False


def list_folder(folder: str) -> FolderListing:
    """List the folder and its subfolders; names that start with ``.`` or ``_`` do not count.

    Raises:
        OSError: the folder itself cannot be read.
    """
    return _Walk(folder).listing()


class _Walk:
    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._real = os.path.realpath(folder)
        self._listing = FolderListing()
        self._known: set[Identity] = set()
        self._seen_folders: set[str] = set()
        self._links: deque[tuple[str, str]] = deque()
        self._named_as_files: list[str] = []

    def listing(self) -> FolderListing:
        self._walk("", self._real)
        # Links last, so that a file's own name comes first; each folder that they lead to once.
        while self._links:
            self._follow(*self._links.popleft())
        listing = self._listing
        for name in self._named_as_files:
            inside = [*listing.files, *listing.left_out]
            if not any(each.startswith(f"{name}/") for each in inside):
                listing.left_out[shown(name)] = EMPTY_FOLDER
        listing.files.sort()
        listing.passed_over.sort()
        return listing

    def _walk(self, name: str, real: str) -> None:
        folders = deque([(name, real)])
        while folders:
            name, real = folders.popleft()
            if real in self._seen_folders:
                continue
            self._seen_folders.add(real)
            try:
                entries = sorted(os.scandir(f"{self._folder}/{name}"), key=lambda entry: entry.name)
            except OSError as error:
                if not name:
                    raise
                self._listing.left_out[shown(f"{name}/")] = _reason(error)
                continue
            for entry in entries:
                if entry.name[0] in "._":
                    continue
                inside, path = f"{name}/{entry.name}".lstrip("/"), f"{real}/{entry.name}"
                if entry.is_symlink():
                    self._listing.has_aliases = True
                    self._links.append((inside, real))
                elif entry.is_dir(follow_symlinks=False):
                    if is_event_file(entry.name):
                        self._named_as_files.append(inside)
                    folders.append((inside, path))
                else:
                    self._file(inside, path, entry)

    def _follow(self, name: str, holder: str) -> None:
        path = f"{self._folder}/{name}"
        target = os.path.realpath(path)
        if not Path(path).is_dir():
            self._file(name, target, path)
        elif f"{holder}/".startswith(target.rstrip("/") + "/"):
            self._listing.has_loops = True
            # Of a folder inside the landing zone every file has been listed by its own name.
            if not f"{target}/".startswith(f"{self._real}/"):
                self._listing.left_out[shown(f"{name}/")] = ABOVE
        else:
            self._walk(name, target)

    def _file(self, name: str, real: str, entry: "os.DirEntry[str] | str") -> None:
        listing = self._listing
        if not is_event_file(name):
            listing.passed_over.append(shown(name))
            return
        try:
            status = Path(entry).stat() if isinstance(entry, str) else entry.stat(follow_symlinks=False)
        except OSError as error:
            listing.left_out[shown(name)] = (
                DANGLING if isinstance(error, FileNotFoundError) else _reason(error)
            )
            return
        if reason := self._obstacle(name, status):
            listing.left_out[shown(name)] = reason
            return
        listing.has_aliases |= status.st_nlink > 1
        identity = _identity(real, status)
        if identity not in self._known:
            self._known.add(identity)
            listing.files.append(name)

    def _obstacle(self, name: str, status: os.stat_result) -> str | None:
        if shown(name) != name:
            return NOT_UTF8
        if not stat.S_ISREG(status.st_mode):
            return NO_FILE
        path = f"{self._folder}/{name}"
        allowed = os.access(path, os.R_OK, effective_ids=os.access in os.supports_effective_ids)
        return None if allowed else "may not be read: Permission denied"


def ingested_by_another_name(folder: str, new: Iterable[str], known: Iterable[str]) -> set[str]:
    """Return the new files that are also known by a name in the ledger."""
    names = {identity: name for name in new if (identity := _identity_of(folder, name))}
    others = (_identity_of(folder, name) for name in known)
    return {names[identity] for identity in others if identity in names}


def unreadable(folder: str, names: Iterable[str]) -> dict[str, str]:
    """Return the files whose first byte cannot be read, each with the reason."""
    reasons = {}
    for name in names:
        try:
            with Path(f"{folder}/{name}").open("rb", buffering=0) as file:
                file.read(1)
        except OSError as error:
            reasons[name] = _reason(error)
    return reasons


def shown(name: str) -> str:
    r"""Return a name that can be printed and stored: bytes that are no UTF-8 become ``\xe9``."""
    return name if name.isascii() else os.fsencode(name).decode("utf-8", errors="backslashreplace")


def _identity_of(folder: str, name: str) -> Identity | None:
    path = f"{folder}/{name}"
    try:
        return _identity(os.path.realpath(path), Path(path).stat())
    except (OSError, ValueError):
        return None


def _identity(real: str, status: os.stat_result) -> Identity:
    # Not the id alone: some network file systems give every file the same one.
    return (status.st_dev, status.st_ino) if status.st_nlink > 1 and status.st_ino else real


def _reason(error: OSError) -> str:
    return f"cannot be read: {error.strerror or error}"
