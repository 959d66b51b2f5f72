"""Any event log to the landing zone: each file becomes one of JSON lines, in the five fields of an event."""

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import pyarrow as pa
from pyspark.sql import SparkSession

from churn_assets.errors import ImportFileError
from churn_assets.sample.event_lines import event_lines
from churn_assets.sample.event_mapping import EventMapping
from churn_assets.sample.import_jobs import jobs, mapped, pieces
from churn_assets.sample.landing_writer import LandingWriter
from churn_assets.sample.source_files import SourceFile

Progress = Callable[[int, int], None]


@dataclass
class ImportReport:
    """What an import did.

    ``files`` landed; ``already_landed`` were there, from the same bytes and the same mapping; ``empty`` have
    no row. Of the ``rows`` that landed, those without an event_id, a user_id or a time will be quarantined;
    ``without_event_ts`` counts those with a time that is none, too.
    """

    files: int = 0
    already_landed: int = 0
    empty: int = 0
    rows: int = 0
    without_event_id: int = 0
    without_user_id: int = 0
    without_event_ts: int = 0

    def count(self, events: pa.Table) -> None:
        """Add the rows of a landed table of events."""
        self.rows += len(events)
        self.without_event_id += events["event_id"].null_count
        self.without_user_id += events["user_id"].null_count
        self.without_event_ts += events["event_ts_micros"].null_count


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
    hash_user_id: bool = False,
    progress: Progress | None = None,
) -> ImportReport:
    """Land the rows of CSV, Parquet and JSON-lines files as events, one landed file a file with rows.

    The options' values are described at ``EventMapping``. A landed file is named by its source's name, bytes
    and mapping: the same file lands once, and one that grew lands again with the same ids for its old rows.
    A file lands whole or not at all; those before one that fails have landed, and are skipped the next time.

    Args:
        files: paths with one of the extensions of ``source_files.FORMATS``.
        landing: folder or URI of the landing zone.
        spark_session_factory: gives the session, in UTC, that maps the rows; called if any file has to land.
        user_id: whole numbers, also written as floats; empty for rows that belong to no user.
        event_ts: what Spark can cast to a timestamp, UTC where it has no zone; anything else lands as it is.
        event_id: unique for each event; by default a hash of the file's name and the number of the row.
        event_type: left out by default.
        country: left out by default.
        hash_user_id: make a number (xxhash64) of every user_id that is none.
        progress: called with the bytes done and the bytes of all files.

    Raises:
        ImportFileError: a file cannot be read, an option does not fit it, or a user_id is no number.
        LandingError: the landing zone cannot be written.
    """
    mapping = EventMapping(user_id, event_ts, event_id, event_type, country, hash_user_id)
    if not files:
        raise ImportFileError("No file to import: name at least one.")
    sources = [SourceFile(path) for path in files]
    # Before anything lands: what one file in a hundred lacks is said while nothing has to be taken back.
    columns = {source: mapping.columns_needed(source.columns, str(source)) for source in sources}
    by_name = {landed_name(source, mapping): source for source in sources}
    if event_id is None:
        _refuse_equal_names(list(by_name.values()))

    writer = LandingWriter(landing)
    names = {source: name for name, source in by_name.items() if not writer.exists(name)}
    report = ImportReport(already_landed=len(sources) - len(names))
    if not names:
        return report
    session = spark_session_factory()
    done, total = 0, sum(source.size for source in names)
    rows = (piece for source in names for piece in pieces(source, columns[source]))
    events = (pair for job in jobs(rows) for pair in mapped(job, mapping, session))
    for source, of_source in groupby(events, key=lambda pair: pair[0].source):
        with writer.create(names[source]) as file:
            for piece, table in of_source:
                file.write(event_lines(table))
                report.count(table)
                if progress:
                    progress(done + piece.bytes_read, total)
        report.files += 1
        done += source.size
    report.empty = len(names) - report.files
    return report


def landed_name(source: SourceFile, mapping: EventMapping) -> str:
    """The same for the same bytes, name and mapping, in characters that no reader takes for a pattern."""
    digest = hashlib.sha256(source.sha256.encode() + mapping.fingerprint)
    # Readers skip names that begin with a dot or an underscore.
    stem = re.sub(r"[^\w.-]", "-", source.stem, flags=re.ASCII).lstrip("._")
    return f"{stem or 'events'}-{digest.hexdigest()[:12]}.json"


def _refuse_equal_names(sources: list[SourceFile]) -> None:
    first: dict[str, SourceFile] = {}
    for source in sources:
        other = first.setdefault(source.name, source)
        if other is not source:
            raise ImportFileError(
                f"{other} and {source} have one name, so their rows would get the same event_ids. "
                "Rename one of them, or give --event-id."
            )
