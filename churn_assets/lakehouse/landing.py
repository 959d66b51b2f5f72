"""The landing zone: which event files it has. ``landing_lines`` reads lines from them.

It is a folder or an object store's URI (``s3://bucket/prefix``). A file counts once it has its final name: as
everywhere in Hadoop's world, names that start with ``.`` or ``_`` are unfinished work.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Self

import pyarrow as pa
import pyarrow.fs

from churn_assets.errors import LandingError, one_line
from churn_assets.lakehouse.landing_folder import SUFFIXES, is_event_file, list_folder

__all__ = ["EXPECTED", "SUFFIXES", "Listing", "is_event_file", "is_unfinished", "list_files", "missing"]

EXPECTED = "names that end in .json, .jsonl or .ndjson, or in one of them and .gz"


@dataclass(frozen=True)
class Listing:
    """Names relative to the landing zone, in order.

    Attributes:
        files: event files.
        passed_over: files with other suffixes.
        left_out: files that cannot be ingested though their suffix fits, with the reason.
        folder: the landing zone where it is a folder, else None.
        has_aliases: whether files may have other names, by links.
        has_loops: whether a link leads to a folder that it lies in.
    """

    files: list[str]
    passed_over: list[str] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    folder: str | None = None
    has_aliases: bool = False
    has_loops: bool = False

    @classmethod
    def of(cls, names: Iterable[str]) -> Self:
        """Make the listing of a bucket or a volume from all names in it; unfinished work is left out."""
        visible = sorted(name for name in names if not any(map(is_unfinished, PurePosixPath(name).parts)))
        return cls(
            files=[name for name in visible if is_event_file(name)],
            passed_over=[name for name in visible if not is_event_file(name)],
        )

    @property
    def ignored(self) -> int:
        """How many files have other suffixes."""
        return len(self.passed_over)


def is_unfinished(part: str) -> bool:
    """Tell whether a file's or folder's own name says that it is not to be read yet."""
    return part[0] in "._"


def missing(root: str) -> LandingError:
    """Return the error where the engine or the workspace finds no landing zone."""
    return LandingError(
        f"The landing zone {root} does not exist. Create it and put event files there ({EXPECTED}), or set "
        "CHURN_LANDING_ROOT."
    )


def list_files(root: str) -> Listing:
    """List the event files of the landing zone and its subfolders.

    Raises:
        LandingError: the landing zone does not exist or cannot be read.
    """
    try:
        filesystem, base = pyarrow.fs.FileSystem.from_uri(root)
        if isinstance(filesystem, pyarrow.fs.LocalFileSystem):
            return Listing(folder=base, **vars(list_folder(base)))
        return _list_bucket(filesystem, base)
    except (OSError, pa.ArrowInvalid) as error:
        is_missing = isinstance(error, FileNotFoundError) or "does not exist" in str(error)
        problem = "does not exist" if is_missing else f"cannot be read ({one_line(error)})"
        raise LandingError(
            f"The landing zone {root} {problem}. Create it and put .json, .jsonl or .ndjson files there (or "
            "their .gz), set CHURN_LANDING_ROOT, or land sample events with: churn simulate"
        ) from error


def _list_bucket(filesystem: pyarrow.fs.FileSystem, base: str) -> Listing:
    entries = filesystem.get_file_info(pyarrow.fs.FileSelector(base, recursive=True))
    return Listing.of(
        str(PurePosixPath(entry.path).relative_to(base))
        for entry in entries
        if entry.type == pyarrow.fs.FileType.File
    )
