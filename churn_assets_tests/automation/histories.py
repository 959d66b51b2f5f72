"""A platform of a few users whose tables are sets of rows, with the real ledger and the real plan behind it.

A history is a random order of what can happen to it: events late, twice or after an outage, runs of either
kind and by tasks, kills at any commit or note, other parameters and code, another model, tables moved away,
set back or written by hand. At its end one undisturbed run has to leave what a rebuild from nothing gives.
"""

import datetime as dt
import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from churn_assets.asset_keys import asset_key
from churn_assets.automation.staleness import staleness
from churn_assets.automation.staleness.label_dates import LabelDates
from churn_assets.automation.staleness.plan import BY_MODEL, MODEL_NEWER, Plan, Step, covered_by
from churn_assets.automation.staleness.planning import plan_from
from churn_assets.automation.staleness.staleness import ASKED_FOR, unsettled
from churn_assets.automation.triggers.stale_dates import ready_steps
from churn_assets.dates import ONE_DAY, DateRange
from churn_assets.errors import DateRangeError
from churn_assets.event_days import event_days
from churn_assets.lakehouse.commits import LogSince, WriteReport
from churn_assets.lakehouse.computed_dates import checked_ledger, writing
from churn_assets.lakehouse.computed_dates.checked_ledger import read_ledger
from churn_assets.lakehouse.computed_dates.rows import MODEL_VERSION, LedgerRows, Row, parse_parameters
from churn_assets.lakehouse.withdrawn import LABELLED_TABLES
from churn_assets.partitions import last_complete_day, last_label_date
from churn_assets.settings import Settings
from churn_assets.tables import (
    ARRIVALS,
    CHURN_LABELS,
    CHURN_PREDICTIONS,
    CHURN_REASONS,
    DAILY_SUMMARY,
    DATED,
    EVENTS,
    FEATURE_DRIFT,
    OTHER_AGES,
    PREDICTION_OUTCOMES,
    RETENTION_LIST,
    USER_DAILY_ACTIVITY,
    USER_FEATURES,
    USER_MONTHLY_ACTIVITY,
    USERS,
    Table,
)
from churn_assets.transforms.features import first_whole_day

# So late in a month that the last dates read it as one.
FIRST = dt.date(2026, 1, 24)
DAYS, USERS_A_DAY, USERS_AT_ALL, MOVES = 45, 12, 60, 30
HORIZONS = (3, 5)
NOW = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)
# More days than half of either horizon, so that dates around them get no label.
OUTAGE = DateRange(FIRST + 20 * ONE_DAY, FIRST + 25 * ONE_DAY)

# Of each date, or of none.
Content = dict[dt.date | None, frozenset[tuple[Any, ...]]]
Event = tuple[int, int, dt.date]


class Killed(BaseException):
    """The process is gone."""


@dataclass
class Versions:
    """A table: what it held in each version, and which of them are no writer's."""

    table_id: str
    held: list[Content] = field(default_factory=lambda: [{}])
    maintenance: set[int] = field(default_factory=set)


class Platform:
    """Looks to the ledger like a lake."""

    notes_when_reading_began = True

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.ledger = self
        self.landed: set[Event] = set()
        self.tables: dict[Table, Versions] = {}
        self.notes = LedgerRows()
        self.code = dict.fromkeys((asset_key(table) for table in DATED), "1")
        self.production = 1
        # Dies when so many commits and notes have been begun or ended.
        self.lives: int | None = None
        self.meanwhile: Callable[[], None] | None = None
        self._made = 0

    # What the ledger asks of its store.

    def read(self) -> LedgerRows:
        return self.notes

    def append(self, rows: Iterable[Row]) -> None:
        self._live()
        number = self.notes.last_note + 1
        self.notes = LedgerRows([*self.notes.all_rows(), *(row.numbered(number) for row in rows)])
        self._live()

    # What it asks of a lake.

    def version(self, table: Table) -> int:
        return len(self.tables[table].held) - 1 if table in self.tables else -1

    def log_since(self, table: Table, version: int) -> LogSince | None:
        found = self.tables.get(table)
        if found is None:
            return None
        if self.version(table) < version:
            return LogSince(None, None)
        later = range(version + 1, self.version(table) + 1)
        # Each commit has a content of its own, which a restored or a copied table has as well.
        commit = f"{found.table_id} {id(found.held[version])}"
        return LogSince(commit, [one for one in later if one not in found.maintenance])

    def partition_rows(self, table: Table) -> dict[dt.date, int]:
        return {day: len(rows) for day, rows in self.content(table).items() if day and rows}

    def content(self, table: Table, version: int = -1) -> Content:
        return self.tables[table].held[version] if table in self.tables else {}

    # Writing.

    def write(
        self, table: Table, rows: Content, dates: DateRange | None, origin: writing.Origin | None = None
    ) -> None:
        if table not in self.tables:
            self._made += 1
            self.tables[table] = Versions(f"{table.name}-{self._made}")
        with writing.noting(self, table, dates, origin) as note:  # type: ignore[arg-type]  # as much of a lake as it asks for
            before = self.content(table)
            after = rows if table is USERS else {**before, **rows}
            counts = {day: len(found) for day, found in rows.items() if day}
            if table is EVENTS:
                counts = {day: n for day, n in counts.items() if rows[day] != before.get(day)}
            if table is not EVENTS or counts:
                self._live()
                self.tables[table].held.append(after)
                self._live()
            note.written = WriteReport(table, self.version(table), 0, 0, 0.0, rows_by_partition=counts)

    def _live(self) -> None:
        if self.lives is not None:
            self.lives -= 1
            if self.lives < 0:
                raise Killed

    # Computing, as the transforms do it.

    def ingest(self) -> None:
        by_day: dict[dt.date | None, set[tuple[Any, ...]]] = {}
        for event in self.landed:
            by_day.setdefault(event[2], set()).add(event)
        self.write(EVENTS, {day: frozenset(found) for day, found in by_day.items()}, None)
        self.make_users()

    def make_users(self) -> None:
        read = self.read().last_note
        first: dict[int, dt.date] = {}
        for day, found in self.content(EVENTS).items():
            for _, user, _ in found:
                if day:
                    first[user] = min(first.get(user, day), day)
        self.write(USERS, {None: frozenset(first.items())}, None, writing.Origin(read))

    def compute(self, step: Step) -> None:
        for table in step.tables:
            read = self.read().last_note
            rows: Content = dict(self._rows(table, step.dates))
            # What comes now was not read.
            if self.meanwhile:
                meanwhile, self.meanwhile = self.meanwhile, None
                meanwhile()
            if not self.notes_when_reading_began:
                read = self.read().last_note
            more: dict[str, object] = {MODEL_VERSION: self.production} if table is CHURN_PREDICTIONS else {}
            self.write(table, rows, step.dates, writing.Origin(read, self.code[asset_key(table)], more))

    def _rows(self, table: Table, dates: DateRange) -> Iterable[tuple[dt.date, frozenset[tuple[Any, ...]]]]:
        compute = TRANSFORMS[table]
        now = {one: self.content(one) for one in (EVENTS, USERS, *DATED)}
        return [(day, frozenset(compute(self, now, day))) for day in dates.days()]

    def labels(self) -> LabelDates:
        events = self.partition_rows(EVENTS)
        own = event_days(events, last_complete_day(NOW))
        return LabelDates.of(own, covered_by(events, self.settings, NOW), self.settings, NOW)

    # Triggers.

    def plan(self) -> Plan:
        return plan_from(read_ledger(self), self.settings, NOW, code_versions=self.code)  # type: ignore[arg-type]  # as above

    def run(self) -> None:
        """As ``churn run`` does."""
        self.ingest()
        self._withdraw()
        plan = self.plan()
        for step in plan.steps_without(*BY_MODEL):
            self.compute(step)
        self._follow_the_model(plan)
        for step in plan.only(*BY_MODEL).steps():
            self.compute(step)

    def ticks(self, most: int) -> None:
        """As the sensor does, so often, after an ingestion."""
        self.ingest()
        for _ in range(most):
            if unsettled(read_ledger(self)):  # type: ignore[arg-type]  # as above
                return
            plan = self.plan()
            self._follow_the_model(plan)
            steps = ready_steps(plan)
            if not steps:
                return
            for step in steps:
                self.compute(step)

    def tasks(self) -> None:
        """As the tasks of the Databricks job do."""
        self.ingest()
        self._withdraw()
        for step in self.plan().steps_without(*BY_MODEL):
            self.compute(step)
        plan = self.plan().only(*BY_MODEL)
        plan.score_again(plan.covered.end, ASKED_FOR)
        for step in plan.steps():
            self.compute(step)

    def _withdraw(self) -> None:
        last = last_label_date(self.settings, NOW)
        for table in LABELLED_TABLES:
            for day in [day for day in self.partition_rows(table) if day > last]:
                self.write(table, {day: frozenset()}, DateRange(day, day))

    def _follow_the_model(self, plan: Plan) -> None:
        row = read_ledger(self).dates(CHURN_PREDICTIONS).get(plan.covered.end)  # type: ignore[arg-type]  # as above
        by = parse_parameters(row.parameters).get(MODEL_VERSION) if row else None
        if by and by != str(self.production):
            plan.score_again(plan.covered.end, MODEL_NEWER)


Now = Mapping[Table, Content]
Rows = Iterable[tuple[Any, ...]]


def _activity(platform: Platform, now: Now, day: dt.date) -> Rows:
    counts: dict[int, int] = {}
    for _, user, _ in now[EVENTS].get(day, ()):
        counts[user] = counts.get(user, 0) + 1
    return counts.items()


def _summary(platform: Platform, now: Now, day: dt.date) -> Rows:
    active = now[USER_DAILY_ACTIVITY].get(day, frozenset())
    new = sum(first == day for _, first in now[USERS].get(None, ()))
    return [(len(active), sum(n for _, n in active), new)] if active else []


def _months(platform: Platform, now: Now, day: dt.date) -> Rows:
    ends_month = (day + ONE_DAY).day == 1
    return _summed(now, DateRange(day.replace(day=1), day)).items() if ends_month else []


def _features(platform: Platform, now: Now, day: dt.date) -> Rows:
    first = dict(now[USERS].get(None, ()))
    counts, since = _summed(now, DateRange(day - 29 * ONE_DAY, day)), first_whole_day(day)
    total = _summed(now, DateRange(since, day))
    for month_end, found in now[USER_MONTHLY_ACTIVITY].items():
        for user, n in found if month_end and month_end < since else ():
            total[user] = total.get(user, 0) + n
    return [(user, n, total[user], (day - first[user]).days) for user, n in counts.items() if user in first]


def _summed(now: Now, days: DateRange) -> dict[int, int]:
    counts: dict[int, int] = {}
    for one in days.days():
        for user, n in now[USER_DAILY_ACTIVITY].get(one, ()):
            counts[user] = counts.get(user, 0) + n
    return counts


def _labels(platform: Platform, now: Now, day: dt.date) -> Rows:
    if day not in platform.labels().wanted:
        return []
    ahead = DateRange(day + ONE_DAY, day + platform.settings.horizon_days * ONE_DAY)
    stayed = {user for one in ahead.days() for user, _ in now[USER_DAILY_ACTIVITY].get(one, ())}
    return [(user, int(user not in stayed)) for user, *_ in now[USER_FEATURES].get(day, ())]


def _predictions(platform: Platform, now: Now, day: dt.date) -> Rows:
    return [(*row, platform.production) for row in now[USER_FEATURES].get(day, ())]


def _follows(platform: Platform, now: Now, day: dt.date) -> Rows:
    return now[CHURN_PREDICTIONS].get(day, ())


def _outcomes(platform: Platform, now: Now, day: dt.date) -> Rows:
    labels = dict(now[CHURN_LABELS].get(day, ()))
    return [(*row, labels[row[0]]) for row in now[CHURN_PREDICTIONS].get(day, ()) if row[0] in labels]


TRANSFORMS: dict[Table, Callable[[Platform, Now, dt.date], Rows]] = {
    USER_DAILY_ACTIVITY: _activity,
    DAILY_SUMMARY: _summary,
    USER_MONTHLY_ACTIVITY: _months,
    USER_FEATURES: _features,
    CHURN_LABELS: _labels,
    CHURN_PREDICTIONS: _predictions,
    CHURN_REASONS: _follows,
    FEATURE_DRIFT: _follows,
    RETENTION_LIST: _follows,
    PREDICTION_OUTCOMES: _outcomes,
}


def changes_since(platform: Platform, version: int) -> dict[str, set[dt.date]]:
    """What ``arrivals.changes_since`` finds with an engine."""
    was, now = (dict(platform.content(USERS, at).get(None, ())) for at in (version, -1))
    moved = {user for user in {*was, *now} if was.get(user) != now.get(user)}
    older = {user for user in moved if user in was and user in now}
    active = {day for day, found in platform.content(EVENTS).items() if day and older & {e[1] for e in found}}
    return {
        ARRIVALS: {day for user in moved for day in (was.get(user), now.get(user)) if day},
        OTHER_AGES: active,
    }


class History:
    """One random history of a platform."""

    def __init__(self, seed: int, settings: Settings) -> None:
        self._random = random.Random(seed)
        self.platform = Platform(settings)
        self._waiting = [
            (number * 100 + user, user, FIRST + number * ONE_DAY)
            for number in range(DAYS)
            for user in self._random.sample(range(USERS_AT_ALL), USERS_A_DAY)
        ]
        self.said: list[str] = []

    def happen(self) -> None:
        """Everything, and then one run that nothing disturbs."""
        platform = self.platform
        outage = set(OUTAGE.days())
        on_time = [event for event in self._waiting if event[2] not in outage]
        platform.landed |= {event for event in on_time if self._random.random() < 0.95}
        self._disturbed(platform.run)
        for _ in range(MOVES):
            move = self._random.choice(MOVES_OF_A_HISTORY)
            self.said.append(move.__name__)
            move(self)
        platform.lives = platform.meanwhile = None
        platform.run()

    def differences(self) -> list[str]:
        """Where the tables are not those of a rebuild; and what is still stale."""
        found, rebuilt = self.platform, Platform(self.platform.settings)
        rebuilt.landed, rebuilt.code, rebuilt.production = found.landed, found.code, found.production
        rebuilt.run()
        wrong = []
        for table in DATED:
            ours = {day: rows for day, rows in found.content(table).items() if rows}
            theirs = {day: rows for day, rows in rebuilt.content(table).items() if rows}
            if table is CHURN_PREDICTIONS:
                # Past scores are history: they have to be there, and the last ones to be true.
                last = max(day for day in theirs if day is not None)
                ours = {day: ours.get(day) if day == last else True for day in ours}
                theirs = {day: theirs[day] if day == last else True for day in theirs}
            elif table.past_on_request:
                # What was made of it is history; only the last one has to be there, and to be true.
                last = max(day for day in found.content(CHURN_PREDICTIONS) if day)
                ours = {last: ours.get(last)}
                theirs = {last: frozenset(TRANSFORMS[table](found, found_now(found), last)) or None}
            elif table in BY_MODEL:
                theirs = {
                    day: rows
                    for day in found.content(CHURN_PREDICTIONS)
                    if day and (rows := frozenset(TRANSFORMS[table](found, found_now(found), day)))
                }
            both = {day for day in {*ours, *theirs} if day is not None}
            days = sorted(day for day in both if ours.get(day) != theirs.get(day))
            if days:
                wrong.append(f"{table.name} on {', '.join(map(str, days[:3]))}")
        stale = {table.name: len(days) for table, days in found.plan().reasons.items() if days}
        return [*wrong, *([f"still stale: {stale}"] if stale else [])]

    def _disturbed(self, work: Callable[[], None]) -> None:
        """Do it, perhaps to be killed somewhere, perhaps with other events coming in between."""
        if self._random.random() < 0.4:
            self.platform.lives = self._random.randint(0, 40)
        elif self._random.random() < 0.4:
            self.platform.meanwhile = self._late_ones_meanwhile
        try:
            work()
        except Killed:
            self.said.append("killed")
        self.platform.lives = self.platform.meanwhile = None

    def _late_ones_meanwhile(self) -> None:
        self.land()
        self.platform.ingest()

    # What may happen.

    def land(self) -> None:
        """A few events, late ones and some that came before."""
        late = [event for event in self._waiting if event not in self.platform.landed]
        for events in (late, self._waiting):
            some = self._random.sample(events, min(len(events), self._random.randint(0, 2)))
            # No more than a stray event of the outage: whole days end it.
            self.platform.landed |= {event for event in some if event[2] not in set(OUTAGE.days())}

    def end_the_outage(self) -> None:
        """Some or all of its days come after all."""
        days = self._random.sample(list(OUTAGE.days()), self._random.randint(1, 6))
        self.platform.landed |= {event for event in self._waiting if event[2] in days}

    def run(self) -> None:
        self._disturbed(self.platform.run)

    def ticks(self) -> None:
        self._disturbed(lambda: self.platform.ticks(self._random.randint(1, 5)))

    def tasks(self) -> None:
        self._disturbed(self.platform.tasks)

    def change_a_parameter(self) -> None:
        horizon = self._random.choice(HORIZONS)
        self.platform.settings = self.platform.settings.model_copy(update={"horizon_days": horizon})

    def change_the_code(self) -> None:
        key = asset_key(self._random.choice(DATED))
        self.platform.code = {**self.platform.code, key: str(self._random.random())}

    def train(self) -> None:
        self.platform.production += 1

    def move_away(self) -> None:
        self.platform.tables.pop(self._any_table(), None)

    def restore(self) -> None:
        """A backup in its place: an earlier version, with its number."""
        found = self.platform.tables.get(self._any_table())
        if found:
            del found.held[self._random.randint(1, len(found.held)) :]

    def restore_as_a_commit(self) -> None:
        found = self.platform.tables.get(self._any_table())
        if found:
            found.held.append(dict(self._random.choice(found.held)))

    def copy_in(self) -> None:
        """Another table in its place, made of an earlier version, that has as many versions."""
        table = self._any_table()
        found = self.platform.tables.get(table)
        if found:
            earlier = self._random.choice(found.held)
            self.platform.tables[table] = Versions(
                f"copy-{self._random.random()}", [earlier] * len(found.held)
            )

    def write_by_hand(self) -> None:
        """Somebody deletes a day of a table that is computed."""
        table = self._random.choice([one for one in DATED if not one.keeps_past])
        found = self.platform.tables.get(table)
        days = [day for day, rows in found.held[-1].items() if rows] if found else []
        if found and days:
            found.held.append({**found.held[-1], self._random.choice(days): frozenset()})

    def maintain(self) -> None:
        found = self.platform.tables.get(self._any_table())
        if found:
            found.held.append(dict(found.held[-1]))
            found.maintenance.add(len(found.held) - 1)

    def lose_the_ledger(self) -> None:
        if self._random.random() < 0.2:
            self.platform.notes = LedgerRows()

    def _any_table(self) -> Table:
        return self._random.choice((EVENTS, USERS, *DATED))


def found_now(platform: Platform) -> Now:
    return {table: platform.content(table) for table in (EVENTS, USERS, *DATED)}


MOVES_OF_A_HISTORY = (
    *[History.land] * 4,
    History.end_the_outage,
    *[History.run] * 2,
    *[History.ticks] * 2,
    *[History.tasks] * 2,
    History.change_a_parameter,
    History.change_the_code,
    History.train,
    History.move_away,
    History.restore,
    History.restore_as_a_commit,
    History.copy_in,
    History.write_by_hand,
    History.maintain,
    History.lose_the_ledger,
)


# Each leaves one rule out.


def _always(value: Any) -> Callable[..., Any]:
    return lambda *_: value


def _never_newer(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(staleness._Upstream, "is_newer", _always(value=False))


def _planned_is_not_newer(patch: pytest.MonkeyPatch) -> None:
    is_newer = staleness._Upstream.is_newer

    def without_planned(self: Any, day: dt.date, read: int) -> bool:
        self._changed = {one: when for one, when in self._changed.items() if one not in self._planned}
        return is_newer(self, day, read)

    patch.setattr(staleness._Upstream, "is_newer", without_planned)


def _open_is_computed(patch: pytest.MonkeyPatch) -> None:
    append = Platform.append

    def closed(self: Platform, rows: Iterable[Row]) -> None:
        append(self, [row._replace(is_open=False) for row in rows])

    patch.setattr(Platform, "append", closed)


def _every_table_is_believed(patch: pytest.MonkeyPatch) -> None:
    for module in (checked_ledger, writing):
        patch.setattr(module, "is_trusted", _always(value=True))


def _versions_alone(patch: pytest.MonkeyPatch) -> None:
    log_since = Platform.log_since

    def without_commit(self: Platform, table: Table, version: int) -> LogSince | None:
        found = log_since(self, table, version)
        return LogSince(str(version), found.later) if found else None

    patch.setattr(Platform, "log_since", without_commit)


def _no_later_commits(patch: pytest.MonkeyPatch) -> None:
    log_since = Platform.log_since

    def without_later(self: Platform, table: Table, version: int) -> LogSince | None:
        found = log_since(self, table, version)
        return LogSince(found.commit, []) if found else None

    patch.setattr(Platform, "log_since", without_later)


def _parameters_do_not_count(patch: pytest.MonkeyPatch) -> None:
    behind = staleness._TableDates._behind

    def without(self: Any, row: Row, day: dt.date) -> str | None:
        self._parameters = {}
        return behind(self, row, day)

    patch.setattr(staleness._TableDates, "_behind", without)


def _without(heading: str) -> Callable[[pytest.MonkeyPatch], None]:
    def leave_out(patch: pytest.MonkeyPatch) -> None:
        def silent(platform: Platform, version: int) -> dict[str, set[dt.date]]:
            return changes_since(platform, version) | {heading: set()}

        patch.setattr(writing, "changes_since", silent)

    return leave_out


def _outcomes_stay(patch: pytest.MonkeyPatch) -> None:
    is_left_over = staleness._TableDates._is_left_over

    def of_labels_alone(self: Any, day: dt.date) -> bool:
        return bool(self._labelled) and is_left_over(self, day)

    patch.setattr(staleness._TableDates, "_is_left_over", of_labels_alone)


def _patching(of: type, name: str, value: Any) -> Callable[[pytest.MonkeyPatch], None]:
    return lambda patch: patch.setattr(of, name, value)


LEFT_OUT: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "what counts is when reading began": _patching(Platform, "notes_when_reading_began", value=False),
    "what has changed upstream makes newer": _never_newer,
    "what is planned upstream makes newer": _planned_is_not_newer,
    "what is open is not computed": _open_is_computed,
    "only a table as it was noted is believed": _every_table_is_believed,
    "another commit with the version of the note is another": _versions_alone,
    "commits that nobody noted count": _no_later_commits,
    "parameters count": _parameters_do_not_count,
    "the other dates of an unknown table are open": _patching(
        writing._TableBefore, "_unknown_dates", _always(())
    ),
    "what a dead ingestion brought is noted": _patching(
        writing._TableBefore, "_possibly_changed", _always(frozenset())
    ),
    "users note arrivals": _without(ARRIVALS),
    "users note other ages": _without(OTHER_AGES),
    "labels that are not to be are taken away": _patching(
        staleness._Labels, "is_superfluous", _always(value=False)
    ),
    "outcomes of labels that are gone are taken away": _outcomes_stay,
    "labels that an outage kept away are made up for": _patching(
        staleness._Labels, "is_lacking", _always(value=False)
    ),
}


def differences_after(seed: int, settings: Settings, without: str = "") -> list[str]:
    """What is wrong after the history of this seed, with one rule of the ledger left out."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writing, "changes_since", changes_since)
        if without:
            LEFT_OUT[without](patch)
        history = History(seed, settings)
        try:
            history.happen()
        except (DateRangeError, KeyError) as error:
            return [repr(error)]
        return history.differences()
