"""From the landing zone to Bronze: each file exactly once, whatever dies in between (see ``ledger``)."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field

from churn_assets.errors import LandingError
from churn_assets.lakehouse.commits import WriteReport, combined
from churn_assets.lakehouse.file_stream import by_auto_loader, by_file_stream
from churn_assets.lakehouse.lake import Lakehouse
from churn_assets.lakehouse.landing import EXPECTED, Listing, list_files
from churn_assets.lakehouse.landing_lines import read_lines
from churn_assets.lakehouse.ledger import Clock, TakenIn, require_ledger, take_in
from churn_assets.tables import LANDED_EVENTS


@dataclass(frozen=True)
class Ingestion:
    """What one ingestion did.

    Attributes:
        files: how many files were taken in.
        passed_over: files with other suffixes; None where nobody lists the landing zone: Auto Loader shows
            only the files that fit.
        write: the commits; None without any.
        left_out: what could not be taken in though its suffix fits, with the reason.
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
    """Append the lines of every file that Bronze does not hold yet.

    Args:
        lake: its settings say where the landing zone is; it knows how new files are found.
        now: the clock, for ``_ingested_at`` and ``_clock_at``.

    Raises:
        LakeError: Bronze is gone and Silver stands; see ``ledger.require_ledger``.
        LandingError: the landing zone does not exist, or neither it nor Bronze holds anything.
    """
    require_ledger(lake)
    root = lake.settings.landing_root
    if lake.finds_files_by == "auto loader":
        done = by_auto_loader(lake, now)
        if not any(taken.files for taken in done) and lake.version(LANDED_EVENTS) < 1:
            raise _nothing_landed(root)
        return _all_of(done, None)
    listing = list_files(root)
    if not listing.files and lake.version(LANDED_EVENTS) < 1:
        raise _nothing_landed(root, listing)
    return _all_of(_by_listing(lake, now, listing), listing)


def _by_listing(lake: Lakehouse, now: Clock, listing: Listing) -> list[TakenIn]:
    """What is listed, found by Spark's file stream first where that is the way."""
    root, megabytes = lake.settings.landing_root, lake.settings.max_line_megabytes
    is_odd = listing.has_loops or bool(listing.left_out)
    # Spark's own listing runs in circles, and stops at the first folder that it may not read.
    streams = lake.finds_files_by == "file stream" and not is_odd
    done = by_file_stream(lake, now, listing) if streams else []
    # The stream never offers a file again that it has offered, nor one that is a week older than the newest.
    rest = set(listing.files).difference(*(taken.held for taken in done))
    if rest or not done:
        done.append(
            take_in(lake, rest, lambda new: read_lines(lake.spark, root, new, megabytes), now, listing)
        )
    return done


def _all_of(done: list[TakenIn], listing: Listing | None) -> Ingestion:
    left_out = dict(listing.left_out) if listing else {}
    for taken in done:
        left_out |= taken.left_out
    return Ingestion(
        files=sum(taken.files for taken in done),
        passed_over=listing.passed_over if listing else None,
        write=combined([taken.write for taken in done if taken.write]),
        left_out=left_out,
        ahead=max((taken.ahead for taken in done), default=dt.timedelta()),
    )


def _nothing_landed(root: str, listing: Listing | None = None) -> LandingError:
    found = ""
    if listing and listing.passed_over:
        found = f" ({listing.ignored} others: {', '.join(listing.passed_over[:3])})"
    if listing and listing.left_out:
        name, reason = next(iter(listing.left_out.items()))
        found += f" that can be taken in ({len(listing.left_out)} cannot: {name} {reason})"
    return LandingError(
        f"The landing zone {root} holds no event files{found}: expected {EXPECTED}. "
        "Put files there, or land sample events with: churn simulate"
    )
