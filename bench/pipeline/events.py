"""Landing zones of simulated events, made once and kept: the same size is the same bytes."""

import datetime as dt
import json
from pathlib import Path
from typing import NamedTuple

from churn_assets.dates import ONE_DAY, DateRange
from churn_assets.sample.simulator import simulate

START = dt.date(2026, 1, 1)
DAYS = 120
SEED = 1
# So many lines come of a user in 120 days, duplicates included.
LINES_A_USER = 114
NOTE = "simulated.json"
DEFAULT_FOLDER = Path("~/.cache/churn-bench")


class Landed(NamedTuple):
    """A landing zone of one file a day, the days, and the number of its lines and bytes."""

    landing: Path
    dates: DateRange
    lines: int
    bytes: int


def landed_events(folder: Path, about: int) -> Landed:
    """About so many lines in 120 daily files: 2 % late, 1.5 % twice, 0.2 % broken.

    Args:
        folder: where landing zones are kept; one that was interrupted is gone on with.
        about: the number of lines, give or take some per cent. Of a few thousand or less, the last days may
            have too few for the platform to take them for days of the log, and peers have more dates.
    """
    users = max(round(about / LINES_A_USER), 1)
    made = folder.expanduser() / f"{users}-users-{DAYS}-days-seed-{SEED}"
    landing, note = made / "landing", made / NOTE
    if not note.exists():
        report = simulate(
            str(landing),
            made / "truth.csv",
            users=users,
            days=DAYS,
            start=START,
            seed=SEED,
            late_share=0.02,
            duplicate_share=0.015,
            corrupt_share=0.002,
        )
        note.write_text(json.dumps({"lines": report.lines, "bytes": report.bytes}))
    return Landed(landing, DateRange(START, START + (DAYS - 1) * ONE_DAY), **json.loads(note.read_text()))
