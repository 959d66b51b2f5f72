"""The terminal is for people: what engines and libraries write to stderr goes to a log.

Rust, Java, gRPC, workers, warnings and loggers all write to file descriptor 2, so that is what is turned
away; the command line's own lines go to the terminal as before.
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


class Terminal:
    """Where people read, while file descriptor 2 leads to a log."""

    def __init__(self) -> None:
        self._fd = os.dup(STDERR)
        self.stream: TextIO = os.fdopen(os.dup(self._fd), "w", buffering=1, errors="replace")
        # In a file without a name until there is something worth keeping: looking leaves no trace.
        self._noise: BinaryIO = tempfile.TemporaryFile()  # noqa: SIM115 - closed in give_back
        sys.stderr.flush()
        os.dup2(self._noise.fileno(), STDERR)

    def give_back(self) -> None:
        """Let file descriptor 2 be the terminal again."""
        sys.stderr.flush()
        os.dup2(self._fd, STDERR)

    def show(self) -> None:
        """What was turned away is for people after all: how a command is used."""
        sys.stderr.flush()
        self._noise.seek(0)
        self.stream.write(self._noise.read().decode(errors="replace"))
        self.stream.flush()

    def keep(self, folder: Path) -> Path | None:
        """Append what was turned away to the folder's log, making both where there is something to write.

        Returns:
            The log, None where there was nothing to write or it cannot be written.
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


_TURNED_AWAY: list[Terminal] = []


def turn_away() -> Terminal | None:
    """From now on only the command line's own lines reach the terminal, up to the end of the process.

    Returns:
        None where stderr is not the process's own, as under a test.
    """
    with suppress(OSError, ValueError, AttributeError):
        if sys.stderr.fileno() == STDERR:
            _TURNED_AWAY.append(Terminal())
            return _TURNED_AWAY[-1]
    return None


def give_back() -> None:
    """For what becomes another program, whose stderr is its own."""
    while _TURNED_AWAY:
        _TURNED_AWAY.pop().give_back()
