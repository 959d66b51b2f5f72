"""Rows of many small files, or a part of a large one, as one Spark job, and its events back in file order."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from churn_assets.errors import ImportFileError
from churn_assets.sample.event_mapping import POSITION, EventMapping, engine_complaint
from churn_assets.sample.source_files import SourceFile

# A job costs some 0.1 s however small. These limits make six jobs of 305 files of 2,000 rows, and let a file
# of any size pass through some 600 MB of memory.
ROWS_A_JOB = 100_000
BYTES_A_JOB = 32 << 20

# An integer, but not as values.user_id has it: 0012, +7, -0.
SPELLED_OTHERWISE = re.compile(r"[+-]?[0-9]{1,18}")


@dataclass(frozen=True)
class Piece:
    """Consecutive rows of one file.

    ``first_row`` counts from 1; ``bytes_read`` is how many bytes of the file had been read for them.
    """

    source: SourceFile
    rows: pa.RecordBatch
    first_row: int
    bytes_read: int


def pieces(source: SourceFile, columns: list[str]) -> Iterator[Piece]:
    """The rows of a file, piece by piece; of a file without rows, none."""
    first_row = 1
    for rows in source.batches(columns):
        if len(rows):
            yield Piece(source, rows, first_row, source.bytes_read)
        first_row += len(rows)


def jobs(all_pieces: Iterable[Piece]) -> Iterator[list[Piece]]:
    """The pieces in their order, as many at a time as have equal columns and stay within the limits."""
    job: list[Piece] = []
    for piece in all_pieces:
        sizes = [each.rows for each in [*job, piece]]
        if job and (
            piece.rows.schema != job[0].rows.schema
            or sum(map(len, sizes)) > ROWS_A_JOB
            or sum(rows.nbytes for rows in sizes) > BYTES_A_JOB
        ):
            yield job
            job = []
        job.append(piece)
    if job:
        yield job


def mapped(
    job: list[Piece], mapping: EventMapping, session: SparkSession
) -> Iterator[tuple[Piece, pa.Table]]:
    """Each piece with its events, in its order: the columns of ``EventMapping.events``.

    Raises:
        ImportFileError: an option is no SQL expression, or fails on a value; a user_id is no number and is
            not to be hashed; or most times are numbers that may mean anything.
    """
    rows = session.createDataFrame(_with_positions(job))
    try:
        events = mapping.events(rows, job[0].source.columns).toArrow()
    except PySparkException as error:
        raise ImportFileError(
            f"The options fail on rows of {_named(job)}: {engine_complaint(error)} "
            "In an expression, try_cast and try_to_timestamp give NULL instead."
        ) from error
    count = sum(len(piece.rows) for piece in job)
    positions = events[POSITION].to_numpy()
    # Neither engine promises an order, and Sail keeps none.
    order = np.argsort(positions, kind="stable")
    if not np.array_equal(positions[order], np.arange(count)):
        raise ImportFileError(
            f"The options make {len(events)} events of {count} rows of {_named(job)}: "
            "an expression must give one value a row."
        )
    events = events.take(pa.array(order))
    start = 0
    for piece in job:
        of_piece = events.slice(start, len(piece.rows))
        if not mapping.hash_user_id:
            _refuse_odd_user_ids(piece, of_piece["user_text"])
        _refuse_odd_times(piece, of_piece, mapping)
        yield piece, of_piece
        start += len(piece.rows)


def _with_positions(job: list[Piece]) -> pa.Table:
    table = pa.Table.from_batches([piece.rows for piece in job])
    return table.append_column(POSITION, pa.array(np.arange(len(table))))


def _refuse_odd_user_ids(piece: Piece, user_text: pa.ChunkedArray) -> None:
    if user_text.null_count == len(user_text):
        return
    where, text = next((i, text) for i, text in enumerate(user_text.to_pylist()) if text is not None)
    row = f"{piece.source} row {piece.first_row + where}"
    if SPELLED_OTHERWISE.fullmatch(text):
        raise ImportFileError(
            f"{row}: user_id {text!r} is not how a whole number is written, and may be another user than "
            f"{int(text)}. Use --hash-user-id to make a number of every such id as it stands."
        )
    raise ImportFileError(
        f"{row}: user_id {text!r} is no whole number of 64 bits. "
        "Use --hash-user-id to make one of every id that is none."
    )


def _refuse_odd_times(piece: Piece, events: pa.Table, mapping: EventMapping) -> None:
    """A few such numbers are somebody's missing values; where most are, the column is not understood."""
    odd = np.array([unit == "unknown" for unit in events["epoch_unit"].to_pylist()])
    is_given = np.asarray(events["event_ts_micros"].is_valid()) | np.asarray(
        events["event_ts_text"].is_valid()
    )
    if odd.sum() * 2 <= is_given.sum():
        return
    where = int(odd.argmax())
    text = events["event_ts_text"][where].as_py()
    raise ImportFileError(
        f"{piece.source} row {piece.first_row + where}: event_ts {text} may mean anything: seconds, "
        "milliseconds, microseconds and nanoseconds since 1970 are recognised from 2000 to 2100. "
        f'Say what it is, such as --event-ts "{_time_expression(text, mapping.event_ts)}".'
    )


def _time_expression(text: str, option: str) -> str:
    if option.startswith("("):
        value = option[1:-1]
    else:
        value = option if option.isidentifier() else f"`{option.replace('`', '``')}`"
    if re.fullmatch(r"(19|20)\d\d(0[1-9]|1[0-2])([0-2]\d|3[01])", text):
        return f"(to_timestamp(string({value}), 'yyyyMMdd'))"
    if re.fullmatch(r"(19|20)\d\d(0[1-9]|1[0-2])([0-2]\d|3[01])([01]\d|2[0-3])[0-5]\d[0-5]\d", text):
        return f"(to_timestamp(string({value}), 'yyyyMMddHHmmss'))"
    return f"(timestamp_seconds(bigint({value})))"


def _named(job: list[Piece]) -> str:
    first, last = job[0].source, job[-1].source
    return f"{first}" if first is last else f"{first} to {last}"
