"""What is said of a lake, and what of it is damage; each damage there is, is end_to_end/test_damage.py's."""

import datetime as dt
from pathlib import Path

from churn_assets.lakehouse import ingestion
from churn_assets.lakehouse.folder_lake import FolderLakehouse
from churn_assets.verification.verify import LANDING, verify


def test_timestamps_that_a_wrong_clock_left_ahead_are_said_and_are_no_damage(lake: FolderLakehouse) -> None:
    landing = Path(lake.settings.landing_root)
    landing.mkdir()
    (landing / "day1.json").write_text('{"event_id":"a","user_id":1}\n')
    ingestion.ingest(lake, lambda: dt.datetime.now(dt.UTC) + dt.timedelta(days=400, minutes=1))

    found = {finding.subject: finding for finding in verify(lake)}

    assert [subject for subject, finding in found.items() if not finding.is_well] == []
    assert found[LANDING].says.startswith(
        "1 event files. Bronze's last ingestion is stamped 400 days ahead of this machine's clock"
    )


def test_a_file_that_cannot_be_taken_in_is_to_be_mended(lake: FolderLakehouse) -> None:
    landing = Path(lake.settings.landing_root)
    landing.mkdir()
    (landing / "gone.json").symlink_to(landing / "nowhere.json")

    found = {finding.subject: finding for finding in verify(lake)}

    assert not found[LANDING].is_well
    assert found[LANDING].mend == "mend or move these files"
