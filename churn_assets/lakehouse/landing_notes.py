"""Notes on the landing zone, shown after a run and by ``churn status``; kept in metadata in between."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from churn_assets.lakehouse.landing import EXPECTED, Listing

if TYPE_CHECKING:
    from churn_assets.lakehouse.ingestion import Ingestion

# The notes' name in the metadata of Bronze's materialisation.
METADATA_NAME = "landing_zone"

# How many names are kept, which is more than people read, and few enough for metadata.
NAMES_KEPT = 100
NAMES_SHOWN = 3

# The clocks of two machines that are set by a time server differ by less.
CLOCKS_DIFFER = dt.timedelta(minutes=1)


@dataclass(frozen=True)
class LandingNotes:
    """What was not ingested, and why.

    Attributes:
        passed_over: how many files have other suffixes.
        passed_over_names: the first of their names.
        left_out: the first files that could not be ingested though their suffix fits, with the reason.
        left_out_count: how many there are in all.
        ahead_seconds: how far Bronze's last timestamp is ahead of the clock, 0 where it is not.
    """

    passed_over: int = 0
    passed_over_names: Sequence[str] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)
    left_out_count: int = 0
    ahead_seconds: float = 0.0

    @classmethod
    def of(cls, source: "Ingestion | Listing | None", ahead: dt.timedelta) -> "LandingNotes":
        """Return the notes of an ingestion or a listing; without one, on the clock alone."""
        names = (source.passed_over if source else None) or []
        left_out = source.left_out if source else {}
        return cls(
            passed_over=len(names),
            passed_over_names=names[:NAMES_KEPT],
            left_out=dict(sorted(left_out.items())[:NAMES_KEPT]),
            left_out_count=len(left_out),
            ahead_seconds=ahead.total_seconds() if ahead >= CLOCKS_DIFFER else 0.0,
        )

    def lines(self) -> list[str]:
        """Return a line for each problem; none where all is well."""
        lines = []
        if self.left_out_count:
            examples = [f"{name} {reason}" for name, reason in list(self.left_out.items())[:NAMES_SHOWN]]
            lines.append(
                f"{_counted(self.left_out_count)} not taken in: {'; '.join(examples)}"
                f"{_more(self.left_out_count)}. They are tried again each time."
            )
        if self.passed_over:
            lines.append(
                f"{_counted(self.passed_over)} passed over: {', '.join(self.passed_over_names[:NAMES_SHOWN])}"
                f"{_more(self.passed_over)}. Event files have {EXPECTED}."
            )
        if self.ahead_seconds:
            lines.append(
                f"Bronze's last ingestion is stamped {_span(self.ahead_seconds)} ahead of this machine's "
                "clock, so one of them is or was wrong: check the clock. Events are judged by the clock "
                "(future_event_ts); ingestions are stamped a microsecond apart until it has caught up."
            )
        return lines


def _counted(count: int) -> str:
    return "1 file or folder was" if count == 1 else f"{count:,} files or folders were"


def _more(count: int) -> str:
    return f" and {count - NAMES_SHOWN:,} more" if count > NAMES_SHOWN else ""


def _span(seconds: float) -> str:
    for unit, length in (("days", 86400), ("hours", 3600)):
        if seconds >= 2 * length:
            return f"{seconds / length:,.0f} {unit}"
    return f"{seconds / 60:,.0f} minutes"
