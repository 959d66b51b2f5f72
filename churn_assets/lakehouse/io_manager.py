"""Dagster's side of the lake: what an asset returns is written by contract, what it reads is lazy."""

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg
from pyspark.sql import DataFrame

from churn_assets.asset_keys import TABLE_OF, asset_key, by_date_key
from churn_assets.dates import DateRange, last_of_month
from churn_assets.lakehouse.commits import WriteReport
from churn_assets.lakehouse.computed_dates.blocking import require_readable
from churn_assets.lakehouse.computed_dates.rows import MODEL_VERSION
from churn_assets.lakehouse.computed_dates.writing import Origin
from churn_assets.lakehouse.lake import Lakehouse
from churn_assets.lakehouse.late_data import gained_metadata
from churn_assets.tables import EVENTS, GATED, USER_DAILY_ACTIVITY, Column, Table

if TYPE_CHECKING:
    from dagster._core.execution.context.system import StepExecutionContext

LONGEST_CELL = 80

# In an input's metadata: whether the months of its dates are read from their first day on. Dagster has no
# partition mapping that says so; to it, such a date reads the same date.
WHOLE_MONTHS = "whole_months"

# In an input's metadata: whether the dates of the run are read, though to Dagster it reads all.
SAME_DATES = "same_dates"

# What the last days of months read of activity: the days of their months.
MONTHS = "months"

# What Dagster calls the version of an asset's data in the tags of its events.
DATA_VERSION_TAG = "dagster/data_version"


def observation(table: Table, heading: str, day: dt.date, number: int) -> dg.AssetObservation:
    """One date's change, by the number of its note, or by the table's version that brought it."""
    return dg.AssetObservation(
        by_date_key(table, heading), partition=day.isoformat(), tags={DATA_VERSION_TAG: str(number)}
    )


# A run's id, a step, and how often it was tried before.
Attempt = tuple[str, str, int]

# Metadata of a date that has been written, of what its rows mean.
SayMore = Callable[[Lakehouse, dt.date], dict[str, Any]]


class LakeIOManager(dg.IOManager):
    """Writes each asset's DataFrame to its table; reads a table cut to the partitions that are asked for.

    Args:
        lake: where the tables are.
        say_more: for some tables, what else to say of the last date written.
    """

    def __init__(self, lake: Lakehouse, say_more: Mapping[Table, SayMore] | None = None) -> None:
        self._lake = lake
        self._say_more = say_more or {}
        # By attempt of a step: the ledger's last note when it began to read.
        self._began: dict[Attempt, int] = {}

    def handle_output(self, context: dg.OutputContext, obj: DataFrame) -> None:
        """Write one asset, replacing the partitions of the run if it has any."""
        dates = _dates(context) if context.has_asset_partitions else None
        table = TABLE_OF[context.asset_key]
        written = self._lake.write(table, obj, dates, origin=self._origin(context))
        context.add_output_metadata(write_metadata(written))
        # A write that changed nothing leaves the version, and so nothing downstream becomes stale by it.
        context.step_context.set_data_version(context.asset_key, dg.DataVersion(str(written.version)))
        if dates is None:
            context.add_output_metadata(lineage_metadata(table) | preview_metadata(self._lake, table))
            if table is EVENTS:
                held = self._lake.partition_rows(table)
                context.add_output_metadata(gained_metadata(written.rows_by_partition, held))
            return
        for day in dates.days():
            # A range is one run; each of its partitions still says how many rows are its own.
            own: dict[str, Any] = {"dagster/partition_row_count": written.rows_by_partition[day]}
            if day == dates.end:
                # Dagster shows the latest materialisation; 400 copies of these would be 1 MB.
                own |= lineage_metadata(table) | preview_metadata(self._lake, table, day)
                own |= self._say_more[table](self._lake, day) if table in self._say_more else {}
            context.step_context.add_asset_metadata(own, context.asset_key, day.isoformat())
        if table is USER_DAILY_ACTIVITY:
            # The range's own end as well: who has seen nothing of an asset is shown no change of it.
            for day in sorted({dates.end, *map(last_of_month, dates.days())}):
                context.log_event(observation(table, MONTHS, day, written.version))

    def load_input(self, context: dg.InputContext) -> DataFrame:
        """Read an upstream asset: the partitions that the mapping names, or the whole table.

        Raises:
            BlockedError: some of it fails a blocking check.
        """
        table = TABLE_OF[context.asset_key]
        dates = _dates(context) if context.has_asset_partitions else None
        if dates and context.definition_metadata.get(SAME_DATES):
            dates = _range(context.step_context.partition_key_range)
        if dates and context.definition_metadata.get(WHOLE_MONTHS):
            dates = DateRange(dates.start.replace(day=1), dates.end)
        require_readable(self._lake, table, dates)
        # What is noted from now on may be something else than what is read here.
        self._began.setdefault(_attempt(context.step_context), self._lake.ledger.read().last_note)
        return self._lake.read(table, dates)

    def _origin(self, context: dg.OutputContext) -> Origin | None:
        step = context.step_context
        began = self._began.get(_attempt(step))
        if began is None:
            return None
        of_asset = step.job_def.asset_layer.asset_graph.get(context.asset_key)
        said = context.output_metadata
        more = {name: said[name] for name in (MODEL_VERSION,) if name in said}
        is_gated = TABLE_OF[context.asset_key] in GATED
        return Origin(began, of_asset.code_version, more, is_gated and context.asset_key in _checked_by(step))


def _checked_by(step: "StepExecutionContext") -> set[dg.AssetKey]:
    """The assets that checks of this run look at."""
    return {key.asset_key for data in step.job_def.asset_layer.data for key in data.assets_def.check_keys}


def _attempt(step: "StepExecutionContext") -> Attempt:
    return step.run_id, step.step.key, step.previous_attempt_count


def write_metadata(written: WriteReport) -> dict[str, Any]:
    """What a write did, under Dagster's own names where it has them."""
    metadata: dict[str, Any] = {
        "rows_written": written.rows,
        "delta_version": written.version,
        "bytes_written": written.bytes,
        "write_seconds": round(written.seconds, 3),
        "committed": written.committed,
    }
    if written.table.partition_column:
        metadata["partitions_written"] = len(written.rows_by_partition)
    return metadata


def lineage_metadata(table: Table) -> dict[str, Any]:
    """The contract's lineage as Dagster shows it, column by column."""
    deps = {
        column: [dg.TableColumnDep(asset_key(source.table), source.column) for source in sources]
        for column, sources in table.lineage.items()
    }
    return {"dagster/column_lineage": dg.TableColumnLineage(deps)}


def preview_metadata(lake: Lakehouse, table: Table, day: dt.date | None = None) -> dict[str, Any]:
    """A few rows as they were written, as a table in Markdown."""
    rows = lake.sample_rows(table, day)
    return {"preview": dg.MetadataValue.md(_as_markdown(table.column_names, rows))} if rows else {}


def _as_markdown(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> str:
    lines = [columns, ["---"] * len(columns), *([_cell(row[name]) for name in columns] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: Any) -> str:
    # Lines as they landed may hold anything: in code, no character means something else.
    text = "" if value is None else " ".join(str(value).split()).replace("|", "\\|").replace("`", "'")
    text = text if len(text) <= LONGEST_CELL else f"{text[: LONGEST_CELL - 1]}…"
    return f"`{text}`" if text and not text.isalnum() else text


def column_metadata(table: Table) -> dict[str, Any]:
    """The contract as Dagster shows it: columns with types, comments and constraints."""
    columns = [
        dg.TableColumn(
            name=column.name,
            type=column.type,
            description=column.comment,
            constraints=dg.TableColumnConstraints(
                nullable=column.nullable, unique=(column.name,) == table.key, other=_bounds(column)
            ),
        )
        for column in table.columns
    ]
    return {"dagster/column_schema": dg.TableSchema(columns=columns)}


def _bounds(column: Column) -> list[str]:
    bounds = [("at least", column.minimum), ("at most", column.maximum)]
    found = [f"{words} {bound:g}" for words, bound in bounds if bound is not None]
    return [*found, *([f"one of {', '.join(column.allowed)}"] if column.allowed else [])]


def _dates(context: dg.InputContext | dg.OutputContext) -> DateRange:
    return _range(context.asset_partition_key_range)


def _range(keys: dg.PartitionKeyRange) -> DateRange:
    return DateRange(dt.date.fromisoformat(keys.start), dt.date.fromisoformat(keys.end))
