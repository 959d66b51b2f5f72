"""What a kill left of a table whose first commit never came."""

import logging
from itertools import count
from pathlib import Path

from churn_assets.errors import LakeError

log = logging.getLogger(__name__)


def put_aside(location: Path) -> None:
    """Make room for a table in a folder that holds none.

    Without a commit nobody has ever read a row of what lies there. It goes beside the table, by a name that
    says what it is: Apache Spark makes no table over files.

    Raises:
        LakeError: there are commits, but not the first: a table that has lost its beginning.
    """
    if not location.exists() or not any(location.iterdir()):
        return
    found = [file for file in (location / "_delta_log").glob("*") if file.suffix in {".json", ".parquet"}]
    if any(file.stat().st_size for file in found):
        raise LakeError(
            f"The table at {location} has lost commits of its log. Restore {location / '_delta_log'} from a "
            "backup, or move the folder away: the next churn run makes it anew."
        )
    aside = next(
        path
        for number in count(1)
        if not (path := location.with_name(f".{location.name}.half-made-{number}")).exists()
    )
    location.rename(aside)
    log.warning("%s held no commit and is now %s", location, aside)
