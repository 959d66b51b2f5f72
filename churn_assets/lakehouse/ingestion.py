"""From the landing zone to Bronze: each file exactly once, even after a crash (see ``file_ledger``)."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field

from churn_assets.errors import LandingError
from churn_assets.lakehouse.commits import WriteReport, combined
from churn_assets.lakehouse.file_ledger import AppendedFiles, Clock, append_new_files, require_ledger
from churn_assets.lakehouse.file_stream import by_auto_loader, by_file_stream
from churn_assets.lakehouse.lake import Lakehouse
from churn_assets.lakehouse.landing import EXPECTED, Listing, list_files
from churn_assets.lakehouse.landing_lines import read_rows
from churn_assets.tables import LANDED_EVENTS


@dataclass(frozen=True)
class Ingestion:
    """The result of one ingestion.

    Attributes:
        files: how many files were ingested.
        passed_over: files with other suffixes; None for Auto Loader, which reports only files that match.
        write: the commits as one; None without any.
        left_out: files that could not be ingested though their suffix fits, with the reason.
        ahead: how far the ledger was ahead of the clock, zero where it was not.
    """

    files: int
    passed_over: list[str] | None
    write: WriteReport | None
    left_out: Mapping[str, str] = field(default_factory=dict)
    ahead: dt.timedelta = dt.timedelta()

    @property
    def ignored(self) -> int | None:
        """How many files were passed over."""
        return None if self.passed_over is None else len(self.passed_over)


def ingest(lake: Lakehouse, now: Clock) -> Ingestion:
    """Append the lines of every file that Bronze does not have yet.

    Args:
        lake: its settings say where the landing zone is, and ``finds_files_by`` how new files are found.
        now: the clock, for ``_ingested_at`` and ``_clock_at``.

    Raises:
        LakeError: Bronze is empty and Silver is not; see ``file_ledger.require_ledger``.
        LandingError: the landing zone does not exist, or both it and Bronze are empty.
    """
    require_ledger(lake)
    root = lake.settings.landing_root
    if lake.finds_files_by == "auto loader":
        batches = by_auto_loader(lake, now)
        if not any(batch.files for batch in batches) and lake.version(LANDED_EVENTS) < 1:
            raise _nothing_landed(root)
        return _combined(batches, None)
    listing = list_files(root)
    if not listing.files and lake.version(LANDED_EVENTS) < 1:
        raise _nothing_landed(root, listing)
    return _combined(_by_listing(lake, now, listing), listing)


def _by_listing(lake: Lakehouse, now: Clock, listing: Listing) -> list[AppendedFiles]:
    """Ingest the listed files, those of Spark's file stream first where the engine has one."""
    root, megabytes = lake.settings.landing_root, lake.settings.max_line_megabytes
    is_odd = listing.has_loops or bool(listing.left_out)
    # Spark's own listing follows loops of links forever, and stops at the first unreadable folder.
    streams = lake.finds_files_by == "file stream" and not is_odd
    batches = by_file_stream(lake, now, listing) if streams else []
    # The stream offers no file twice, and none that is a week older than the newest.
    rest = set(listing.files).difference(*(batch.ingested for batch in batches))
    if rest or not batches:
        batches.append(
            append_new_files(
                lake,
                rest,
                lambda new: read_rows(lake.spark, root, new, megabytes, lake.parallel_files),
                now,
                listing,
            )
        )
    return batches


def _combined(batches: list[AppendedFiles], listing: Listing | None) -> Ingestion:
    left_out = dict(listing.left_out) if listing else {}
    for batch in batches:
        left_out |= batch.left_out
    return Ingestion(
        files=sum(batch.files for batch in batches),
        passed_over=listing.passed_over if listing else None,
        write=combined([batch.write for batch in batches if batch.write]),
        left_out=left_out,
        ahead=max((batch.ahead for batch in batches), default=dt.timedelta()),
    )


def _nothing_landed(root: str, listing: Listing | None = None) -> LandingError:
    contents = ""
    if listing and listing.passed_over:
        contents = f" ({listing.ignored} others: {', '.join(listing.passed_over[:3])})"
    if listing and listing.left_out:
        name, reason = next(iter(listing.left_out.items()))
        contents += f" that can be taken in ({len(listing.left_out)} cannot: {name} {reason})"
    return LandingError(
        f"The landing zone {root} holds no event files{contents}: expected {EXPECTED}. "
        "Put files there, or land sample events with: churn simulate"
    )
