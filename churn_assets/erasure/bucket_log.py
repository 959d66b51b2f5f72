"""A Delta log in a bucket begins anew: one commit more, its checkpoint, and only what is live.

A table in a folder keeps its version number, under a lock that ends with its holder. In a bucket nothing can
be renamed, and a writer that was away for longer than its lease may come back at any time. On top of a
version that is another than it has read, it would remove files that are gone, and double their rows. So what
is erased is committed as all writers commit there, on the condition that nobody has committed this number.
"""

import re
import time
import uuid
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError

from churn_assets import bucket
from churn_assets.erasure import delta_log
from churn_assets.erasure.delta_log import LOG, Action
from churn_assets.lakehouse.writes import COMMIT_CONFLICTS

COMMIT = re.compile(rf"{LOG}/(\d{{20}})\.json")
# What a commit of the past is replaced by. Were it removed, a writer that has read the version before it
# could commit this number still, and would never learn that nobody reads it. Its time, of the year 9999, is
# after all that are asked for.
EMPTIED = delta_log.as_text([{"commitInfo": {"timestamp": 253402300799000, "operation": "ERASED"}}])


class _Past(NamedTuple):
    """What a version has no use for, by names within the table's prefix: commits, and all else."""

    commits: list[str]
    others: list[str]


def begin_anew(delta: DeltaTable, location: Path, gone: Collection[str], added: Collection[Action]) -> None:
    """Commit a version with other files, and remove all that was before it; nothing where that is so already.

    Args:
        delta: at its latest version.
        location: the table's prefix.
        gone: paths, as the log has them, of files that the new version does not list.
        added: actions of files that it lists besides.

    Raises:
        CommitFailedError: another writer committed first.
    """
    # Before the commit: whoever writes files from then on has read it, and whoever did before cannot commit.
    before = bucket.sizes(location)
    if not gone and not added and _is_anew(delta, location, before):
        return
    version = delta.version() + 1
    _commit(location, version, gone, added)
    actions = delta_log.state(DeltaTable(location, version=version), location)
    for name, content in delta_log.checkpoint_files(version, delta_log.as_text(actions)).items():
        (location / LOG / name).write_bytes(content)
    past = _past(before, version, actions)
    for name in past.commits:
        (location / name).write_bytes(EMPTIED)
    bucket.remove_below(location, past.others)


def _is_anew(delta: DeltaTable, location: Path, names: Mapping[str, int]) -> bool:
    if f"{LOG}/{delta.version():020}.checkpoint.parquet" not in names:
        return False
    past = _past(names, delta.version(), delta_log.state(delta, location))
    return not past.commits and not past.others


def _commit(location: Path, version: int, gone: Collection[str], added: Collection[Action]) -> None:
    now = int(time.time() * 1000)
    actions: list[Action] = [
        # By its id this commit is told from any other, where the answer to it is lost.
        {"commitInfo": {**delta_log.info(location, version - 1), "txnId": str(uuid.uuid4())}},
        *({"remove": {"path": path, "deletionTimestamp": now, "dataChange": True}} for path in sorted(gone)),
        *({"add": add} for add in added),
    ]
    place, content = location / LOG / f"{version:020}.json", delta_log.as_text(actions)
    if bucket.create(place, content) is None:
        found = bucket.read(place)
        if found is None or found.content != content:
            raise CommitFailedError(
                f"{COMMIT_CONFLICTS[0]}: another writer committed version {version} first"
            )


def _past(names: Mapping[str, int], version: int, actions: Collection[Action]) -> _Past:
    live = {unquote(action["add"]["path"]) for action in actions if "add" in action}
    kept = {f"{LOG}/{version:020}.checkpoint.parquet", f"{LOG}/_last_checkpoint"}
    past = _Past([], [])
    for name, size in names.items():
        if commit := COMMIT.fullmatch(name):
            if int(commit[1]) < version and size != len(EMPTIED):
                past.commits.append(name)
        elif name not in live and name not in kept:
            past.others.append(name)
    return past
