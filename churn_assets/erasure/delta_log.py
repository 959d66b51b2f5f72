"""A Delta log that begins anew: one commit and one checkpoint of the same number, and only what is live.

A log in a folder; what ``bucket_log`` does otherwise for one in a bucket uses the parts of it.

Older commits hold the least and greatest ids of files that are gone, and parameters of statements.
"""

import json
import shutil
import tempfile
from collections.abc import Collection
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from deltalake import DeltaTable

from churn_assets import durable_files
from churn_assets.lakehouse.file_rows import opened_parquet

LOG = "_delta_log"
# Beside the log: the next one, and the one before.
NEXT, BEFORE = ".erased-log", ".erased-log-before"

# What is kept of a commit's own description: when it was, and what kind of commit.
KEPT_INFO = ("timestamp", "operation", "engineInfo", "clientVersion")

Action = dict[str, Any]


def state(delta: DeltaTable, location: Path) -> list[Action]:
    """Return the actions that make a table's version, without the files that it no longer has.

    Args:
        delta: at that version.
        location: the table's folder.
    """
    checkpoint = location / LOG / f"{delta.version():020}.checkpoint.parquet"
    if not checkpoint.exists():
        delta.create_checkpoint()
    with opened_parquet(checkpoint) as parquet:
        rows = parquet.read().to_pylist(maps_as_pydicts="strict")
    actions = [{kind: _plain(value)} for row in rows for kind, value in row.items() if value is not None]
    return [action for action in actions if not action.keys() & {"remove", "checkpointMetadata", "sidecar"}]


def begin_anew(delta: DeltaTable, location: Path, gone: Collection[str], added: Collection[Action]) -> None:
    """Replace a table's log, and remove all files of the table that are not in the new one.

    Args:
        delta: at its latest version.
        location: the table's folder; nobody else writes it.
        gone: paths, as the log has them, of files that the new log does not list.
        added: actions of files that it lists besides.
    """
    version = delta.version()
    kept = [action for action in state(delta, location) if action.get("add", {}).get("path") not in gone]
    actions = [{"commitInfo": info(location, version)}, *kept, *({"add": add} for add in added)]
    _make_next(location, version, actions)
    (location / LOG).rename(location / BEFORE)
    durable_files.sync(location)
    complete(location)
    _remove_others(location, {unquote(action["add"]["path"]) for action in actions if "add" in action})


def complete(location: Path) -> None:
    """Finish the replacement of a killed process: the next log is whole once the old one was renamed."""
    if (location / BEFORE).is_dir() and not (location / LOG).is_dir():
        (location / NEXT).rename(location / LOG)
        durable_files.sync(location)
    for rest in (BEFORE, NEXT):
        shutil.rmtree(location / rest, ignore_errors=True)


def as_text(actions: Collection[Action]) -> bytes:
    """Return the content of a commit."""
    return "".join(f"{json.dumps(action, separators=(',', ':'))}\n" for action in actions).encode()


def checkpoint_files(version: int, commit: bytes) -> dict[str, bytes]:
    """Return a checkpoint of this number and what points to it, by their names.

    Args:
        version: the number.
        commit: all that the table is.
    """
    with tempfile.TemporaryDirectory() as scratch:
        # As the first commit of a table elsewhere, of which delta-rs makes the checkpoint.
        log = Path(scratch) / LOG
        log.mkdir()
        (log / f"{0:020}.json").write_bytes(commit)
        DeltaTable(scratch).create_checkpoint()
        last = json.loads((log / "_last_checkpoint").read_bytes()) | {"version": version}
        last.pop("checksum", None)
        checkpoint = (log / f"{0:020}.checkpoint.parquet").read_bytes()
    return {f"{version:020}.checkpoint.parquet": checkpoint, "_last_checkpoint": json.dumps(last).encode()}


def _make_next(location: Path, version: int, actions: list[Action]) -> None:
    commit = as_text(actions)
    shutil.rmtree(location / NEXT, ignore_errors=True)
    (location / NEXT).mkdir()
    for name, content in {f"{version:020}.json": commit, **checkpoint_files(version, commit)}.items():
        durable_files.write(location / NEXT / name, content)
    durable_files.sync(location / NEXT)


def info(location: Path, version: int) -> Action:
    """Return what is kept of a commit's description of itself."""
    commit = location / LOG / f"{version:020}.json"
    lines = commit.read_text().splitlines() if commit.exists() else []
    found = (json.loads(line).get("commitInfo") for line in lines if '"commitInfo"' in line)
    # A checkpoint may have taken the commit's place.
    said = next(
        (one for one in found if one),
        {
            "timestamp": int(max(file.stat().st_mtime for file in (location / LOG).iterdir()) * 1000),
            "operation": "WRITE",
        },
    )
    return {name: said[name] for name in KEPT_INFO if name in said}


def _plain(value: Any) -> Any:
    """Leave out what is null: readers take an action's missing field for it."""
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items() if one is not None}
    return value


def _remove_others(location: Path, live: Collection[str]) -> None:
    for file in sorted(location.rglob("*")):
        name = file.relative_to(location)
        if name.parts[0] == LOG or not file.is_file():
            continue
        # Apache Spark puts a checksum beside each file.
        of = name.with_name(name.name.removeprefix(".").removesuffix(".crc"))
        if str(name) not in live and str(of) not in live:
            file.unlink()
