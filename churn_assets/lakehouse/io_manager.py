"""Dagster's side of the lake: an asset's DataFrame is written by contract, and its inputs are lazy."""

import datetime as dt
from collections.abc import Callable, Mapping
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
from churn_assets.lakehouse.previews import preview_metadata
from churn_assets.lakehouse.writes import NewRows
from churn_assets.tables import EVENTS, GATED, USER_DAILY_ACTIVITY, Column, Table

if TYPE_CHECKING:
    from dagster._core.execution.context.system import StepExecutionContext


# In an input's metadata: whether the months of its dates are read from their first day on. No partition
# mapping of Dagster can express that; to Dagster, each date reads the same date.
WHOLE_MONTHS = "whole_months"

# In an input's metadata: whether the dates of the run are read, although Dagster is told that all are.
SAME_DATES = "same_dates"

# The heading of what the last days of months read: the activity of their months.
MONTHS = "months"

# Dagster's tag for the version of an asset's data.
DATA_VERSION_TAG = "dagster/data_version"


def observation(table: Table, heading: str, day: dt.date, number: int) -> dg.AssetObservation:
    """Return the observation of one date's change; ``number`` is its note's, or the table's version."""
    return dg.AssetObservation(
        by_date_key(table, heading), partition=day.isoformat(), tags={DATA_VERSION_TAG: str(number)}
    )


# A run's id, a step, and how often it was tried before.
Attempt = tuple[str, str, int]

# Returns metadata about the rows of a date that has been written.
DateMetadata = Callable[[Lakehouse, dt.date], dict[str, Any]]

# Does what follows from a table that has just been written, and returns metadata about it.
AfterWrite = Callable[[Lakehouse], dict[str, Any]]


class LakeIOManager(dg.IOManager):
    """Writes each asset's DataFrame to its table; reads the partitions of a table that a step asks for.

    Args:
        lake: where the tables are.
        date_metadata: for some tables, more metadata of the last date written.
        after_write: for some tables, what is to be done once they are written; it may not fail.
    """

    def __init__(
        self,
        lake: Lakehouse,
        date_metadata: Mapping[Table, DateMetadata] | None = None,
        after_write: Mapping[Table, AfterWrite] | None = None,
    ) -> None:
        self._lake = lake
        self._date_metadata = date_metadata or {}
        self._after_write = after_write or {}
        # The ledger's last note when an attempt of a step began to read.
        self._last_note_before: dict[Attempt, int] = {}

    def handle_output(self, context: dg.OutputContext, obj: DataFrame | NewRows) -> None:
        """Write one asset, replacing the partitions of the run if it has any."""
        dates = _dates(context) if context.has_asset_partitions else None
        table = TABLE_OF[context.asset_key]
        written = self._lake.write(table, obj, dates, origin=self._origin(context))
        context.add_output_metadata(write_metadata(written))
        # A write that changed nothing leaves the version, and so nothing downstream becomes stale by it.
        context.step_context.set_data_version(context.asset_key, dg.DataVersion(str(written.version)))
        followed = self._after_write[table](self._lake) if table in self._after_write else {}
        if dates is None:
            context.add_output_metadata(shown_metadata(self._lake, table) | followed)
            if table is EVENTS:
                rows_by_date = self._lake.partition_rows(table)
                context.add_output_metadata(gained_metadata(written.rows_by_partition, rows_by_date))
            return
        for day in dates.days():
            # A range is one run; each of its partitions still has its own number of rows.
            metadata: dict[str, Any] = {"dagster/partition_row_count": written.rows_by_partition[day]}
            if day == dates.end:
                # Dagster shows the latest materialisation; 400 copies of these would be 1 MB.
                metadata |= shown_metadata(self._lake, table, day) | followed
                metadata |= (
                    self._date_metadata[table](self._lake, day) if table in self._date_metadata else {}
                )
            context.step_context.add_asset_metadata(metadata, context.asset_key, day.isoformat())
        if table is USER_DAILY_ACTIVITY:
            # The range's own end as well: Dagster shows no change of an asset that was never observed.
            for day in sorted({dates.end, *map(last_of_month, dates.days())}):
                context.log_event(observation(table, MONTHS, day, written.version))

    def load_input(self, context: dg.InputContext) -> DataFrame:
        """Read the partitions of an upstream asset that the mapping names, or the whole table.

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
        # Rows that are noted from now on may be missing in what is read here.
        self._last_note_before.setdefault(_attempt(context.step_context), self._lake.ledger.read().last_note)
        return self._lake.read(table, dates)

    def _origin(self, context: dg.OutputContext) -> Origin | None:
        step = context.step_context
        last_note = self._last_note_before.get(_attempt(step))
        if last_note is None:
            return None
        asset = step.job_def.asset_layer.asset_graph.get(context.asset_key)
        metadata = context.output_metadata
        extra = {name: metadata[name] for name in (MODEL_VERSION,) if name in metadata}
        is_gated = TABLE_OF[context.asset_key] in GATED
        return Origin(
            last_note, asset.code_version, extra, is_gated and context.asset_key in _checked_assets(step)
        )


def _checked_assets(step: "StepExecutionContext") -> set[dg.AssetKey]:
    """Return the assets that this run checks."""
    return {key.asset_key for data in step.job_def.asset_layer.data for key in data.assets_def.check_keys}


def _attempt(step: "StepExecutionContext") -> Attempt:
    return step.run_id, step.step.key, step.previous_attempt_count


def write_metadata(written: WriteReport) -> dict[str, Any]:
    """Return the report of a write as metadata, under Dagster's own names where it has them."""
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
    """Return the contract's column lineage as Dagster shows it."""
    deps = {
        column: [dg.TableColumnDep(asset_key(source.table), source.column) for source in sources]
        for column, sources in table.lineage.items()
    }
    return {"dagster/column_lineage": dg.TableColumnLineage(deps)}


def shown_metadata(lake: Lakehouse, table: Table, day: dt.date | None = None) -> dict[str, Any]:
    """Return what the UI shows of a table beside its last write: rows, where columns are from, a few rows."""
    return row_count_metadata(lake, table) | lineage_metadata(table) | preview_metadata(lake, table, day)


def row_count_metadata(lake: Lakehouse, table: Table) -> dict[str, Any]:
    """Return the table's rows, of all dates, under the name that Dagster's UI has for them."""
    if table.partition_column:
        return {"dagster/row_count": sum(lake.partition_rows(table).values())}
    return {"dagster/row_count": lake.details(table).rows}


def column_metadata(table: Table) -> dict[str, Any]:
    """Return the contract's columns, types, comments and constraints as Dagster shows them."""
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
    constraints = [f"{words} {bound:g}" for words, bound in bounds if bound is not None]
    return [*constraints, *([f"one of {', '.join(column.allowed)}"] if column.allowed else [])]


def _dates(context: dg.InputContext | dg.OutputContext) -> DateRange:
    return _range(context.asset_partition_key_range)


def _range(keys: dg.PartitionKeyRange) -> DateRange:
    return DateRange(dt.date.fromisoformat(keys.start), dt.date.fromisoformat(keys.end))
