r"""MySQL's ``\N``, which is NULL where a backslash escapes, and the letter N to any CSV reader."""

import io
import re
from typing import IO


class WithoutNulls(io.RawIOBase):
    r"""A file whose fields of ``\N`` alone are empty.

    Args:
        file: UTF-8, or any encoding in which delimiters and line ends are ASCII.
        delimiter: what stands between fields.
    """

    def __init__(self, file: IO[bytes], delimiter: str) -> None:
        between = re.escape(delimiter).encode()
        self._null = re.compile(rb"(?:(?<=[\n\r])|(?<=%b)|\A)\\N(?=%b|[\r\n]|\Z)" % (between, between))
        self._file = file
        self._rest = b""

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # a memoryview is a buffer
        """Fill the buffer from whole lines, so that no field is cut."""
        if not self._rest:
            self._rest = self._null.sub(b"", self._file.read(len(buffer)) + self._file.readline())
        chunk = self._rest[: len(buffer)]
        self._rest = self._rest[len(buffer) :]
        buffer[: len(chunk)] = chunk
        return len(chunk)
