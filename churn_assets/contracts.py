"""The parts of a table's contract; the contracts themselves are in ``churn_assets.tables``."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from churn_assets.dates import ONE_DAY, DateRange, last_of_month
from churn_assets.settings import Settings


class WriteMode(StrEnum):
    """How rows are written into a table."""

    APPEND = "append"
    MERGE_NEW = "insert-only merge on the key"
    REPLACE_PARTITIONS = "replace the partitions of the run"
    REPLACE_ALL = "replace the whole table"
    MIRROR = "merge on the key, and delete what is not given"


@dataclass(frozen=True)
class Phrase:
    """How a reason for a prediction words a feature's value.

    In each text ``{n}`` is the value, rounded to ``decimals``, and ``(s)`` an s unless the value is 1. The
    first text that is set and applies is used: ``missing`` for NULL; ``zero``; ``if_it_raises``, where the
    value raises the probability of churn and is below ``raises_below`` (any value, without it); ``one``;
    ``below_one``; ``text``. "Today" in a text is the feature_date.
    """

    text: str
    missing: str = ""
    zero: str = ""
    if_it_raises: str = ""
    raises_below: float | None = None
    one: str = ""
    below_one: str = ""
    decimals: int = 0


@dataclass(frozen=True)
class Column:
    """One column: Spark's name of its type, and a comment with meaning and unit.

    Values lie between ``minimum`` and ``maximum``, both inclusive, or are among ``allowed``. What ``grows``
    does so by itself, with the calendar or the length of the log, and is no sign of drift. Models are trained
    on what is ``trained``; ``phrase`` words it in reasons, and it is computed from the upstream columns
    ``sources``.
    """

    name: str
    type: str
    comment: str
    nullable: bool = False
    minimum: float | None = None
    maximum: float | None = None
    allowed: tuple[str, ...] = ()
    grows: bool = False
    trained: bool = False
    phrase: Phrase | None = None
    sources: tuple["Source", ...] = field(default=(), compare=False, repr=False)


# Days, or the name of the setting that says how many.
Days = int | str

# As ``first``: all days from the first on. No log of events has more.
FROM_THE_START = -36_500


@dataclass(frozen=True)
class Reads:
    """The days of an upstream table that a date reads: from ``first`` to ``last``, counted from the date.

    ``heading`` says which changes of an undated upstream count: see ``Table.headings``. An upstream that is
    not followed (``follows``) makes no date stale, such as the features behind a score that is history. With
    ``whole_month`` the last date of a month reads all of its days; other dates, which get no rows, read only
    themselves.
    """

    upstream: "Table"
    first: Days = 0
    last: Days = 0
    heading: str = ""
    follows: bool = True
    whole_month: bool = False

    def window(self, day: dt.date, settings: Settings) -> DateRange:
        """Return the upstream's days that this date reads."""
        if self.whole_month:
            return DateRange(day.replace(day=1) if day == last_of_month(day) else day, day)
        first, last = self.offsets(settings)
        start = settings.start_date if self.reads_from_the_start else day + first * ONE_DAY
        return DateRange(start, day + last * ONE_DAY)

    @property
    def reads_from_the_start(self) -> bool:
        """Whether all days up to the last one are read, however many there are."""
        return self.first == FROM_THE_START

    def offsets(self, settings: Settings) -> tuple[int, int]:
        """Return ``first`` and ``last`` as numbers of days."""
        first, last = (
            getattr(settings, days) if isinstance(days, str) else days for days in (self.first, self.last)
        )
        return first, last


@dataclass(frozen=True)
class Table:
    """One table of the lake.

    ``catalog`` is the design's name, in asset keys; the physical one is a setting. ``key`` is unique.
    ``rules`` are SQL that holds for each row. ``references`` is a table whose keys include each row's.
    ``lineage`` names, for each column, the upstream columns that its values are computed from.

    Where rows have a date, ``reads`` says what a date is computed from: partition mappings and stale dates
    follow from it. ``parameters`` are the settings that change the rows. ``headings`` are the kinds of
    changes, each by date, that a table without dates notes for its readers. Where computed dates are history
    (``keeps_past``), only the last one follows what it reads. Where nobody could act on a past date any more
    (``past_on_request``), only the last one is made unasked.

    Rows with a user_id or source_user_id are of that user, and go when they are erased. Where a landed line
    may name a user whom no column names, ``lines_column`` holds it.
    """

    catalog: str
    schema: str
    name: str
    comment: str
    columns: tuple[Column, ...]
    write_mode: WriteMode
    key: tuple[str, ...] = ()
    partition_column: str | None = None
    rules: tuple[str, ...] = ()
    references: "Table | None" = field(default=None, compare=False, repr=False)
    lineage: Mapping[str, tuple["Source", ...]] = field(default_factory=dict, compare=False, repr=False)
    reads: tuple[Reads, ...] = field(default=(), compare=False, repr=False)
    parameters: tuple[str, ...] = field(default=(), compare=False, repr=False)
    headings: tuple[str, ...] = field(default=(), compare=False, repr=False)
    keeps_past: bool = field(default=False, compare=False, repr=False)
    past_on_request: bool = field(default=False, compare=False, repr=False)
    lines_column: str = field(default="", compare=False, repr=False)

    def __getitem__(self, column: str) -> "Source":
        """A column of this table, as the lineage of another names it."""
        return Source(self, column)

    @property
    def constant(self) -> str:
        """The name of this contract in ``churn_assets.tables``, for error messages."""
        return ("landed_events" if self.schema == "landing" else self.name).upper()

    @property
    def column_names(self) -> list[str]:
        """The columns in the contract's order."""
        return [column.name for column in self.columns]

    @property
    def personal_columns(self) -> list[str]:
        """The columns that tell whose a row is; none where rows are nobody's."""
        names = [name for name in ("user_id", "source_user_id") if name in self.column_names]
        return [*names, self.lines_column] if self.lines_column else names

    @property
    def content_columns(self) -> list[str]:
        """The columns that two runs over the same input must agree on: all but timestamps of the run."""
        return [name for name in self.column_names if name not in RUN_COLUMNS]

    def __str__(self) -> str:
        return f"{self.catalog}.{self.schema}.{self.name}"


class Source(NamedTuple):
    """A column that another is computed from."""

    table: Table
    column: str


# Columns that depend on when a run happened, and not on what it read.
RUN_COLUMNS = frozenset(
    {
        "_ingested_at",
        "_clock_at",
        "_processing_date",
        "scored_at",
        "promoted_at",
        "attempted_at",
        "delivered_at",
    }
)
