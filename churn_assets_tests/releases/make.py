"""Makes the small lake of a release with that release's own code, and packs it for the tests.

    git clone . /tmp/churn-0.1.0 && git -C /tmp/churn-0.1.0 checkout 56476b4
    python -m churn_assets_tests.releases.make /tmp/churn-0.1.0 0.1.0

The packages are those installed here; the code is the checkout's. The events are made here, and are few: a
training takes 10,000 labelled rows, so 440 users visit rarely on 42 days.
"""

import json
import os
import random
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from churn_assets_tests.releases.unpack import FIRST, FIRST_DAY, HORIZON, MADE_AT, archive_of

DAYS = 42
# The first run takes these, the second the rest: each table has a past.
FIRST_RUN_DAYS = 40
REGULARS, DAILY = 250, 190
COUNTRIES = ("DE", "FR", "GB")

# Users of whom releases after the first are told that they were contacted.
CONTACTED = 30

CHURN = "from churn_assets.cli import main; main()"


def events() -> Iterator[tuple[date, dict[str, object]]]:
    """The day on which each event lands, and the event.

    Regulars come each sixth day and stay. Others come daily until they leave for good: silent for two days
    they are gone, which is what recency alone cannot know. One event in forty lands two days late.
    """
    chance = random.Random(7)
    number = 0
    for user in range(1, REGULARS + DAILY + 1):
        regular = user <= REGULARS
        first = user % 6 if regular else chance.randrange(DAYS - 6)
        end = DAYS if regular else min(DAYS, first + chance.randrange(2, 40))
        # Some of either kind do as the other one does.
        gone = chance.randrange(10, DAYS) if regular and user % 12 == 0 else end
        for day in range(first, min(end, gone), 6 if regular else 1):
            number += 1
            happened = FIRST_DAY + timedelta(days=day)
            late = number % 40 == 0
            yield (
                happened + timedelta(days=2 * late),
                {
                    "event_id": f"e{number}",
                    "user_id": user,
                    "event_ts": datetime(
                        happened.year, happened.month, happened.day, user % 24, tzinfo=UTC
                    ).isoformat(),
                    "event_type": "purchase" if (regular and number % 3 == 0) else "page_view",
                    "country": COUNTRIES[user % 3],
                },
            )


def land(folder: Path) -> None:
    """A file a day; every tenth has a line twice and one that is broken."""
    folder.mkdir(parents=True)
    by_day: dict[date, list[str]] = {}
    for day, event in events():
        by_day.setdefault(day, []).append(json.dumps(event))
    for number, (day, lines) in enumerate(sorted(by_day.items())):
        more = [lines[0], lines[1][:30]] if number % 10 == 3 else []
        (folder / f"events-{day}.json").write_text("\n".join([*lines, *more]) + "\n")


def main(checkout: Path, release: str) -> None:
    """Land, run twice, say who was contacted, and pack what there is then, but for logs and locks."""
    shutil.rmtree(MADE_AT, ignore_errors=True)
    lake, aside = MADE_AT / "lake", MADE_AT / "aside"
    landing = lake / "landing" / "events"
    land(landing)
    aside.mkdir()
    for file in sorted(landing.iterdir())[FIRST_RUN_DAYS:]:
        file.rename(aside / file.name)
    _churn(checkout, lake, "run")
    for file in aside.iterdir():
        file.rename(landing / file.name)
    _churn(checkout, lake, "run")
    if release != FIRST:
        contacts = aside / "contacts.csv"
        treated_at = FIRST_DAY + timedelta(days=DAYS)
        rows = [f"{user},{treated_at},email" for user in range(1, CONTACTED + 1)]
        contacts.write_text("\n".join(["user_id,treated_at,channel", *rows]) + "\n")
        _churn(checkout, lake, "import", "--treatments", str(contacts))
        _churn(checkout, lake, "run")
    with tarfile.open(archive_of(release), "w:xz", preset=9) as packed:
        packed.add(lake, "lake", filter=_kept)
    print(f"{archive_of(release)}: {archive_of(release).stat().st_size / 1e6:.2f} MB")


def _churn(checkout: Path, lake: Path, *command: str) -> None:
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": os.environ["HOME"],
        "PYTHONPATH": str(checkout),
        "CHURN_LAKE_ROOT": str(lake),
        "CHURN_HORIZON_DAYS": str(HORIZON),
        "CHURN_START_DATE": str(FIRST_DAY),
        # Nobody listens there: the endpoint is a server that ends with the run.
        "CHURN_ENDPOINT_URL": "http://127.0.0.1:18080",
    }
    subprocess.run([sys.executable, "-c", CHURN, *command], check=True, env=environment, cwd=MADE_AT)


def _kept(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    # Dagster keeps what steps printed; the endpoint's tokens are secrets, though nobody's. So is the key of
    # the models, without which none of them would be run.
    dropped = (".locks", "logs", "compute_logs", "compute_log", "token", "admin-token", "sample")
    if any(part in dropped for part in Path(member.name).parts):
        return None
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute(), sys.argv[2])
