"""What a person is told of the landing zone after a run and by ``churn status``; in metadata in between."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from churn_assets.lakehouse.ingestion import Ingestion
from churn_assets.lakehouse.landing import EXPECTED, Listing

# What the materialisation of Bronze calls it.
METADATA_NAME = "landing_zone"

# More names than a person reads, and few enough for metadata.
NAMES_KEPT = 100
NAMES_SAID = 3

# Clocks of two machines that are set by a time server differ by less.
CLOCKS_DIFFER = dt.timedelta(minutes=1)


@dataclass(frozen=True)
class LandingNotes:
    """What was not taken in, and why.

    Attributes:
        passed_over: how many files have other suffixes; ``passed_over_names`` holds the first of them.
        left_out: the first of what could not be taken in though its suffix fits, with the reason;
            ``left_out_count`` counts all.
        ahead_seconds: how far Bronze's last ingestion is stamped ahead of the clock, 0 where it is not.
    """

    passed_over: int = 0
    passed_over_names: Sequence[str] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)
    left_out_count: int = 0
    ahead_seconds: float = 0.0

    @classmethod
    def of(cls, found: Ingestion | Listing | None, ahead: dt.timedelta) -> "LandingNotes":
        """The notes of an ingestion, or of the landing zone as it is, None where nobody can list it."""
        names = (found.passed_over if found else None) or []
        left_out = found.left_out if found else {}
        return cls(
            passed_over=len(names),
            passed_over_names=names[:NAMES_KEPT],
            left_out=dict(sorted(left_out.items())[:NAMES_KEPT]),
            left_out_count=len(left_out),
            ahead_seconds=ahead.total_seconds() if ahead >= CLOCKS_DIFFER else 0.0,
        )

    def lines(self) -> list[str]:
        """One line a matter, none where all is well."""
        said = []
        if self.left_out_count:
            few = [f"{name} {reason}" for name, reason in list(self.left_out.items())[:NAMES_SAID]]
            said.append(
                f"{_counted(self.left_out_count)} not taken in: {'; '.join(few)}"
                f"{_more(self.left_out_count)}. They are tried again each time."
            )
        if self.passed_over:
            said.append(
                f"{_counted(self.passed_over)} passed over: {', '.join(self.passed_over_names[:NAMES_SAID])}"
                f"{_more(self.passed_over)}. Event files have {EXPECTED}."
            )
        if self.ahead_seconds:
            said.append(
                f"Bronze's last ingestion is stamped {_span(self.ahead_seconds)} ahead of this machine's "
                "clock, so one of them is or was wrong: check the clock. Events are judged by the clock "
                "(future_event_ts); ingestions are stamped a microsecond apart until it has caught up."
            )
        return said


def _counted(count: int) -> str:
    return "1 file or folder was" if count == 1 else f"{count:,} files or folders were"


def _more(count: int) -> str:
    return f" and {count - NAMES_SAID:,} more" if count > NAMES_SAID else ""


def _span(seconds: float) -> str:
    for unit, length in (("days", 86400), ("hours", 3600)):
        if seconds >= 2 * length:
            return f"{seconds / length:,.0f} {unit}"
    return f"{seconds / 60:,.0f} minutes"
