"""Keeps the terminal free of what engines and libraries write to stderr: that goes to a log.

Rust, Java, gRPC, workers, warnings and loggers all write to file descriptor 2, so that is what is redirected.
The command line's own lines go to the terminal as before.
"""

import os
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, TextIO

LOG = "churn.log"
LARGEST_LOG = 10_000_000
STDERR = 2


class RedirectedStderr:
    """File descriptor 2 redirected to a temporary file; ``stream`` still leads to the terminal."""

    def __init__(self) -> None:
        self._fd = os.dup(STDERR)
        self.stream: TextIO = os.fdopen(os.dup(self._fd), "w", buffering=1, errors="replace")
        # Without a name until there is something to keep: commands that only read create no file.
        self._noise: BinaryIO = tempfile.TemporaryFile()  # noqa: SIM115 - used until the process ends
        sys.stderr.flush()
        os.dup2(self._noise.fileno(), STDERR)

    @property
    def has_noise(self) -> bool:
        """Whether anything was redirected that is in no log yet."""
        sys.stderr.flush()
        return os.fstat(self._noise.fileno()).st_size > 0

    def restore(self) -> None:
        """Make file descriptor 2 the terminal again."""
        sys.stderr.flush()
        os.dup2(self._fd, STDERR)

    def replay(self) -> None:
        """Write what was redirected to the terminal after all, as for the usage of a command."""
        sys.stderr.flush()
        self._noise.seek(0)
        self.stream.write(self._noise.read().decode(errors="replace"))
        self.stream.flush()

    def append_to_log(self, folder: Path) -> Path | None:
        """Append what was redirected to the folder's log, and create both if there is something to write.

        Returns:
            The log, None if there was nothing to write or it cannot be written.
        """
        with suppress(OSError):
            sys.stderr.flush()
            self._noise.seek(0)
            if not (noise := self._noise.read()):
                return None
            folder.mkdir(exist_ok=True)
            log = folder / LOG
            if log.exists() and log.stat().st_size > LARGEST_LOG:
                log.replace(log.with_suffix(".log.1"))
            with log.open("ab") as file:
                file.write(noise)
            self._noise.seek(0)
            self._noise.truncate()
            return log
        return None


_REDIRECTED: list[RedirectedStderr] = []


def redirect_stderr() -> RedirectedStderr | None:
    """Let only the command line's own lines reach the terminal until the process ends.

    Returns:
        None if stderr is not the process's own, as under a test.
    """
    with suppress(OSError, ValueError, AttributeError):
        if sys.stderr.fileno() == STDERR:
            _REDIRECTED.append(RedirectedStderr())
            return _REDIRECTED[-1]
    return None


def restore_stderr() -> None:
    """Undo the redirection, before this process becomes another program."""
    while _REDIRECTED:
        _REDIRECTED.pop().restore()
