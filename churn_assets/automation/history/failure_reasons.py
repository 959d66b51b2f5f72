"""The one line of a recorded error that helps: our own message if there is one, else the first cause's."""

from collections.abc import Iterator
from typing import Protocol

from churn_assets.errors import ChurnError

LONGEST = 500


class RecordedError(Protocol):
    """An error as Dagster's event log keeps it."""

    @property
    def message(self) -> str:
        """The error's class and text."""
        ...

    @property
    def cls_name(self) -> str | None:
        """The name of the error's class."""
        ...

    @property
    def cause(self) -> "RecordedError | None":
        """The error that it was raised from."""
        ...

    @property
    def context(self) -> "RecordedError | None":
        """The error that was being handled when it was raised."""
        ...


def recorded_error_line(error: RecordedError) -> str:
    """Return the text of the chain's first ``ChurnError``, or else class and text of its last link."""
    links = list(_chain(error))
    ours = _names_of(ChurnError)
    for link in links:
        if link.cls_name in ours:
            return _squeezed(link.message.partition(": ")[2] or link.message)
    return _squeezed(_without_module(links[-1].message))


def _chain(error: RecordedError) -> Iterator[RecordedError]:
    current: RecordedError | None = error
    while current is not None:
        yield current
        current = current.cause or current.context


def _names_of(kind: type) -> set[str]:
    return {kind.__name__}.union(*(_names_of(below) for below in kind.__subclasses__()))


def _without_module(message: str) -> str:
    name, colon, text = message.partition(": ")
    return f"{name.rpartition('.')[2]}{colon}{text}"


def _squeezed(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…"
