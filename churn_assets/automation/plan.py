"""Which dates of which tables are missing or behind what they read, and why.

What the tables themselves say is ``lakehouse.evidence``; further on, Dagster's event log orders every
materialisation of every date. See docs/adr/0009 and 0013.
"""

import datetime as dt
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import dagster as dg

from churn_assets.automation.label_dates import LabelDates
from churn_assets.automation.partition_history import Evidenced, History
from churn_assets.dates import ONE_DAY, DateRange, contiguous_ranges
from churn_assets.errors import DateRangeError
from churn_assets.event_days import event_days
from churn_assets.lakehouse.evidence import gather
from churn_assets.lakehouse.lake import Lakehouse
from churn_assets.partitions import last_complete_day
from churn_assets.settings import Settings
from churn_assets.tables import (
    CHURN_LABELS,
    CHURN_PREDICTIONS,
    CHURN_REASONS,
    DAILY_SUMMARY,
    EVENTS,
    FEATURE_DRIFT,
    FEATURE_WINDOW_DAYS,
    LONGEST_MONTH_DAYS,
    PREDICTION_OUTCOMES,
    USER_DAILY_ACTIVITY,
    USER_FEATURES,
    USER_MONTHLY_ACTIVITY,
    Table,
)

MISSING = "missing"
UPSTREAM_NEWER = "upstream newer"
MODEL_NEWER = "model newer"
CODE_CHANGED = "code_version changed"
NOT_TO_LABEL = "not to be labelled"
ASKED_FOR = "asked for"

# Predictions, and what is said of every date of them.
SCORES = (CHURN_PREDICTIONS, CHURN_REASONS, FEATURE_DRIFT)
# All that needs a model.
BY_MODEL = (*SCORES, PREDICTION_OUTCOMES)

Reasons = dict[dt.date, str]
# Of each table's transform, by the asset's key.
CodeVersions = Mapping[dg.AssetKey, str]


@dataclass(frozen=True)
class Step:
    """One run: these tables over these dates."""

    tables: tuple[Table, ...]
    dates: DateRange

    @property
    def days(self) -> frozenset[dt.date]:
        """Each of the dates."""
        return frozenset(self.dates.days())


@dataclass
class Plan:
    """The dates to compute, each with the reason, by table in the order of the graph."""

    covered: DateRange
    reasons: dict[Table, Reasons] = field(default_factory=dict)

    def only(self, *tables: Table) -> "Plan":
        """The part of the plan that computes these tables."""
        return Plan(self.covered, {table: found for table, found in self.reasons.items() if table in tables})

    def steps_without(self, *tables: Table) -> list[Step]:
        """The steps of all other tables."""
        return self.only(*(table for table in self.reasons if table not in tables)).steps()

    def score_again(self, day: dt.date, reason: str) -> None:
        """Score this date, whatever was planned for it, and say anew what is said of it."""
        for table in SCORES:
            self.reasons.setdefault(table, {}).setdefault(day, reason)

    def why(self, step: Step) -> str:
        """The reasons of a step, each with its number of dates of all its tables."""
        counted: Counter[str] = Counter()
        for table in step.tables:
            counted.update(reason for day, reason in self.reasons[table].items() if day in step.days)
        return ", ".join(f"{reason} ({count})" for reason, count in sorted(counted.items()))

    def steps(self) -> list[Step]:
        """One run for each contiguous range; neighbours in the graph with equal ranges share their runs."""
        steps: list[Step] = []
        pending: list[Table] = []
        ranges: list[DateRange] = []
        for table, reasons in self.reasons.items():
            found = contiguous_ranges(reasons)
            if found != ranges:
                steps.extend(Step(tuple(pending), dates) for dates in ranges)
                pending, ranges = [], found
            pending.append(table)
        steps.extend(Step(tuple(pending), dates) for dates in ranges)
        return steps


def covered_dates(lake: Lakehouse, now: dt.datetime) -> DateRange:
    """The feature_dates that the data covers: from its first day to its last complete one.

    Raises:
        DateRangeError: no event lies in the dates of the settings, or the first windows would be cut off.
    """
    return covered_by(lake.partition_rows(EVENTS), lake.settings, now)


def covered_by(events: Mapping[dt.date, int], settings: Settings, now: dt.datetime) -> DateRange:
    """The same, from the number of events that Silver holds of each day.

    Raises:
        DateRangeError: as ``covered_dates``.
    """
    own = event_days(events, last_complete_day(now))
    is_own = DateRange(own.first or dt.date.min, own.last or dt.date.max)
    days = sorted(day for day in events if is_own.start <= day <= is_own.end)
    last = min(settings.end_date or dt.date.max, last_complete_day(now), is_own.end)
    window_start = settings.start_date - (FEATURE_WINDOW_DAYS - 1) * ONE_DAY
    early = [day for day in days if window_start <= day < settings.start_date]
    inside = [day for day in days if settings.start_date <= day <= last]
    if days and (early or not inside) and days[0] < settings.start_date:
        first = _first_day_in_reach(days, settings.start_date) if inside else days[0]
        raise DateRangeError(
            f"Events start on {first} and CHURN_START_DATE is {settings.start_date}, so the first windows "
            f"would miss events. Set CHURN_START_DATE={first} (in the environment or .env) and run again."
        )
    if not inside:
        found = f"the first of them is of {days[0]}" if days else "there is none yet"
        raise DateRangeError(
            f"No event from {settings.start_date} to {last if days else 'now'}: {found}. "
            "Land events of complete UTC days, or change CHURN_START_DATE and CHURN_END_DATE."
        )
    return DateRange(max(settings.start_date, inside[0]), last)


def _first_day_in_reach(days: list[dt.date], start: dt.date) -> dt.date:
    """The start from which no window misses an event, found at once and not a window further each time."""
    first = start
    for day in sorted((day for day in days if day < start), reverse=True):
        if day < first - (FEATURE_WINDOW_DAYS - 1) * ONE_DAY:
            break
        first = day
    return first


def make_plan(  # noqa: PLR0913 - each is a question that the one who asks may leave open
    lake: Lakehouse,
    instance: dg.DagsterInstance,
    now: dt.datetime,
    wanted: DateRange | None = None,
    *,
    code_versions: CodeVersions | None = None,
    scores_again: bool = False,
) -> Plan:
    """Find what is to be computed, with an engine to look at the tables.

    Args:
        lake: Silver and users are current.
        instance: where materialisations are recorded.
        now: the clock.
        wanted: feature_dates to bring up to date; all that the data covers, without it.
        code_versions: of the tables' transforms as they are now; dates that others computed are stale then.
        scores_again: score all of these dates, though past predictions are history.

    Raises:
        DateRangeError: the data does not cover the dates.
    """
    found = Evidenced(gather(lake))
    return plan_from(
        found, instance, lake.settings, now, wanted, code_versions=code_versions, scores_again=scores_again
    )


def plan_from(  # noqa: PLR0913 - as above
    found: Evidenced,
    instance: dg.DagsterInstance,
    settings: Settings,
    now: dt.datetime,
    wanted: DateRange | None = None,
    *,
    code_versions: CodeVersions | None = None,
    scores_again: bool = False,
    scores: bool = True,
) -> Plan:
    """The same from evidence that was gathered before: no table is looked at.

    Without ``scores``, as where there is no model, no date is scored; what others were scored for goes on.

    Raises:
        DateRangeError: as ``make_plan``.
    """
    covered = covered_by(found.evidence.events, settings, now)
    if wanted and not covered.start <= wanted.start <= wanted.end <= covered.end:
        raise DateRangeError(f"Data covers {covered}, not all of {wanted}. Ask for dates in that range.")
    dates = wanted or covered
    history = History(found, instance, code_versions or {})
    plan = Plan(covered)
    _plan_activity(plan, history)
    _plan_features(plan, history, dates)
    own = event_days(found.evidence.events, last_complete_day(now))
    labels = LabelDates.of(own, plan.covered, settings, now)
    _plan_labels(plan, history, labels, dates if wanted else labels.possible, settings.horizon_days)
    if scores:
        _plan_predictions(plan, history, dates, scores_again=scores_again)
    else:
        plan.reasons[CHURN_PREDICTIONS] = {}
    _plan_what_follows_predictions(plan, history, dates)
    return plan


def _behind(
    plan: Plan, history: History, table: Table, day: dt.date, reads: Mapping[Table, Iterable[dt.date]]
) -> str | None:
    """Why this date of the table is to be computed, if it is."""
    own = history.ids(table).get(day)
    if own is None:
        return MISSING
    for upstream, days in reads.items():
        stale, ids = plan.reasons.get(upstream, {}), history.ids(upstream)
        if any(read in stale or ids.get(read, 0) > own for read in days):
            return UPSTREAM_NEWER
    return CODE_CHANGED if history.made_by_other_code(table, day) else None


def _plan_activity(plan: Plan, history: History) -> None:
    activity: Reasons = {}
    summary: Reasons = {}
    months: Reasons = {}
    plan.reasons[USER_DAILY_ACTIVITY] = activity
    plan.reasons[DAILY_SUMMARY], plan.reasons[USER_MONTHLY_ACTIVITY] = summary, months
    uncounted, arrivals = history.uncounted(), history.other_arrivals()
    for day in plan.covered.days():
        reason = _behind(plan, history, USER_DAILY_ACTIVITY, day, {})
        if day in uncounted and reason != MISSING:
            reason = UPSTREAM_NEWER
        if reason:
            activity[day] = reason
        month = DateRange(day, day).widened(before=LONGEST_MONTH_DAYS - 1, after=0)
        if reason := _behind(plan, history, USER_MONTHLY_ACTIVITY, day, {USER_DAILY_ACTIVITY: month.days()}):
            months[day] = reason
        reason = _behind(plan, history, DAILY_SUMMARY, day, {USER_DAILY_ACTIVITY: [day]})
        # A late event made somebody arrive earlier.
        if reason or day in arrivals:
            summary[day] = reason or UPSTREAM_NEWER


def _plan_features(plan: Plan, history: History, dates: DateRange) -> None:
    older = history.other_ages()
    features = plan.reasons[USER_FEATURES] = {}
    for day in dates.days():
        window = DateRange(day, day).widened(before=FEATURE_WINDOW_DAYS + LONGEST_MONTH_DAYS - 2, after=0)
        before = DateRange(plan.covered.start, day)
        reads = {USER_DAILY_ACTIVITY: window.days(), USER_MONTHLY_ACTIVITY: before.days()}
        reason = _behind(plan, history, USER_FEATURES, day, reads)
        if reason or day in older:
            features[day] = reason or UPSTREAM_NEWER


def _plan_labels(
    plan: Plan, history: History, labels: LabelDates, dates: DateRange, horizon_days: int
) -> None:
    """Of dates that are to have labels those that are behind, of others those that have any."""
    found = plan.reasons[CHURN_LABELS] = {}
    superfluous, lacking = history.with_labels(), history.without_labels()
    for day in dates.days():
        if day in labels.wanted:
            ahead = DateRange(day + ONE_DAY, day + horizon_days * ONE_DAY)
            reads = {USER_FEATURES: [day], USER_DAILY_ACTIVITY: ahead.days()}
            reason = _behind(plan, history, CHURN_LABELS, day, reads)
            # What was an outage may have ended by days that this date's horizon does not hold.
            if reason or day in lacking:
                found[day] = reason or UPSTREAM_NEWER
        elif day in superfluous and labels.may_hold(day):
            found[day] = NOT_TO_LABEL


def _plan_predictions(plan: Plan, history: History, dates: DateRange, *, scores_again: bool) -> None:
    predictions: Reasons = {}
    plan.reasons[CHURN_PREDICTIONS] = predictions
    for day in dates.days():
        if history.ids(CHURN_PREDICTIONS).get(day) is None:
            predictions[day] = MISSING
        elif scores_again:
            predictions[day] = ASKED_FOR
    # Predictions of past dates are history; those of the last one follow its features.
    if covered_to_the_end(plan, dates) and dates.end not in predictions:
        reason = _behind(plan, history, CHURN_PREDICTIONS, dates.end, {USER_FEATURES: [dates.end]})
        if reason:
            predictions[dates.end] = reason


def _plan_what_follows_predictions(plan: Plan, history: History, dates: DateRange) -> None:
    """Of dates that are scored, or will be: of others there is nothing to say."""
    scored = {*plan.reasons[CHURN_PREDICTIONS], *history.ids(CHURN_PREDICTIONS)}
    labelled = {*plan.reasons[CHURN_LABELS], *history.ids(CHURN_LABELS)}
    follows = {
        CHURN_REASONS: (scored, (CHURN_PREDICTIONS,)),
        FEATURE_DRIFT: (scored, (CHURN_PREDICTIONS,)),
        PREDICTION_OUTCOMES: (scored & labelled, (CHURN_PREDICTIONS, CHURN_LABELS)),
    }
    for table, (there, upstream) in follows.items():
        found = plan.reasons[table] = {}
        for day in dates.days():
            # Not their features, which late events may have changed since: a past score is history.
            reason = day in there and _behind(plan, history, table, day, {read: [day] for read in upstream})
            if reason:
                found[day] = reason


def covered_to_the_end(plan: Plan, dates: DateRange) -> bool:
    """Whether these dates end with the last one that the data covers."""
    return dates.end == plan.covered.end
