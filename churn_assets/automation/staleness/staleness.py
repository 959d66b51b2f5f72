"""Which dates of which tables are stale, and why: the one answer, for whatever asks.

From the ledger's rows, the contracts and the settings alone: no clock, no table, no engine. A date is stale
when it was never computed, or only half; when a date that it reads has changed since its writer began to
read; or when parameters or code differ. Rules and reasons: docs/adr/0027.
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

LATER = 2**63

# Of each table's transform, by the asset's key.
CodeVersions = Mapping[dg.AssetKey, str]


@dataclass(frozen=True)
class Question:
    """What is asked: which dates are covered, and which of them are to be brought up to date.

    ``labels``: which dates are to have labels; ``wanted``: all that are covered, without it. Without
    ``scores``, as where there is no model, no date is scored; what others were scored for goes on. With
    ``scores_again`` each is, though past predictions are history; before ``scores_from`` none is.
    ``code_versions``: as they are now.
    """

    settings: Settings
    covered: DateRange
    labels: LabelDates
    wanted: DateRange | None = None
    code_versions: CodeVersions = field(default_factory=dict)
    scores: bool = True
    scores_again: bool = False
    scores_from: dt.date = dt.date.min


def unsettled(found: CheckedLedger) -> str | None:
    """What comes first: Silver or users that nobody knows, or users of other events; None if nothing."""
    for table in (EVENTS, USERS):
        if table in found.untrusted:
            return f"{table.name} changed, and nobody has noted how"
    users = found.rows.table(USERS)
    if users and any(row.changed > users.read for row in found.rows.dates(EVENTS).values()):
        return "events are newer than users"
    return None


def stale_dates(found: CheckedLedger, question: Question) -> Plan:
    """The dates to compute, each with the reason, and those that wait for a check to pass."""
    plan = Plan(question.covered)
    for table in DATED:
        asked = _Asked(found, question, plan, table)
        reasons = {day: why for day in asked.dates() if (why := asked.why(day))}
        held = {day: check for day in reasons if (check := asked.held_by(day))}
        plan.reasons[table] = {day: why for day, why in reasons.items() if day not in held}
        if held:
            plan.held[table] = held
    return plan


class _Asked:
    """One table, with what the plan says of those before it."""

    def __init__(self, found: CheckedLedger, question: Question, plan: Plan, table: Table) -> None:
        self._question, self._table, self._plan = question, table, plan
        self._own = found.dates(table)
        self._held = found.untrusted.get(table, {})
        self._reads = [_Upstream(reads, found, plan, question.settings) for reads in table.reads]
        self._parameters = {name: str(getattr(question.settings, name)) for name in table.parameters}
        self._code = question.code_versions.get(asset_key(table))
        self._labelled = _Labels(self._own, found, question) if table is CHURN_LABELS else None

    def dates(self) -> Iterator[dt.date]:
        """The dates that the table is to have, of those asked for; of labels also others that it has."""
        if self._table is CHURN_PREDICTIONS and not self._question.scores:
            return
        first = self._question.scores_from if self._table is CHURN_PREDICTIONS else dt.date.min
        for day in (day for day in self._asked_for().days() if day >= first):
            if self._is_left_over(day) or (self._is_due(day) and self._is_there(day)):
                yield day

    def why(self, day: dt.date) -> str | None:
        """Why the date is to be computed; None where it is current."""
        if self._is_left_over(day):
            return NOT_TO_LABEL
        row = self._own.get(day)
        if self._table.keeps_past:
            if self._question.scores_again:
                return ASKED_FOR
            is_history = bool(self._held.get(day)) or (row is not None and not row.is_open)
            if is_history and day != self._question.covered.end:
                return None
        if row is None:
            # Rows that an earlier release wrote, or others, or that were restored.
            return NOT_NOTED if self._held.get(day) else MISSING
        if row.is_open:
            return UNFINISHED
        # Its run died before the checks: only a run of the asset has them judge these dates.
        return UNCHECKED if row.blocked_by == rows.UNCHECKED else self._behind(row, day)

    def held_by(self, day: dt.date) -> str | None:
        """The check that keeps the date from being computed: what it reads fails it."""
        found = (reads.blocked_by(day) for reads in self._reads)
        return next((check for check in found if check), None)

    def _asked_for(self) -> DateRange:
        covered, wanted = self._question.covered, self._question.wanted
        if self._labelled:
            return wanted or self._question.labels.possible
        # What happened on a day or in a month is read by dates around those that are asked for.
        return wanted or covered if self._table.partition_column == FEATURE_DATE.name else covered

    def _is_there(self, day: dt.date) -> bool:
        """Whether all that it reads of the date is computed, or will be."""
        return all(reads.is_there(day) for reads in self._reads)

    def _is_left_over(self, day: dt.date) -> bool:
        """Whether it has rows and is to have none: labels not to be, or outcomes of labels that are gone."""
        if self._labelled:
            return self._labelled.superfluous(day, self._held)
        if self._table is not PREDICTION_OUTCOMES or day in self._question.labels.wanted:
            return False
        return _may_have_rows(self._own.get(day), self._held.get(day)) and not self._is_there(day)

    def _is_due(self, day: dt.date) -> bool:
        return self._labelled is None or day in self._question.labels.wanted

    def _behind(self, row: Row, day: dt.date) -> str | None:
        made_with = parse_parameters(row.parameters)
        for name, value in self._parameters.items():
            if made_with.get(name) != value:
                return f"{name.removesuffix('_days').replace('_', ' ')} changed"
        if any(reads.is_newer(day, row.read) for reads in self._reads):
            return UPSTREAM_NEWER
        if self._labelled and self._labelled.lacking(day, row):
            return UPSTREAM_NEWER
        return CODE_CHANGED if self._code and row.code_version != self._code else None


class _Upstream:
    """What a table reads of another."""

    def __init__(self, reads: Reads, found: CheckedLedger, plan: Plan, settings: Settings) -> None:
        self._reads, self._settings = reads, settings
        self._rows = found.dates(reads.upstream, reads.heading)
        self._planned: Reasons = plan.reasons.get(reads.upstream, {})
        # What is history is there, though nobody knows since when.
        kept = found.untrusted.get(reads.upstream, {}) if reads.upstream.keeps_past else {}
        self._kept = kept
        # When each of its dates changed; what is open, will be computed, or is kept, later than anything.
        changed = {day: LATER if row.is_open else row.changed for day, row in self._rows.items()}
        self._changed = {**changed, **dict.fromkeys((*self._planned, *kept), LATER)}
        self._newest = max(self._changed.values(), default=0)
        self._blocked = sorted(
            {day for day, row in self._rows.items() if row.blocked_by} - self._planned.keys()
        )
        self._is_dated = reads.upstream in DATED
        # Of what is no date of ours nobody will plan it.
        self._is_unknown = reads.upstream in found.untrusted and not self._is_dated

    def is_there(self, day: dt.date) -> bool:
        """Whether the same date of the upstream is computed, or will be, where that is what is read."""
        if not self._reads.follows or not self._is_dated or self._reads.offsets(self._settings) != (0, 0):
            return True
        row = self._rows.get(day)
        return day in self._planned or bool(self._kept.get(day)) or (row is not None and not row.is_open)

    def is_newer(self, day: dt.date, read: int) -> bool:
        """Whether something in the window has changed since the ledger's note ``read``, or will."""
        if not self._reads.follows or (self._newest <= read and not self._is_unknown):
            return False
        return self._is_unknown or self._last_change(day) > read

    def blocked_by(self, day: dt.date) -> str | None:
        """The check that something in the window fails, and that nothing planned will mend."""
        window = self._window(day)
        first = bisect_left(self._blocked, window.start)
        if first == len(self._blocked) or self._blocked[first] > window.end:
            return None
        one = self._blocked[first]
        return f"{self._reads.upstream.name} of {one} fails {self._rows[one].blocked_by}"

    def _last_change(self, day: dt.date) -> int:
        """When something in the window has changed last; 0 where there is nothing."""
        window = self._window(day)
        if not self._reads.reads_from_the_start:
            return max((self._changed.get(one, 0) for one in window.days()), default=0)
        days, last_changes = self._from_the_start
        up_to = bisect_right(days, window.end)
        return last_changes[up_to - 1] if up_to else 0

    @cached_property
    def _from_the_start(self) -> tuple[list[dt.date], list[int]]:
        """Days, and the last change up to each: dates that read all before them would take n² look-ups."""
        days = sorted(day for day in self._changed if day >= self._settings.start_date)
        return days, list(accumulate((self._changed[day] for day in days), max))

    def _window(self, day: dt.date) -> DateRange:
        return self._reads.window(day, self._settings)


class _Labels:
    """What is special about labels: which dates have them depends on days that no single date reads."""

    def __init__(self, own: Mapping[dt.date, Row], found: CheckedLedger, question: Question) -> None:
        self._own, self._dates = own, question.labels
        self._features = found.dates(CHURN_LABELS.reads[0].upstream)

    def superfluous(self, day: dt.date, held: Mapping[dt.date, int]) -> bool:
        """Whether there are labels, or may be, that an earlier release or fewer events left."""
        return _may_have_rows(self._own.get(day), held.get(day)) and self._dates.may_hold(day)

    def lacking(self, day: dt.date, row: Row) -> bool:
        """Whether the date has features and no label: an outage has ended outside its horizon."""
        features = self._features.get(day)
        return not row.rows and bool(features and features.rows)


def _may_have_rows(row: Row | None, held: int | None) -> bool:
    found = row.rows if row else held
    return bool(found or (row and row.is_open and found is None))
