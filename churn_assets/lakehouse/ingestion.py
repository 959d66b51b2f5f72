"""From the landing zone to Bronze: each file exactly once, whatever dies in between (see ``ledger``)."""

from dataclasses import dataclass

from churn_assets.errors import LandingError
from churn_assets.lakehouse.commits import WriteReport, combined
from churn_assets.lakehouse.file_stream import by_auto_loader, by_file_stream
from churn_assets.lakehouse.lake import Lakehouse
from churn_assets.lakehouse.landing import SUFFIXES, list_files, read_lines
from churn_assets.lakehouse.ledger import Clock, take_in
from churn_assets.tables import LANDED_EVENTS


@dataclass(frozen=True)
class Ingestion:
    """What one ingestion did: files taken in, files passed over for their suffix, and the write, if any.

    ``ignored`` is None where nobody lists the landing zone: Auto Loader shows only the files that fit.
    """

    files: int
    ignored: int | None
    write: WriteReport | None


def ingest(lake: Lakehouse, now: Clock) -> Ingestion:
    """Append the lines of every file that Bronze does not hold yet.

    Args:
        lake: its settings say where the landing zone is; it knows how new files are found.
        now: the clock, for ``_ingested_at``.

    Raises:
        LandingError: the landing zone does not exist, or neither it nor Bronze holds anything.
    """
    root = lake.settings.landing_root
    ignored = None
    if lake.finds_files_by == "auto loader":
        done = by_auto_loader(lake, now)
        if not done and lake.version(LANDED_EVENTS) < 1:
            raise _nothing_landed(root)
    else:
        listing = list_files(root)
        ignored = listing.ignored
        if not listing.files and lake.version(LANDED_EVENTS) < 1:
            raise _nothing_landed(root, f" ({ignored} others)")
        if lake.finds_files_by == "file stream":
            done = by_file_stream(lake, now)
        else:
            done = [take_in(lake, set(listing.files), lambda new: read_lines(lake.spark, root, new), now)]
    return Ingestion(
        files=sum(files for files, _ in done),
        ignored=ignored,
        write=combined([write for _, write in done if write]),
    )


def _nothing_landed(root: str, others: str = "") -> LandingError:
    return LandingError(
        f"The landing zone {root} holds no event files{others}: expected names that end in "
        f"{' or '.join(SUFFIXES)}. Put files there, or land sample events with: churn simulate"
    )
