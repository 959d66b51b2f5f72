"""Who is to be forgotten, their event files, and every file in which they are still named."""

import datetime as dt
import gzip
import io
import json
from pathlib import Path

import pyarrow.parquet as papq

from churn_assets.sample.simulator import simulate
from churn_assets_tests.end_to_end.conftest import FIRST_DAY
from churn_assets_tests.rows import line

PERSON, SOURCE = 4815162342, "zz-erase-me@example.org"
DAYS = 32
OWN_LINES = 10


def of_the_person(event_id: str, day: int, user: object = PERSON) -> str:
    moment = f"{FIRST_DAY + dt.timedelta(day)}T08:00:00Z"
    fields = {"event_id": event_id, "user_id": user, "event_ts": moment, "event_type": "purchase"}
    return json.dumps({**fields, "country": "DE", "source_user_id": SOURCE, "amount": 2.5})


def write(folder: Path, name: str, lines: list[str]) -> None:
    content = "".join(f"{text}\n" for text in lines).encode()
    (folder / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)


def land_the_person(landing: Path) -> None:
    """The first file in order, so that previews show them; one with others; and lines that are no events."""
    own = [of_the_person(f"own-{day}", day, f"{PERSON}.0") for day in range(OWN_LINES)]
    write(landing, "a-own.json", own)
    others = [line("of-another", 1, "2026-01-05", "purchase", "FR"), json.dumps({"user_id": 2})]
    late = [of_the_person(f"late-{day}", day, str(PERSON)) for day in (20, 31)]
    write(landing, "a-mixed.json.gz", [others[0], *late, late[0], others[1]])
    bad = [
        f'{{"event_id": "cut", "user_id": {PERSON}, "event_ts": "20',
        of_the_person("old", 3, f"00{PERSON}"),
    ]
    write(landing, "a-bad.json", [*bad, "no JSON"])


def land_others(landing: Path | str, folder: Path | None = None) -> None:
    """40 users.

    Args:
        landing: a folder, or the URI of one in a bucket.
        folder: where it is said who stays; the landing zone's own parent without it.
    """
    simulate(
        str(landing),
        (folder or Path(landing).parent) / "truth.csv",
        users=40,
        days=DAYS,
        start=FIRST_DAY,
        seed=3,
        late_share=0.02,
        duplicate_share=0.02,
        corrupt_share=0.02,
    )


def names_the_person(name: str, content: bytes) -> bool:
    """Whether a file names them in its bytes, raw, unpacked or decoded, or in its name."""
    needles = (str(PERSON).encode(), SOURCE.encode(), PERSON.to_bytes(8, "little"))
    if name.endswith(".gz"):
        content += gzip.decompress(content)
    if name.endswith(".parquet") and content.startswith(b"PAR1"):
        content += str(papq.ParquetFile(io.BytesIO(content)).read().to_pylist()).encode()
    content += name.encode()
    return any(needle in content for needle in needles)


def files_of_the_person(folder: Path) -> list[str]:
    """Every file of a folder that names them."""
    files = (file for file in sorted(folder.rglob("*")) if file.is_file())
    return [str(file.relative_to(folder)) for file in files if names_the_person(str(file), file.read_bytes())]
