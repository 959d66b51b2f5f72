"""``churn import --treatments``: rows of who was contacted, when and how, to ``gold.treatments``."""

import datetime as dt
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import orjson
import pyarrow as pa
from pyarrow import compute

from churn_assets.errors import ImportFileError
from churn_assets.lakehouse.lake import Lakehouse
from churn_assets.lakehouse.writes import NewRows
from churn_assets.sample.csv_dialect import CsvOptions
from churn_assets.sample.import_notes import dialect_notes
from churn_assets.sample.source_files import SourceFile
from churn_assets.tables import QUARANTINED_TREATMENTS, TREATMENTS, USERS, Table
from churn_assets.transforms import treatments as transforms

FIELDS = ("user_id", "source_user_id", "treated_at", "channel", "cost")
OPTION_OF = {"user_id": "user-id", "treated_at": "event-ts", "channel": "channel", "cost": "cost"}


@dataclass(frozen=True)
class TreatmentMapping:
    """Which column says what: a column's name, for channel and cost also ``=VALUE``; None for the usual name.

    The usual names are ``FIELDS``. Case of letters does not count where that leaves no doubt.
    """

    user_id: str | None = None
    treated_at: str | None = None
    channel: str | None = None
    cost: str | None = None

    @property
    def names(self) -> set[str]:
        """Columns that a file must have, by which one may tell how it is written."""
        given = {"treated_at": "treated_at", "channel": "channel"} | {
            name: value for name, value in asdict(self).items() if value
        }
        return {value for value in given.values() if not value.startswith("=")}

    def columns(self, source: SourceFile) -> dict[str, str]:
        """Return the column of each field that the file has; constants are none.

        Raises:
            ImportFileError: a column is not there, or who, when or how is nowhere.
        """
        found: dict[str, str] = {}
        for name in FIELDS:
            asked = getattr(self, name, None)
            if asked is not None and asked.startswith("="):
                continue
            column = _matching(asked or name, source.columns)
            if column is None and asked is not None:
                raise ImportFileError(
                    f"{source} has no column {asked!r} (--{OPTION_OF[name]}); it has "
                    f"{', '.join(source.columns)}."
                )
            if column is not None and not (name == "source_user_id" and self.user_id):
                found[name] = column
        self._require(found, source)
        return found

    def constant(self, name: str) -> str | None:
        """Return the value that all rows have, None where a column says it."""
        asked = getattr(self, name, None)
        return asked[1:] if asked is not None and asked.startswith("=") else None

    def _require(self, found: dict[str, str], source: SourceFile) -> None:
        has = ", ".join(source.columns)
        if not found.keys() & {"user_id", "source_user_id"}:
            raise ImportFileError(
                f"{source} says nowhere who was contacted: it has {has}. Name the column: --user-id COLUMN."
            )
        for name, what in (("treated_at", "when"), ("channel", "how")):
            if name not in found and self.constant(name) is None:
                value = ", or =VALUE for all rows" if name == "channel" else ""
                raise ImportFileError(
                    f"{source} says nowhere {what} users were contacted: it has {has}. "
                    f"Name the column: --{OPTION_OF[name]} COLUMN{value}."
                )


@dataclass
class TreatmentReport:
    """What an import did: rows read; new in the table, there before, and quarantined by reason."""

    files: int = 0
    rows: int = 0
    new: int = 0
    known: int = 0
    quarantined: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)

    def add(self, other: "TreatmentReport") -> None:
        """Add the counts of one file."""
        self.rows += other.rows
        self.new += other.new
        self.known += other.known
        self.quarantined += other.quarantined


def import_treatments(  # noqa: PLR0913 - named, and one option of the command line each
    lake: Lakehouse,
    files: Sequence[str | Path],
    mapping: TreatmentMapping,
    *,
    written: CsvOptions | None = None,
    dry_run: bool = False,
    now: dt.datetime | None = None,
) -> TreatmentReport:
    """Add the treatments of CSV, Parquet and JSON-lines files to the table; what is there adds nothing.

    Args:
        lake: the lake, whose users are known.
        files: paths with one of the extensions of ``source_files.FORMATS``.
        mapping: which column says what.
        written: how text files are written, as far as that is to be told.
        dry_run: write nothing, only report; ``new`` then counts rows that are there, too.
        now: the clock: what is later is in the future.

    Raises:
        ImportFileError: a file cannot be read or lacks a column, or no user is known yet; nothing is written.
    """
    if lake.version(USERS) < 1:
        raise ImportFileError(
            f"{lake.table_name(USERS)} has no users yet, so nobody can have been contacted. First: churn run"
        )
    sources = [SourceFile(path, written or CsvOptions(), mapping.names) for path in files]
    columns = {source: mapping.columns(source) for source in sources}
    for source in sources:
        source.check()
    report = TreatmentReport(files=len(sources), notes=dialect_notes(sources))
    for source in sources:
        rows = _rows(source, columns[source], mapping)
        if len(rows):
            report.add(_judged_and_written(lake, rows, now or dt.datetime.now(dt.UTC), dry_run=dry_run))
    return report


def _judged_and_written(
    lake: Lakehouse, rows: pa.Table, now: dt.datetime, *, dry_run: bool
) -> TreatmentReport:
    judged = transforms.judged_treatments(lake.spark.createDataFrame(rows), lake.read(USERS), now).toArrow()
    is_good = compute.call_function("is_null", [judged["reason"]])
    good, bad = judged.filter(is_good), judged.filter(compute.call_function("invert", [is_good]))
    found = TreatmentReport(rows=len(rows), quarantined=Counter(bad["reason"].to_pylist()))
    if dry_run:
        found.new = len(good)
        return found
    # A kill between the two leaves rows that the same file adds, once.
    _write(lake, QUARANTINED_TREATMENTS, bad)
    found.new = _write(lake, TREATMENTS, good)
    found.known = len(good) - found.new
    return found


def _write(lake: Lakehouse, table: Table, rows: pa.Table) -> int:
    """Write the rows whose keys are new; return how many they were."""
    if not len(rows):
        return 0
    frame = lake.spark.createDataFrame(rows.select(table.column_names))
    return lake.write(table, NewRows(frame)).rows


def _rows(source: SourceFile, columns: dict[str, str], mapping: TreatmentMapping) -> pa.Table:
    """Return the fields as text, null where the file has none, with row_number, _raw and _source_file."""
    batches = list(source.batches(list(dict.fromkeys(columns.values()))))
    whole = pa.Table.from_batches(batches) if batches else pa.table({})
    count = len(whole)
    fields = {}
    for name in FIELDS:
        constant = mapping.constant(name)
        if name in columns and count:
            fields[name] = _as_text(whole[columns[name]], source)
        else:
            fields[name] = pa.array([constant] * count, pa.string())
    # By our names of its fields: an erasure finds whom a row is about by them.
    said = pa.table({name: whole[column] for name, column in columns.items()}) if count else whole
    raw = [orjson.dumps(row, default=str).decode() for row in said.to_pylist()]
    return pa.table(
        {
            **fields,
            "row_number": pa.array(range(1, count + 1), pa.int64()),
            "_raw": pa.array(raw, pa.string()),
            "_source_file": pa.array([source.name] * count, pa.string()),
        }
    )


def _as_text(values: pa.ChunkedArray, source: SourceFile) -> pa.ChunkedArray:
    try:
        return values.cast(pa.string())
    except pa.ArrowException as error:
        raise ImportFileError(
            f"{source} has a column of {values.type}, which says neither who, when, how nor a cost."
        ) from error


def _matching(name: str, columns: Sequence[str]) -> str | None:
    """Return the column of that name, or the only one that case alone tells from it."""
    if name in columns:
        return name
    alike = [column for column in columns if column.casefold() == name.casefold()]
    return alike[0] if len(alike) == 1 else None
