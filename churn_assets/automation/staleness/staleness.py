"""Which dates of which tables are stale, and why: the one rule that commands, sensors and tasks use.

It reads the ledger's rows, the contracts and the settings alone: no clock, no table, no engine. A date is
stale if it was never computed, or only half; if a date that it reads has changed since its writer began to
read; or if parameters or code differ. Rules and reasons: docs/adr/0027.
"""

import datetime as dt
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate

import dagster as dg

from churn_assets.asset_keys import asset_key
from churn_assets.automation.staleness.label_dates import LabelDates
from churn_assets.automation.staleness.plan import Plan, Reasons
from churn_assets.contracts import Reads
from churn_assets.dates import DateRange
from churn_assets.lakehouse.computed_dates import rows
from churn_assets.lakehouse.computed_dates.checked_ledger import CheckedLedger
from churn_assets.lakehouse.computed_dates.rows import Row, parse_parameters
from churn_assets.settings import Settings
from churn_assets.tables import (
    CHURN_LABELS,
    CHURN_PREDICTIONS,
    DATED,
    EVENTS,
    FEATURE_DATE,
    PREDICTION_OUTCOMES,
    USERS,
    Table,
)

MISSING = "missing"
NOT_NOTED = "not in the ledger"
UNFINISHED = "not finished"
UNCHECKED = "not checked"
UPSTREAM_NEWER = "upstream newer"
CODE_CHANGED = "code_version changed"
NOT_TO_LABEL = "not to be labelled"
ASKED_FOR = "asked for"

# Later than any note of the ledger.
LATER = 2**63

# The code version of each table's transform, by asset key.
CodeVersions = Mapping[dg.AssetKey, str]


@dataclass(frozen=True)
class Question:
    """Which dates the data covers, and which of them to bring up to date.

    ``labels`` are the dates that have labels. ``wanted`` are the dates to bring up to date, None for all that
    are covered. Without ``scores``, as where there is no model, no date is scored, but tables that read
    earlier scores go on. With ``scores_again`` every date is scored, though past predictions are history;
    before ``scores_from`` none is. With ``lists`` past dates get the lists of whom to contact that they would
    not get unasked. ``code_versions`` are those of now.
    """

    settings: Settings
    covered: DateRange
    labels: LabelDates
    wanted: DateRange | None = None
    code_versions: CodeVersions = field(default_factory=dict)
    scores: bool = True
    scores_again: bool = False
    scores_from: dt.date = dt.date.min
    lists: bool = False


def unsettled(ledger: CheckedLedger) -> str | None:
    """Return why Silver or users must be written before any date is planned, None if both are current."""
    for table in (EVENTS, USERS):
        if table in ledger.untrusted:
            return f"{table.name} changed, and the ledger does not say how"
    users = ledger.rows.table(USERS)
    if users and any(row.changed > users.read for row in ledger.rows.dates(EVENTS).values()):
        return "events are newer than users"
    return None


def stale_dates(ledger: CheckedLedger, question: Question) -> Plan:
    """Plan the dates to compute, each with its reason, and those that wait for a check to pass."""
    plan = Plan(question.covered)
    for table in DATED:
        dates = _TableDates(ledger, question, plan, table)
        reasons = {day: why for day in dates.due() if (why := dates.why(day))}
        blocked = {day: check for day in reasons if (check := dates.blocked_by(day))}
        plan.reasons[table] = {day: why for day, why in reasons.items() if day not in blocked}
        if blocked:
            plan.blocked[table] = blocked
    return plan


class _TableDates:
    """The dates of one table, judged by the ledger and by the plan of the tables that it reads."""

    def __init__(self, ledger: CheckedLedger, question: Question, plan: Plan, table: Table) -> None:
        self._question, self._table, self._plan = question, table, plan
        self._rows = ledger.dates(table)
        self._unnoted = ledger.untrusted.get(table, {})
        self._reads = [_Upstream(reads, ledger, plan, question.settings) for reads in table.reads]
        self._parameters = {name: str(getattr(question.settings, name)) for name in table.parameters}
        self._code = question.code_versions.get(asset_key(table))
        self._labelled = _Labels(self._rows, ledger, question) if table is CHURN_LABELS else None

    def due(self) -> Iterator[dt.date]:
        """Yield the wanted dates that the table should have, and labels that it should not have."""
        if self._table is CHURN_PREDICTIONS and not self._question.scores:
            return
        first = self._question.scores_from if self._table is CHURN_PREDICTIONS else dt.date.min
        if self._table.past_on_request and not self._question.lists:
            first = self._question.covered.end
        for day in (day for day in self._wanted().days() if day >= first):
            if self._is_left_over(day) or (self._is_due(day) and self._is_readable(day)):
                yield day

    def why(self, day: dt.date) -> str | None:
        """Return why the date is to be computed, None if it is current."""
        if self._is_left_over(day):
            return NOT_TO_LABEL
        row = self._rows.get(day)
        if self._table.keeps_past:
            if self._question.scores_again:
                return ASKED_FOR
            is_history = bool(self._unnoted.get(day)) or (row is not None and not row.is_open)
            if is_history and day != self._question.covered.end:
                return None
        if row is None:
            # Rows that an earlier release or another program wrote, or that were restored.
            return NOT_NOTED if self._unnoted.get(day) else MISSING
        if row.is_open:
            return UNFINISHED
        # Its run died before the checks, which only a run of the asset executes.
        return UNCHECKED if row.blocked_by == rows.UNCHECKED else self._behind(row, day)

    def blocked_by(self, day: dt.date) -> str | None:
        """Return the failed check of an upstream date that keeps the date from being computed."""
        checks = (reads.blocked_by(day) for reads in self._reads)
        return next((check for check in checks if check), None)

    def _wanted(self) -> DateRange:
        covered, wanted = self._question.covered, self._question.wanted
        if self._labelled:
            return wanted or self._question.labels.possible
        # Tables by day or month are read by dates outside the wanted ones, too.
        return wanted or covered if self._table.partition_column == FEATURE_DATE.name else covered

    def _is_readable(self, day: dt.date) -> bool:
        """Whether the same date of every upstream table is computed, or will be."""
        return all(reads.is_there(day) for reads in self._reads)

    def _is_left_over(self, day: dt.date) -> bool:
        """Whether the date has rows that it should not have: labels, or outcomes of withdrawn labels."""
        if self._labelled:
            return self._labelled.is_superfluous(day, self._unnoted)
        if self._table is not PREDICTION_OUTCOMES or day in self._question.labels.wanted:
            return False
        return _may_have_rows(self._rows.get(day), self._unnoted.get(day)) and not self._is_readable(day)

    def _is_due(self, day: dt.date) -> bool:
        return self._labelled is None or day in self._question.labels.wanted

    def _behind(self, row: Row, day: dt.date) -> str | None:
        made_with = parse_parameters(row.parameters)
        for name, value in self._parameters.items():
            if made_with.get(name) != value:
                return f"{name.removesuffix('_days').replace('_', ' ')} changed"
        if any(reads.is_newer(day, row.read) for reads in self._reads):
            return UPSTREAM_NEWER
        if self._labelled and self._labelled.is_lacking(day, row):
            return UPSTREAM_NEWER
        return CODE_CHANGED if self._code and row.code_version != self._code else None


class _Upstream:
    """What one table reads of another, by the ledger and the plan."""

    def __init__(self, reads: Reads, ledger: CheckedLedger, plan: Plan, settings: Settings) -> None:
        self._reads, self._settings = reads, settings
        self._rows = ledger.dates(reads.upstream, reads.heading)
        self._planned: Reasons = plan.reasons.get(reads.upstream, {})
        # Kept history is there, though the ledger does not say since when.
        kept = ledger.untrusted.get(reads.upstream, {}) if reads.upstream.keeps_past else {}
        self._kept = kept
        # The note at which each of its dates changed; LATER if it is open, planned or kept history.
        changed = {day: LATER if row.is_open else row.changed for day, row in self._rows.items()}
        self._changed = {**changed, **dict.fromkeys((*self._planned, *kept), LATER)}
        self._newest = max(self._changed.values(), default=0)
        self._blocked = sorted(
            {day for day, row in self._rows.items() if row.blocked_by} - self._planned.keys()
        )
        self._is_dated = reads.upstream in DATED
        # A table without dates that the ledger does not know is planned by no one here.
        self._is_unknown = reads.upstream in ledger.untrusted and not self._is_dated

    def is_there(self, day: dt.date) -> bool:
        """Whether the same date of the upstream is computed or planned, if that date is what is read."""
        if not self._reads.follows or not self._is_dated or self._reads.offsets(self._settings) != (0, 0):
            return True
        row = self._rows.get(day)
        return day in self._planned or bool(self._kept.get(day)) or (row is not None and not row.is_open)

    def is_newer(self, day: dt.date, read: int) -> bool:
        """Whether a date in the window has changed since the ledger's note ``read``, or is planned."""
        if not self._reads.follows or (self._newest <= read and not self._is_unknown):
            return False
        return self._is_unknown or self._last_change(day) > read

    def blocked_by(self, day: dt.date) -> str | None:
        """Return a failed check of a date in the window that is not planned again, None if there is none."""
        window = self._window(day)
        first = bisect_left(self._blocked, window.start)
        if first == len(self._blocked) or self._blocked[first] > window.end:
            return None
        failing = self._blocked[first]
        return f"{self._reads.upstream.name} of {failing} fails {self._rows[failing].blocked_by}"

    def _last_change(self, day: dt.date) -> int:
        """Return the note of the last change in the window, 0 if it is empty."""
        window = self._window(day)
        if not self._reads.reads_from_the_start:
            return max((self._changed.get(date, 0) for date in window.days()), default=0)
        days, last_changes = self._from_the_start
        up_to = bisect_right(days, window.end)
        return last_changes[up_to - 1] if up_to else 0

    @cached_property
    def _from_the_start(self) -> tuple[list[dt.date], list[int]]:
        """Days, and the last change up to each: tables that read all earlier days would need n² look-ups."""
        days = sorted(day for day in self._changed if day >= self._settings.start_date)
        return days, list(accumulate((self._changed[day] for day in days), max))

    def _window(self, day: dt.date) -> DateRange:
        return self._reads.window(day, self._settings)


class _Labels:
    """The rules for labels alone: which dates have them depends on days that no single date reads."""

    def __init__(self, rows: Mapping[dt.date, Row], ledger: CheckedLedger, question: Question) -> None:
        self._rows, self._dates = rows, question.labels
        self._features = ledger.dates(CHURN_LABELS.reads[0].upstream)

    def is_superfluous(self, day: dt.date, unnoted: Mapping[dt.date, int]) -> bool:
        """Whether the date has, or may have, labels that an earlier release or fewer events left."""
        return _may_have_rows(self._rows.get(day), unnoted.get(day)) and self._dates.may_hold(day)

    def is_lacking(self, day: dt.date, row: Row) -> bool:
        """Whether the date has features and no label, as after an outage that ended outside its horizon."""
        features = self._features.get(day)
        return not row.rows and bool(features and features.rows)


def _may_have_rows(row: Row | None, unnoted: int | None) -> bool:
    count = row.rows if row else unnoted
    return bool(count or (row and row.is_open and count is None))
