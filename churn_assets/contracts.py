"""What a table's contract is made of; the contracts themselves are in ``tables.py``."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import NamedTuple

import dagster as dg


class WriteMode(StrEnum):
    """How rows come into a table."""

    APPEND = "append"
    MERGE_NEW = "insert-only merge on the key"
    REPLACE_PARTITIONS = "replace the partitions of the run"
    REPLACE_ALL = "replace the whole table"


@dataclass(frozen=True)
class Column:
    """One column: Spark's name of its type, and a comment with meaning and unit.

    Values lie between ``minimum`` and ``maximum``, both inclusive, or are among ``allowed``.
    """

    name: str
    type: str
    comment: str
    nullable: bool = False
    minimum: float | None = None
    maximum: float | None = None
    allowed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    """One table of the lake.

    ``catalog`` is the design's name, in asset keys; the physical one is a setting. ``key`` is unique.
    ``rules`` are SQL that holds for each row. ``references`` is a table in whose key each row is found.
    ``lineage`` says for each column which upstream columns its values are worked out from.
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

    def __getitem__(self, column: str) -> "Source":
        """A column of this table, as the lineage of another names it."""
        return Source(self, column)

    @cached_property
    def asset_key(self) -> dg.AssetKey:
        """The three-level name as an asset key."""
        return dg.AssetKey([self.catalog, self.schema, self.name])

    @property
    def constant(self) -> str:
        """The name of this contract in ``tables.py``, for error messages."""
        return ("landed_events" if self.schema == "landing" else self.name).upper()

    @property
    def column_names(self) -> list[str]:
        """The columns in the contract's order."""
        return [column.name for column in self.columns]

    @property
    def content_columns(self) -> list[str]:
        """The columns that two runs over the same input must agree on: all but timestamps of the run."""
        return [name for name in self.column_names if name not in RUN_COLUMNS]

    def __str__(self) -> str:
        return f"{self.catalog}.{self.schema}.{self.name}"


class Source(NamedTuple):
    """A column that another is worked out from."""

    table: Table
    column: str


# What depends on when a run happened and not on what it read.
RUN_COLUMNS = frozenset({"_ingested_at", "_clock_at", "_processing_date", "scored_at", "promoted_at"})
