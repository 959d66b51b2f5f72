"""Atomic writes to the landing zone, a folder or an object store: a reader sees all of a file or nothing."""

import contextlib
import hashlib
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.fs as pafs

from churn_assets.errors import LandingError, one_line

BLOCK_BYTES = 1 << 20
FIRST_LINE_BYTES = 1 << 12


class LandingWriter:
    """Writes event files into one landing zone.

    Args:
        landing: a folder, or a URI that ``pyarrow.fs`` knows (``s3://bucket/prefix``). A folder is created.

    Raises:
        LandingError: the landing zone cannot be reached or created.
    """

    def __init__(self, landing: str) -> None:
        self.landing = landing
        try:
            if "://" in landing:
                self._files, self._root = pafs.FileSystem.from_uri(landing.rstrip("/"))
            else:
                self._files, self._root = pafs.LocalFileSystem(), str(Path(landing).absolute())
            if self.is_folder:
                self._files.create_dir(self._root)
        except (OSError, ValueError, pa.ArrowException) as error:
            raise LandingError(
                f"{landing} cannot be written to: {one_line(error)}. Check the path (CHURN_LANDING_ROOT)."
            ) from error

    @property
    def is_folder(self) -> bool:
        """Whether the landing zone is a folder of this machine."""
        return isinstance(self._files, pafs.LocalFileSystem)

    def exists(self, name: str) -> bool:
        """Whether a file of this name has landed."""
        with self._errors_of(name):
            return self._files.get_file_info(self._path(name)).type == pafs.FileType.File

    def remove(self, name: str) -> bool:
        """Remove a landed file; return False if there is none of this name.

        Raises:
            LandingError: the file cannot be removed.
        """
        if not self.exists(name):
            return False
        with self._errors_of(name):
            self._files.delete_file(self._path(name))
        return True

    def first_line(self, name: str) -> bytes:
        """Return the first line of a landed file without its newline, cut at 4 KiB."""
        with self._errors_of(name), self._files.open_input_stream(self._path(name)) as file:
            return file.read(FIRST_LINE_BYTES).partition(b"\n")[0]

    def put(self, name: str, content: bytes) -> bool:
        """Land a file unless the same content has landed under its name.

        Returns:
            False if a file of this name with the same content was there, else True.

        Raises:
            LandingError: a file of this name with other content is there, or the file cannot be written.
        """
        if self.exists(name):
            if self._sha256(name) == hashlib.sha256(content).hexdigest():
                return False
            raise LandingError(
                f"{self.landing}/{name} is there already with other content. "
                "Remove it, or write somewhere else (CHURN_LANDING_ROOT)."
            )
        with self.create(name) as file:
            file.write(content)
        return True

    @contextlib.contextmanager
    def create(self, name: str) -> Iterator[BinaryIO]:
        """Yield a file to write to; it lands when the block ends, not after an exception.

        Raises:
            LandingError: the file cannot be written.
        """
        with self._errors_of(name), contextlib.ExitStack() as stack:
            # An object store publishes what was sent when the stream closes, even after an error, and cannot
            # rename: so a complete file is sent from a folder of our own.
            folder = self._root if self.is_folder else stack.enter_context(tempfile.TemporaryDirectory())
            staged = Path(folder, f".{name}.{uuid.uuid4().hex[:8]}")
            stack.callback(staged.unlink, missing_ok=True)
            with staged.open("xb") as file:
                yield file
            if self.is_folder:
                staged.rename(self._path(name))
            else:
                with staged.open("rb") as source, self._files.open_output_stream(self._path(name)) as target:
                    shutil.copyfileobj(source, target, BLOCK_BYTES)

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    def _sha256(self, name: str) -> str:
        with self._errors_of(name), self._files.open_input_stream(self._path(name)) as file:
            digest = hashlib.sha256()
            while block := file.read(BLOCK_BYTES):
                digest.update(block)
            return digest.hexdigest()

    @contextlib.contextmanager
    def _errors_of(self, name: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise LandingError(f"{self.landing}/{name} cannot be written: {one_line(error)}.") from error
