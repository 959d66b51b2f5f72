"""Leftovers of a table whose writer was killed before its first commit."""

import logging
from itertools import count
from pathlib import Path

from churn_assets import bucket
from churn_assets.errors import LakeError

log = logging.getLogger(__name__)


def put_aside(location: Path) -> None:
    """Move away the files of a folder that holds no table, to make room for one.

    Without a commit, no row there was ever read. The files go beside the table, under a name that says what
    they are: Apache Spark creates no table over files.

    Raises:
        LakeError: there are commits, but not the first: the table has lost the beginning of its log.
    """
    if not location.exists() or not any(location.iterdir()):
        return
    log_files = [file for file in (location / "_delta_log").glob("*") if file.suffix in {".json", ".parquet"}]
    if any(file.stat().st_size for file in log_files):
        raise LakeError(
            f"The table at {location} has lost commits of its log. Restore {location / '_delta_log'} from a "
            "backup, or move the folder away: the next churn run makes it anew."
        )
    aside = next(
        path
        for number in count(1)
        if not (path := location.with_name(f".{location.name}.half-made-{number}")).exists()
    )
    bucket.move(location, aside)
    log.warning("%s held no commit and is now %s", location, aside)
