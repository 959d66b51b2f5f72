"""Plain names for folders whose own names an engine or a library would misread.

People choose where a lake lies, and see that path everywhere. Sail percent-encodes a table's location once
or twice, depending on the step, and takes ``?``, ``*`` and ``[`` for a pattern, as Apache Spark does where it
looks for new files; SQLAlchemy cuts a database's path at ``?``. Where no escaping helps, they get a link with
a plain name (docs/adr/0024).
"""

import contextlib
import hashlib
import os
import re
import secrets
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from churn_assets.bucket import is_bucket
from churn_assets.errors import LakeError

PLAIN_PATH = re.compile(r"[A-Za-z0-9_./-]*")
# In a database's URL: SQLAlchemy splits the path at ``?`` and decodes ``%``.
MISREAD_IN_SQLITE_URL = re.compile(r"[?%]")

# delta-rs follows every link to its end and decodes what it finds there, so no other name helps.
IMPOSSIBLE = re.compile(r"%[0-9A-Fa-f]{2}|[\\\x00-\x1f\x7f\ud800-\udfff]")


def for_engine(folder: Path) -> Path:
    """Return a name of the folder that engines read correctly: its own if it is plain, else a link.

    A place in a bucket is returned unchanged: nothing can link to it, and its name is plain.

    Call it before each use, as a clean-up of temporary files may have removed the link; it is cheap.

    Raises:
        LakeError: a link is needed, and there is no place for one.
    """
    return folder if is_bucket(folder) or PLAIN_PATH.fullmatch(str(folder)) else _link_to(folder)


def for_pattern(place: str) -> str:
    """Return the same for a folder where Apache Spark expects a pattern; a URI is returned unchanged.

    Raises:
        LakeError: a link is needed, and there is no place for one.
    """
    return place if "://" in place else str(for_engine(Path(place)))


def for_sqlite_url(folder: Path) -> Path:
    """Return a name of the folder that may stand in ``sqlite:///…``; see ``for_engine``.

    Raises:
        LakeError: a link is needed, and there is no place for one.
    """
    return _link_to(folder) if MISREAD_IN_SQLITE_URL.search(str(folder)) else folder


def impossible(folder: Path) -> str | None:
    """Return the part of the folder's path that no link can hide; None where all is well."""
    match = IMPOSSIBLE.search(os.path.realpath(folder))
    return ascii(match.group())[1:-1].replace("\\\\", "\\") if match else None


def own_folder() -> Path:
    """Return a folder that only this user can change.

    Raises:
        LakeError: none can be made.
    """
    for folder in _link_folders():
        return folder
    raise LakeError(
        f"Neither ~/.cache/churn-assets nor a folder in {tempfile.gettempdir()} can be made. "
        "Make one of them writable."
    )


def _link_to(folder: Path) -> Path:
    for links in _link_folders():
        link = links / hashlib.sha256(os.fsencode(folder)).hexdigest()[:32]
        with contextlib.suppress(OSError):
            _point(link, folder)
            return link
    raise LakeError(
        f"The path {folder} needs a link with a plain name, and none can be made in ~/.cache/churn-assets or "
        f"{tempfile.gettempdir()}. Make one of them writable, or use a path of letters, digits, and _ . -"
    )


def _link_folders() -> Iterator[Path]:
    """Yield folders that only this user can change: a link decides what is read and written."""
    with contextlib.suppress(RuntimeError):
        yield from _private(Path.home() / ".cache" / "churn-assets")
    yield from _private(Path(tempfile.gettempdir()).absolute() / f"churn-assets-{os.getuid()}")


def _private(folder: Path) -> Iterator[Path]:
    if not PLAIN_PATH.fullmatch(str(folder)):
        return
    with contextlib.suppress(OSError):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.lstat()
        if stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o022:
            yield folder


def _point(link: Path, folder: Path) -> None:
    with contextlib.suppress(OSError):
        if os.readlink(link) == str(folder):  # noqa: PTH115 - as text, which a Path would normalise
            return
    # Put in place atomically: another process may be creating the same link.
    draft = link.with_name(f".{link.name}-{secrets.token_hex(4)}")
    draft.symlink_to(folder)
    draft.replace(link)
