"""Numbered files, through which a step says what happens; the launcher reads them as they come."""

import contextlib
import gzip
import logging
import queue
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .heartbeat import Heartbeat

# How long is gathered before a file is written: each costs a round trip to cloud storage.
BATCH_SECONDS = 0.25
# The last batch is what the whole run was for, so a failing Volume is given this long.
FLUSH_SECONDS = 60.0

log = logging.getLogger("churn.remote")


class Batches:
    """Writes ``events-000001.json.gz`` and so on from a separate thread.

    Volumes take a file only whole and in one go, so nothing is appended to, and gzip's checksum tells a
    reader that a file is complete.

    Args:
        folder: of the step.
        heartbeat: nothing is written for a launcher that is gone.
        encode: makes the text of one file.
    """

    def __init__(self, folder: Path, heartbeat: Heartbeat, encode: Callable[[list[Any]], str]) -> None:
        self._folder = folder
        self._heartbeat = heartbeat
        self._encode = encode
        self._queue: queue.Queue[Any] = queue.Queue()
        self._written = 0
        self._thread = threading.Thread(target=self._write, name="churn events", daemon=True)

    def __enter__(self) -> "Batches":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._queue.put(None)
        self._thread.join(FLUSH_SECONDS)

    def put(self, entry: Any) -> None:
        """Queue one entry; it is not None."""
        self._queue.put(entry)

    def _write(self) -> None:
        ended = False
        while not ended:
            batch = [self._queue.get()]
            until = time.monotonic() + BATCH_SECONDS
            while batch[-1] is not None and (wait := until - time.monotonic()) > 0:
                with contextlib.suppress(queue.Empty):
                    batch.append(self._queue.get(timeout=wait))
            ended = batch[-1] is None
            self._write_batch([entry for entry in batch if entry is not None])

    def _write_batch(self, entries: list[Any]) -> None:
        if not entries:
            return
        content = gzip.compress(self._encode(entries).encode(), compresslevel=3)
        file = self._folder / f"events-{self._written + 1:06d}.json.gz"
        until = time.monotonic() + FLUSH_SECONDS
        while not self._heartbeat.orphaned:
            try:
                file.write_bytes(content)
            except OSError as error:
                if time.monotonic() > until:
                    log.exception("Events could not be written to %s", file)
                    return
                log.warning("Events not written yet: %s", error)
                time.sleep(1)
            else:
                self._written += 1
                return
