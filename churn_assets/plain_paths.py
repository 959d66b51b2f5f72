"""Plain names for folders whose own names an engine or a library would read as something else.

People choose where a lake lies, and see that path everywhere. Sail percent-encodes a table's location once
or twice, depending on the step, and takes ``?``, ``*`` and ``[`` for a pattern, as Apache Spark does where it
looks for new files; SQLAlchemy cuts a database's path at ``?``. Where no escaping helps they are given a link
with a plain name (docs/adr/0024).
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

from churn_assets.errors import LakeError

READ_AS_IT_IS = re.compile(r"[A-Za-z0-9_./-]*")
# A database's path in a URL: SQLAlchemy splits at the one and decodes the other.
MISREAD_IN_SQLITE_URL = re.compile(r"[?%]")

# delta-rs follows every link to its end and decodes what it finds there, so no other name helps.
IMPOSSIBLE = re.compile(r"%[0-9A-Fa-f]{2}|[\\\x00-\x1f\x7f\ud800-\udfff]")


def for_engine(folder: Path) -> Path:
    """The folder by a name that an engine reads as it is: its own if it is plain, or a link.

    Cheap, and to be called before each use: who cleans up temporary files may have taken the link.

    Raises:
        LakeError: a link is needed, and there is no place for one.
    """
    return folder if READ_AS_IT_IS.fullmatch(str(folder)) else _link_to(folder)


def for_pattern(place: str) -> str:
    """The same for a folder or a URI where Apache Spark expects a pattern; a URI stays as it is.

    Raises:
        LakeError: a link is needed, and there is no place for one.
    """
    return place if "://" in place else str(for_engine(Path(place)))


def for_sqlite_url(folder: Path) -> Path:
    """The folder by a name that may stand in ``sqlite:///…``; see ``for_engine``.

    Raises:
        LakeError: a link is needed, and there is no place for one.
    """
    return _link_to(folder) if MISREAD_IN_SQLITE_URL.search(str(folder)) else folder


def impossible(folder: Path) -> str | None:
    """What of the folder's path no link can hide, as text; None where all is well."""
    found = IMPOSSIBLE.search(os.path.realpath(folder))
    return ascii(found.group())[1:-1].replace("\\\\", "\\") if found else None


def own_folder() -> Path:
    """A folder of this user's alone.

    Raises:
        LakeError: none can be made.
    """
    for place in _places():
        return place
    raise LakeError(
        f"Neither ~/.cache/churn-assets nor a folder in {tempfile.gettempdir()} can be made. "
        "Make one of them writable."
    )


def _link_to(folder: Path) -> Path:
    for links in _places():
        link = links / hashlib.sha256(os.fsencode(folder)).hexdigest()[:32]
        with contextlib.suppress(OSError):
            _point(link, folder)
            return link
    raise LakeError(
        f"The path {folder} needs a link with a plain name, and none can be made in ~/.cache/churn-assets or "
        f"{tempfile.gettempdir()}. Make one of them writable, or use a path of letters, digits, and _ . -"
    )


def _places() -> Iterator[Path]:
    """Folders that are this user's alone: who can change a link decides what is read and written."""
    with contextlib.suppress(RuntimeError):
        yield from _own(Path.home() / ".cache" / "churn-assets")
    yield from _own(Path(tempfile.gettempdir()).absolute() / f"churn-assets-{os.getuid()}")


def _own(folder: Path) -> Iterator[Path]:
    if not READ_AS_IT_IS.fullmatch(str(folder)):
        return
    with contextlib.suppress(OSError):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.lstat()
        if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o022:
            yield folder


def _point(link: Path, folder: Path) -> None:
    with contextlib.suppress(OSError):
        if os.readlink(link) == str(folder):  # noqa: PTH115 - as text, which a Path would normalise
            return
    # Whole at once: another process may be making the same.
    draft = link.with_name(f".{link.name}-{secrets.token_hex(4)}")
    draft.symlink_to(folder)
    draft.replace(link)
