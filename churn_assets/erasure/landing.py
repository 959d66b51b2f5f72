"""Event files of the landing zone: which lines are of the erased, and the files without them."""

import gzip
import io
import os
import re
import shutil
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import pyarrow as pa
import pyarrow.fs

from churn_assets import bucket
from churn_assets.erasure.people import Mask, People
from churn_assets.errors import LandingError
from churn_assets.lakehouse.landing import Listing, list_files
from churn_assets.settings import BUCKET_URI, Settings
from churn_assets.tables import ERASED_LINE

# Lines that are looked at together.
BATCH = 50_000
# The draft of a file; hidden, so that nobody takes it in.
DRAFT = ".erasing"


class FoundLines(NamedTuple):
    """Lines of the erased, by file.

    Attributes:
        lines: how many, of each file with any.
        unreadable: files that could not be read to their end, with the reason.
    """

    lines: dict[str, int]
    unreadable: dict[str, str]


def find(settings: Settings, people: People) -> FoundLines:
    """Look through all event files.

    Raises:
        LandingError: there is no landing zone.
    """
    listing = list_files(settings.landing_root)
    filesystem, base = pyarrow.fs.FileSystem.from_uri(settings.landing_root)
    found, unreadable = dict[str, int](), dict(listing.left_out)
    for name in listing.files:
        count = 0
        try:
            with filesystem.open_input_stream(f"{base}/{name}", compression=None) as raw:
                for _, mask in _judged(raw, name, people):
                    count += int(mask.sum())
        except (OSError, EOFError, zlib.error) as error:
            unreadable[name] = str(error) or type(error).__name__
        if count:
            found[name] = count
    return FoundLines(found, unreadable)


def is_in_bucket(settings: Settings) -> bool:
    """Whether the landing zone is in a bucket of S3, at a URI of which nothing but Arrow's needs are said."""
    root = settings.landing_root
    return root.startswith("s3://") and re.fullmatch(BUCKET_URI, root) is not None


def can_rewrite(settings: Settings) -> bool:
    """Whether the landing zone is a folder or in a bucket of S3, and its files are to be rewritten."""
    if settings.forget_landing != "rewrite":
        return False
    return is_in_bucket(settings) or list_files(settings.landing_root).folder is not None


def rewrite(settings: Settings, people: People) -> None:
    """Take the lines of the erased out of the files; all other bytes stay and, in a folder, so do dates.

    A file that cannot be read to its end stays as it is.

    Raises:
        LandingError: an object was there when they were listed, and is not any more.
    """
    listing = list_files(settings.landing_root)
    if is_in_bucket(settings):
        for name in find(settings, people).lines:
            _rewrite_object(bucket.path(settings.landing_root) / name, people)
        return
    folder = Path(str(listing.folder))
    _finish_drafts(folder, listing)
    for name in find(settings, people).lines:
        # The file itself, not a link to it.
        path = Path(os.path.realpath(folder / name))
        draft = path.with_name(f".{path.name}{DRAFT}")
        try:
            _write_draft(path, draft, people)
        except (EOFError, zlib.error, gzip.BadGzipFile):
            draft.unlink(missing_ok=True)
            continue
        complete = draft.with_name(f"{draft.name}.complete")
        draft.rename(complete)
        _put_in_place(complete, path)


def _rewrite_object(place: Path, people: People) -> None:
    """Put an object without their lines in its place, unless its owner has put another there meanwhile."""
    while True:
        before = bucket.read(place)
        if before is None:
            raise LandingError(
                f"The event file {place} was there, and cannot be read now. If nobody removed it, give it a "
                "name of letters, digits and _ . = -, and go on with: churn forget --finish"
            )
        kept = io.BytesIO()
        try:
            _write_kept(io.BytesIO(before.content), place.name, people, kept)
        except (EOFError, zlib.error, gzip.BadGzipFile):
            return
        if bucket.replace(place, kept.getvalue(), before.tag, before.attributes):
            return


def _finish_drafts(folder: Path, listing: Listing) -> None:
    """Put in place what a killed process has written in full, and drop the rest."""
    for name in listing.files:
        path = Path(os.path.realpath(folder / name))
        draft = path.with_name(f".{path.name}{DRAFT}")
        complete = draft.with_name(f"{draft.name}.complete")
        if complete.exists():
            _put_in_place(complete, path)
        draft.unlink(missing_ok=True)


def _write_draft(path: Path, draft: Path, people: People) -> None:
    with path.open("rb") as raw, draft.open("wb") as sink:
        _write_kept(raw, path.name, people, sink)
        sink.flush()
        os.fsync(sink.fileno())
    shutil.copystat(path, draft)


def _write_kept(raw: BinaryIO, name: str, people: People, sink: BinaryIO) -> None:
    kept = 0
    packed = gzip.GzipFile("", "wb", fileobj=sink, mtime=0) if _is_packed(name) else None
    for lines, mask in _judged(raw, name, people):
        rest = [line for line, is_theirs in zip(lines, mask, strict=True) if not is_theirs]
        kept += len(rest)
        (packed or sink).write(b"".join(rest))
    if not kept:
        # Not an empty file: Bronze knows it by this line.
        (packed or sink).write(f"{ERASED_LINE}\n".encode())
    if packed:
        packed.close()


def _put_in_place(draft: Path, path: Path) -> None:
    status = draft.stat()
    if path.stat().st_nlink == 1:
        draft.replace(path)
        return
    # Its other names are names of the same bytes, and a copy would be taken for a new file.
    with draft.open("rb") as source, path.open("r+b") as target:
        shutil.copyfileobj(source, target)
        target.truncate()
        target.flush()
        os.fsync(target.fileno())
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    draft.unlink()


def _judged(raw: BinaryIO, name: str, people: People) -> Iterator[tuple[list[bytes], Mask]]:
    """Yield lines, each with its end, and which of them are of the erased."""
    stream = gzip.GzipFile(fileobj=raw) if _is_packed(name) else raw
    lines: list[bytes] = []
    for line in _lines(stream):
        lines.append(line)
        if len(lines) == BATCH:
            yield lines, _mask(lines, people)
            lines = []
    if lines:
        yield lines, _mask(lines, people)


def _lines(stream: BinaryIO | gzip.GzipFile) -> Iterator[bytes]:
    """Yield lines that end with a newline, as reading for Bronze has them."""
    rest = b""
    while block := stream.read(1 << 20):
        *whole, rest = (rest + block).split(b"\n")
        yield from (line + b"\n" for line in whole)
    if rest:
        yield rest


def _mask(lines: list[bytes], people: People) -> Mask:
    texts = [line.removesuffix(b"\n").decode("utf-8", errors="replace") for line in lines]
    return people.of_lines(pa.array(texts, pa.string()))


def _is_packed(name: str) -> bool:
    return name.lower().endswith(".gz")
