"""What is damaged in a Delta table in a folder: by its log and its files alone, without an engine.

delta-rs reads past a commit that is empty or gone from the end of a log, and looks at no file before it reads
it: so the log is gone through here, as the Delta protocol describes it ("Delta Log Entries", "Checkpoints").
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from churn_assets import bucket
from churn_assets.errors import one_line
from churn_assets.lakehouse.commits import commit_files
from churn_assets.lakehouse.file_rows import opened_parquet
from churn_assets.lakehouse.opened import live_files

# A commit is a JSON object a line, each of which is one of these.
ACTIONS = frozenset(
    {
        "add",
        "remove",
        "metaData",
        "protocol",
        "txn",
        "commitInfo",
        "cdc",
        "domainMetadata",
        "checkpointMetadata",
    }
)
# In the place of a file's size.
MISSING = -1


class DamagedFile(NamedTuple):
    """A file that the log lists: its path in the table's folder, its place in the log, and what is wrong."""

    path: str
    place: int
    says: str


def log_damage(location: Path) -> str | None:
    """Return what is wrong with a table's log; None where all of it can be read.

    Args:
        location: the table's folder, which has a log.
    """
    log = location / "_delta_log"
    commits = commit_files(location)
    checkpoints: dict[int, list[Path]] = {}
    for file in log.glob("*.checkpoint*.parquet"):
        checkpoints.setdefault(int(file.name[:20]), []).append(file)
    for commit in commits.values():
        if says := _commit_damage(commit):
            return says
    for file in (file for files in checkpoints.values() for file in files):
        if says := parquet_damage(file, deep=False):
            return f"checkpoint {file.name} {says}"
    if not commits and not checkpoints:
        return "it has no commit and no checkpoint"
    # What a checkpoint holds needs no commits.
    start = max(checkpoints, default=-1)
    for version in range(start + 1, max(commits, default=start) + 1):
        if version not in commits:
            return f"commit {version} is missing"
    try:
        DeltaTable(location)
    except DeltaError as error:
        return f"it cannot be read: {one_line(error)}"
    return None


def damaged_files(table: DeltaTable, location: Path, *, deep: bool = False) -> list[DamagedFile]:
    """Return the files of the table's version that are not as its log says.

    Args:
        table: as it was opened.
        location: its folder.
        deep: read every row, and not just look at names and sizes.
    """
    files = live_files(table)
    columns = (files[name].to_pylist() for name in ("path", "size_bytes", "num_records"))
    schema = pa.schema(table.schema()) if deep else None
    # One listing of a bucket, where each file's size would be a request.
    listed = bucket.sizes(location) if bucket.is_bucket(location) else None
    found = []
    for place, (path, size, rows) in enumerate(zip(*columns, strict=True)):
        name = unquote(path)
        says = _size_damage(location / name, size, None if listed is None else listed.get(name, MISSING))
        if says is None and schema is not None:
            says = _content_damage(location / name, rows, schema)
        if says:
            found.append(DamagedFile(path, place, says))
    return found


def parquet_damage(file: Path, *, deep: bool = True) -> str | None:
    """Return what is wrong with a Parquet file, None where it can be read."""
    try:
        with opened_parquet(file) as opened:
            if deep:
                for _ in opened.iter_batches():
                    pass
    except (OSError, pa.ArrowException) as error:
        return f"cannot be read: {one_line(error, max_length=120)}"
    return None


def _commit_damage(file: Path) -> str | None:
    if file.stat().st_size == 0:
        return f"commit {int(file.stem)} is empty"
    try:
        lines = [line for line in file.read_text().splitlines() if line.strip()]
        actions = [set(json.loads(line)) for line in lines]
    except (OSError, UnicodeDecodeError, ValueError):
        return f"commit {int(file.stem)} is cut off, or no JSON"
    if not actions or any(not action & ACTIONS for action in actions):
        return f"commit {int(file.stem)} is no commit of Delta"
    return None


def _size_damage(file: Path, size: int, listed: int | None) -> str | None:
    """Return what is wrong with a file's size, which is ``listed`` if a listing was made."""
    try:
        found = file.stat().st_size if listed is None else listed
    except OSError as error:
        return "is missing" if isinstance(error, FileNotFoundError) else f"cannot be read: {error.strerror}"
    if found == MISSING:
        return "is missing"
    return f"has {found:,} bytes instead of {size:,}" if found != size else None


def _content_damage(file: Path, rows: int | None, schema: pa.Schema) -> str | None:
    if says := parquet_damage(file):
        return says
    with opened_parquet(file) as opened:
        found_rows, found_schema = opened.metadata.num_rows, opened.schema_arrow
    if rows is not None and found_rows != rows:
        return f"has {found_rows:,} rows instead of {rows:,}"
    return next(_other_columns(found_schema, schema), None)


def _other_columns(found: pa.Schema, expected: pa.Schema) -> Iterator[str]:
    """Yield each column of another kind; where a file of an earlier release lacks one, it is null."""
    for field in found:
        place = expected.get_field_index(field.name)
        if place < 0:
            yield f"has a column {field.name} that the table has not"
        elif not _can_be(field.type, expected.field(place).type):
            yield f"has {field.name} as {field.type} instead of {expected.field(place).type}"


def _can_be(found: pa.DataType, expected: pa.DataType) -> bool:
    # Engines write a text, or the unit of a timestamp, in one way or the other.
    kinds = (pa.types.is_timestamp, lambda kind: pa.types.is_string(kind) or pa.types.is_large_string(kind))
    return found == expected or any(is_kind(found) and is_kind(expected) for is_kind in kinds)
