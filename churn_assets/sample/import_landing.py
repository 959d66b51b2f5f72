"""The files of one import on their way to the landing zone."""

import contextlib
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import BinaryIO

import pyarrow as pa

from churn_assets.sample.event_lines import event_lines
from churn_assets.sample.landing_writer import LandingWriter

Write = Callable[[pa.Table], None]


class Landing:
    """Lands each file when it is complete, but none before any of them has a usable row.

    Args:
        writer: of the landing zone; without it nothing lands.

    ``is_open`` is for the user to set once a row is usable. ``files`` counts those that have any row.
    """

    def __init__(self, writer: LandingWriter | None) -> None:
        self._writer = writer
        self._waiting = contextlib.ExitStack()
        self.is_open = False
        self.files = 0

    def __enter__(self) -> "Landing":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # With an error, what waits does not land.
        self._waiting.__exit__(kind, error, trace)

    @contextlib.contextmanager
    def file(self, name: str) -> Iterator[Write]:
        """Yield a function that writes events to a file of this name; without events there is no file."""
        with contextlib.ExitStack() as stack:
            opened: list[BinaryIO] = []
            rows = 0

            def write(events: pa.Table) -> None:
                nonlocal rows
                rows += len(events)
                if self._writer and len(events):
                    if not opened:
                        opened.append(stack.enter_context(self._writer.create(name)))
                    opened[0].write(event_lines(events))

            yield write
            self.files += rows > 0
            if self.is_open:
                self._waiting.close()
            elif opened:
                opened[0].close()
                self._waiting.push(stack.pop_all())
