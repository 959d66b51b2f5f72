"""The figures of an import, by which a person sees whether the options were right."""

import datetime as dt
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from churn_assets.errors import ImportFileError
from churn_assets.sample.event_ids import KeyCounts
from churn_assets.sample.event_lines import event_lines

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
MICROSECOND = dt.timedelta(microseconds=1)
# An option that names the wrong column has as many event types as rows.
MOST_EVENT_TYPES = 1_000
SHOWN_ROWS = 10


class Users:
    """The set of users, which notices two ids with the same hash."""

    def __init__(self) -> None:
        self._all = KeyCounts()
        # Of hashed ids, the key is the number and the count is another hash, which tells texts apart.
        self._hashed = KeyCounts()

    def __len__(self) -> int:
        return len(self._all)

    def add(self, events: pa.Table, source: str) -> None:
        """Add the users of events.

        Raises:
            ImportFileError: two ids have one hash.
        """
        events = events.filter(events["user_id"].is_valid())
        numbers, first, where = np.unique(
            events["user_id"].to_numpy(), return_index=True, return_inverse=True
        )
        # 0 for a number that stands for itself.
        checks = events["user_check"].fill_null(0).to_numpy()
        one_check = checks[first]
        before = self._hashed.counts(numbers)
        is_known = self._all.counts(numbers) > 0
        odd = (checks != one_check[where]) | (is_known & (before != one_check))[where]
        if odd.any():
            place = int(odd.argmax())
            raise _one_hash(events, place, int(numbers[where[place]]), source)
        new = ~is_known
        self._all.add(numbers[new], np.ones(int(new.sum()), np.int64))
        is_hashed = new & (one_check != 0)
        self._hashed.add(numbers[is_hashed], one_check[is_hashed])


@dataclass
class Summary:
    """Statistics of the rows of all mapped files.

    ``first`` and ``last`` are the first and last plausible time: from ``earliest`` on, and not in the future.
    Others are counted in ``too_early`` and ``too_late``, with one of them as an example. ``event_types``
    counts at most MOST_EVENT_TYPES of them. ``usable`` rows have an id, a user and a plausible time.
    ``epoch_units`` counts the times that were numbers, by what they count; ``unknown`` ones are none.
    """

    earliest: dt.datetime
    latest: dt.datetime
    rows_read: int = 0
    usable: int = 0
    first: dt.datetime | None = None
    last: dt.datetime | None = None
    too_early: int = 0
    too_late: int = 0
    odd_times: dict[str, dt.datetime] = field(default_factory=dict)
    event_types: Counter[str] = field(default_factory=Counter)
    epoch_units: Counter[str] = field(default_factory=Counter)
    users: Users = field(default_factory=Users)

    def count(self, events: pa.Table, source: str) -> None:
        """Add the rows of a table of events.

        Raises:
            ImportFileError: two of the ids of users have one hash.
        """
        self.rows_read += len(events)
        self.users.add(events, source)
        for column, counter in (("event_type", self.event_types), ("epoch_unit", self.epoch_units)):
            for each in pc.value_counts(events[column]).to_pylist():  # type: ignore[attr-defined]  # made at run time
                if each["values"] is not None and (
                    each["values"] in counter or len(counter) < MOST_EVENT_TYPES
                ):
                    counter[each["values"]] += each["counts"]
        self._count_times(events)

    def _count_times(self, events: pa.Table) -> None:
        has_time = ~np.asarray(events["event_ts_micros"].is_null())
        micros = events["event_ts_micros"].fill_null(0).to_numpy()
        early = has_time & (micros < _micros(self.earliest))
        late = has_time & (micros > _micros(self.latest))
        self.too_early += int(early.sum())
        self.too_late += int(late.sum())
        for name, odd in (("before", early), ("after", late)):
            if odd.any():
                self.odd_times.setdefault(name, _moment(micros[odd][0]))
        plausible = has_time & ~early & ~late
        if plausible.any():
            first, last = _moment(micros[plausible].min()), _moment(micros[plausible].max())
            self.first, self.last = min(self.first or first, first), max(self.last or last, last)
        has_ids = np.asarray(events["event_id"].is_valid()) & np.asarray(events["user_id"].is_valid())
        self.usable += int((plausible & has_ids).sum())


def _one_hash(events: pa.Table, where: int, number: int, source: str) -> ImportFileError:
    text = events["user_text"][where].as_py() or str(number)
    return ImportFileError(
        f"{source}: user_id {text!r} and another one both become user {number}. "
        "Import them under ids of your own, whole numbers that are all different."
    )


@dataclass
class ImportReport:
    """The figures of an import, or of a dry run as if it had landed.

    ``files`` landed; ``already_landed`` were there, from the same bytes and the same mapping; ``empty`` have
    no row. Of the ``rows`` that landed, those without an event_id, a user_id or a time will be quarantined;
    ``without_event_ts`` counts those with a time that is none, too. ``unreadable_amounts`` is how many have
    an amount that is no number: events without one. ``held`` rows did not land, since an
    older version, which made ids otherwise, landed them. ``files_with_rows`` counts files that landed and
    those whose rows are all held. ``notes`` say how files are written that are not as most are.
    ``first_lines`` are the first rows as they land; ``name`` is that of the import's record.
    """

    files: int = 0
    already_landed: int = 0
    empty: int = 0
    rows: int = 0
    without_event_id: int = 0
    without_user_id: int = 0
    without_event_ts: int = 0
    unreadable_amounts: int = 0
    held: int = 0
    files_with_rows: int = field(default=0, compare=False)
    summary: Summary | None = field(default=None, compare=False)
    notes: list[str] = field(default_factory=list, compare=False)
    warnings: list[str] = field(default_factory=list, compare=False)
    first_lines: list[bytes] = field(default_factory=list, compare=False)
    name: str | None = field(default=None, compare=False)

    @property
    def has_usable_rows(self) -> bool:
        """Whether any row so far can become an event."""
        return bool(self.summary and self.summary.usable)

    def count(self, events: pa.Table, new: pa.Table, source: str) -> None:
        """Count a table of events, and the part of them that lands."""
        if self.summary:
            self.summary.count(events, source)
        self.held += len(events) - len(new)
        self.rows += len(new)
        self.without_event_id += new["event_id"].null_count
        self.without_user_id += new["user_id"].null_count
        self.without_event_ts += new["event_ts_micros"].null_count
        self.unreadable_amounts += int((~np.asarray(new["is_amount"].fill_null(True))).sum())
        if missing := SHOWN_ROWS - len(self.first_lines):
            self.first_lines += event_lines(new.slice(0, missing)).splitlines()


def _micros(moment: dt.datetime) -> int:
    return (moment - EPOCH) // MICROSECOND


def _moment(micros: int) -> dt.datetime:
    return EPOCH + int(micros) * MICROSECOND
