"""Any event log to the landing zone: each file becomes one of JSON lines, in the fields of an event."""

import contextlib
import datetime as dt
import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path

import orjson
import pyarrow as pa
from pyspark.sql import SparkSession

from churn_assets.errors import ImportFileError
from churn_assets.lakehouse.landing import list_files
from churn_assets.sample import event_ids
from churn_assets.sample.csv_dialect import CsvOptions
from churn_assets.sample.earlier_ids import Bronze, held_rows
from churn_assets.sample.event_ids import KeyCounts
from churn_assets.sample.event_mapping import EventMapping
from churn_assets.sample.import_jobs import Piece, jobs, mapped, pieces
from churn_assets.sample.import_landing import Landing
from churn_assets.sample.import_notes import dialect_notes, mapping_warnings, row_warnings
from churn_assets.sample.import_records import ImportRecords
from churn_assets.sample.import_report import ImportReport, Summary
from churn_assets.sample.landing_writer import LandingWriter
from churn_assets.sample.source_files import SourceFile

Progress = Callable[[int, int], None]
Events = Iterator[tuple[Piece, pa.Table]]

EARLIEST = dt.date(2000, 1, 1)
CLOCK_TOLERANCE = dt.timedelta(hours=1)


def import_files(  # noqa: PLR0913 - one option of the command line each
    files: Sequence[str | Path],
    landing: str,
    spark_session_factory: Callable[[], SparkSession],
    *,
    user_id: str,
    event_ts: str,
    event_id: str | None = None,
    event_type: str | None = None,
    country: str | None = None,
    amount: str | None = None,
    hash_user_id: bool = False,
    written: CsvOptions | None = None,
    dry_run: bool = False,
    bronze: Bronze | None = None,
    records: ImportRecords | None = None,
    earliest: dt.date = EARLIEST,
    now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
    progress: Progress | None = None,
) -> ImportReport:
    """Land the rows of CSV, Parquet and JSON-lines files as events, one landed file a file with rows.

    The options' values are described at ``EventMapping``. A landed file is named by its source's name, bytes
    and mapping: the same bytes land once. Without ``event_id`` ids are made of what the rows say (see
    ``event_ids``): an export that overlaps an earlier one lands again, with the same ids for the same rows.
    A file lands whole or not at all; those before one that fails have landed, and are skipped the next time.
    If no row of any file is usable, nothing lands.

    Args:
        files: paths with one of the extensions of ``source_files.FORMATS``.
        landing: folder or URI of the landing zone.
        spark_session_factory: gives the session, in UTC, that maps the rows; called if any file has to land.
        user_id: whole numbers, also written as floats; empty for rows that belong to no user.
        event_ts: ISO 8601, a number since 1970, or what else Spark can cast to a timestamp, UTC where it has
            no zone; anything else lands as it is.
        event_id: unique for each event; by default made of the content.
        event_type: left out by default.
        country: left out by default.
        amount: what the event was worth; left out by default. What is no number lands as it is, and the event
            will have no amount.
        hash_user_id: make a number (xxhash64) of every user_id that is none; it lands as source_user_id, too.
        written: how text files are written, as far as that is to be told.
        dry_run: land nothing, only report.
        bronze: gives ``landing.events``, if the lake has it, to know rows that older versions landed.
        records: where the import is noted, so that it can be taken back; not at all without it.
        earliest: times before this day are implausible.
        now: the clock.
        progress: called with the bytes done and the bytes of all files.

    Raises:
        ImportFileError: a file cannot be read, an option does not fit it, a user_id is no number, most times
            are numbers of no known unit, two users would become one, or no row is usable.
        LandingError: the landing zone cannot be written.
    """
    mapping = EventMapping(user_id, event_ts, event_id, event_type, country, hash_user_id, amount)
    if not files:
        raise ImportFileError("No file to import: name at least one.")
    written = written or CsvOptions()
    sources = [SourceFile(path, written, mapping.names) for path in files]
    # Before anything lands: what one file in a hundred lacks is said while nothing has to be taken back.
    columns = {source: mapping.columns_needed(source.columns, str(source)) for source in sources}
    for source in sources:
        source.check()
    by_name = {landed_name(source, mapping, written): source for source in sources}

    writer = LandingWriter(landing)
    landed = set(list_files(landing).files)
    names = {source: name for name, source in by_name.items() if name not in landed}
    report = ImportReport(already_landed=len(sources) - len(names), notes=dialect_notes(sources))
    if not names:
        return report
    report.warnings += mapping_warnings(records, [source.sha256 for source in names], mapping)
    report.summary = summary = Summary(earliest=_midnight(earliest), latest=now() + CLOCK_TOLERANCE)
    session = spark_session_factory()
    of_today = {name for record in (records.all() if records else []) for name in record.files}
    held = KeyCounts() if event_id else held_rows(session, writer, landed, of_today, bronze)
    events = _events(names, columns, mapping, session)
    if progress:
        events = _with_progress(events, names, progress)
    with (
        _recorded(None if dry_run else records, landing, mapping, names, now()) as report.name,
        Landing(None if dry_run else writer) as files_to_land,
    ):
        _land(events, names, files_to_land, held, report)
        if summary.rows_read and not summary.usable:
            raise ImportFileError(_nothing_usable(report, summary))
    report.empty = len(names) - report.files_with_rows
    report.warnings += row_warnings(report, mapping)
    return report


def landed_name(source: SourceFile, mapping: EventMapping, written: CsvOptions) -> str:
    """The same for the same bytes, name and mapping, in characters that no reader takes for a pattern.

    As older versions named files, so that what they have landed does not land again.
    """
    options = b"" if written == CsvOptions() else orjson.dumps(asdict(written), option=orjson.OPT_SORT_KEYS)
    digest = hashlib.sha256(source.sha256.encode() + mapping.fingerprint + options)
    # Readers skip names that begin with a dot or an underscore.
    stem = re.sub(r"[^\w.-]", "-", source.stem, flags=re.ASCII).lstrip("._")
    return f"{stem or 'events'}-{digest.hexdigest()[:12]}.json"


def _events(
    names: Iterable[SourceFile],
    columns: dict[SourceFile, list[str]],
    mapping: EventMapping,
    session: SparkSession,
) -> Events:
    rows = (piece for source in names for piece in pieces(source, columns[source]))
    return (pair for job in jobs(rows) for pair in mapped(job, mapping, session))


def _with_progress(events: Events, names: Iterable[SourceFile], progress: Progress) -> Events:
    """The same, told to the progress once they are dealt with."""
    done, total, current = 0, sum(source.size for source in names), None
    for piece, table in events:
        if current and piece.source is not current:
            done += current.size
        current = piece.source
        yield piece, table
        progress(done + piece.bytes_read, total)


def _land(
    events: Events, names: dict[SourceFile, str], landing: Landing, held: KeyCounts, report: ImportReport
) -> None:
    for source, of_source in groupby(events, key=lambda pair: pair[0].source):
        counts = KeyCounts()
        with landing.file(names[source]) as write:
            for _, mapped_events in of_source:
                table, is_new = _with_ids(mapped_events, counts, held)
                new = table.filter(is_new)
                report.count(table, new, str(source))
                write(new)
            landing.is_open = landing.is_open or report.has_usable_rows
        report.files_with_rows += 1
    report.files = landing.files


def _with_ids(events: pa.Table, counts: KeyCounts, held: KeyCounts) -> tuple[pa.Table, pa.Array]:
    """The events with ids, and which of them no older version has landed."""
    if "content_key" not in events.column_names:
        return events, pa.repeat(True, len(events))
    keys = events["content_key"].to_numpy()
    numbers = counts.occurrences(keys)
    place = events.column_names.index("event_id")
    events = events.set_column(place, "event_id", event_ids.ids(events, numbers))
    return events, pa.array(numbers > held.counts(keys))


@contextlib.contextmanager
def _recorded(
    records: ImportRecords | None,
    landing: str,
    mapping: EventMapping,
    names: dict[SourceFile, str],
    now: dt.datetime,
) -> Iterator[str | None]:
    """The import's name; it is forgotten if it fails before any of its files has landed."""
    if records is None:
        yield None
        return
    files = {name: source.sha256 for source, name in names.items()}
    record = records.begin(landing, asdict(mapping), files, now)
    try:
        yield record.name
    finally:
        writer = LandingWriter(landing)
        if not any(writer.exists(name) for name in files):
            records.forget(record)


def _midnight(day: dt.date) -> dt.datetime:
    return dt.datetime.combine(day, dt.time(), dt.UTC)


def _nothing_usable(report: ImportReport, summary: Summary) -> str:
    reasons = f"{report.without_user_id:,} have no user_id, {report.without_event_ts:,} no time"
    if report.without_event_id:
        reasons += f", {report.without_event_id:,} no event_id"
    for name, count in (("before", summary.too_early), ("after", summary.too_late)):
        if count:
            example = f"{summary.odd_times[name]:%Y-%m-%d %H:%M:%S}"
            reasons += f", {count:,} an implausible time such as {example}"
    return (
        f"None of {summary.rows_read:,} rows is usable, so nothing has landed: {reasons}. "
        "Look at the rows by --dry-run."
    )
