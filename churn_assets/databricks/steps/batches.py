"""Reading of the numbered files in which a step says what happens."""

import gzip
import zlib
from collections.abc import Callable
from typing import Any

FIRST = "events-000001.json.gz"

# A file of the step's folder, None while there is none.
Read = Callable[[str], bytes | None]


class Batches:
    """Reads ``events-000001.json.gz`` and so on, each once.

    Args:
        read: a file of the step's folder.
        decode: the text of one file, as the list that it is.
    """

    def __init__(self, read: Read, decode: Callable[[str], list[Any]]) -> None:
        self._read = read
        self._decode = decode
        self._next = 1

    def new(self) -> list[Any]:
        """Return what was written since the last call."""
        entries: list[Any] = []
        while (batch := self._batch(f"events-{self._next:06d}.json.gz")) is not None:
            entries += batch
            self._next += 1
        return entries

    def _batch(self, name: str) -> list[Any] | None:
        content = self._read(name)
        if not content:
            # None while there is no such file; empty while it is being written.
            return None
        try:
            return self._decode(gzip.decompress(content).decode())
        except (OSError, EOFError, zlib.error):
            # Not all there yet.
            return None
