"""The ledger of dates: what each write notes, what is believed, and that no two notes have one number."""

import datetime as dt
import shutil
import threading

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from deltalake.transaction import AddAction

from churn_assets.dates import DateRange
from churn_assets.errors import ContractError
from churn_assets.lakehouse.computed_dates import folder_store
from churn_assets.lakehouse.computed_dates.checked_ledger import read_ledger
from churn_assets.lakehouse.computed_dates.rows import Row
from churn_assets.lakehouse.computed_dates.writing import Origin
from churn_assets.lakehouse.folder_lake import FolderLakehouse
from churn_assets.lakehouse.lake import Lakehouse
from churn_assets.lakehouse.maintenance import maintain
from churn_assets.lakehouse.unity_lake import UnityLakehouse
from churn_assets.tables import (
    ARRIVALS,
    CHURN_LABELS,
    CHURN_PREDICTIONS,
    EVENTS,
    OTHER_AGES,
    USER_DAILY_ACTIVITY,
    USERS,
    Table,
)
from churn_assets_tests.conftest import MakeSettings
from churn_assets_tests.lakehouse.conftest import Cluster
from churn_assets_tests.rows import NOON, D, day, frame

DATES = DateRange(day(-1), D)


@pytest.fixture(params=["folder", "unity"])
def house(request: pytest.FixtureRequest, make_settings: MakeSettings) -> Lakehouse:
    """An empty lake: in folders, and in Unity Catalog."""
    if request.param == "folder":
        spark = request.getfixturevalue("spark")
        return FolderLakehouse(make_settings(), lambda: spark)
    cluster: Cluster = request.getfixturevalue("cluster")
    return UnityLakehouse(make_settings(deployment="databricks"), lambda: cluster.session)


def event(number: int, user: int, on: dt.date) -> tuple:
    return (f"e{number}", user, dt.datetime.combine(on, dt.time(9), dt.UTC), on, "page_view", "DE", NOON)


def write(lake: Lakehouse, table: Table, rows: list[tuple], dates: DateRange | None = None, **more) -> None:
    lake.write(table, frame(lake.spark, table, rows), dates, **more)


def activity(lake: Lakehouse, *days: dt.date, dates: DateRange = DATES, **more) -> None:
    write(lake, USER_DAILY_ACTIVITY, [(1, on, 1, 0) for on in days], dates, **more)


def notes(lake: Lakehouse, table: Table, heading: str = "") -> dict[dt.date, Row]:
    return dict(read_ledger(lake).dates(table, heading))


def dies(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_date_is_noted_with_its_rows_and_where_they_come_from(house: Lakehouse) -> None:
    activity(house, D, origin=Origin(7, "abc", {"model_version": "3"}))

    found = notes(house, USER_DAILY_ACTIVITY)
    assert [(on, row.rows, row.is_open) for on, row in sorted(found.items())] == [
        (day(-1), 0, False),
        (D, 1, False),
    ]
    row = found[D]
    assert (row.read, row.code_version, row.parameters) == (7, "abc", "model_version=3")
    assert row.delta_version == house.version(USER_DAILY_ACTIVITY)


def test_a_setting_that_changes_rows_is_noted(house: Lakehouse) -> None:
    write(house, CHURN_LABELS, [(1, D, 0)], DateRange(D, D))

    assert notes(house, CHURN_LABELS)[D].parameters == (
        "horizon_days=30, label_event_types=, label_min_active_share=0.5"
    )


def test_silver_notes_the_days_that_it_gained_events_of_and_how_many_it_holds(house: Lakehouse) -> None:
    write(house, EVENTS, [event(1, 1, day(-1)), event(2, 1, D)])
    first = notes(house, EVENTS)
    write(house, EVENTS, [event(2, 1, D), event(3, 1, D)])

    again = notes(house, EVENTS)
    assert {on: row.rows for on, row in again.items()} == {day(-1): 1, D: 2}
    assert again[day(-1)] == first[day(-1)]
    assert again[D].changed > first[D].changed


def test_a_merge_that_brings_nothing_changes_no_day(house: Lakehouse) -> None:
    write(house, EVENTS, [event(1, 1, D)])
    before = notes(house, EVENTS)

    write(house, EVENTS, [event(1, 1, D)])

    assert notes(house, EVENTS) == before


def test_users_note_who_came_and_when_those_were_active_who_are_older_now(house: Lakehouse) -> None:
    write(house, EVENTS, [event(1, 1, day(-3)), event(2, 2, D)])
    write(house, USERS, [(1, day(-3), D, "DE"), (2, D, D, "DE")])
    assert set(notes(house, USERS, ARRIVALS)) == {day(-3), D}
    assert notes(house, USERS, OTHER_AGES) == {}
    before = house.ledger.read().last_note

    write(house, EVENTS, [event(3, 2, day(-1))])
    write(house, USERS, [(1, day(-3), D, "FR"), (2, day(-1), D, "DE"), (3, day(-2), D, "DE")])

    def changed(heading: str) -> set[dt.date]:
        return {on for on, row in notes(house, USERS, heading).items() if row.changed > before}

    # User 2 came a day earlier than was known, user 3 is new, and where user 1 lives is nobody's age.
    assert changed(ARRIVALS) == {day(-2), day(-1), D}
    assert changed(OTHER_AGES) == {day(-1), D}


def test_a_table_that_was_moved_away_is_not_believed_nor_what_is_made_in_its_place(
    lake: FolderLakehouse,
) -> None:
    activity(lake, D, day(-1))
    shutil.rmtree(lake.location(USER_DAILY_ACTIVITY))

    assert set(read_ledger(lake).untrusted) == {USER_DAILY_ACTIVITY}

    activity(lake, D, dates=DateRange(D, D))

    assert read_ledger(lake).untrusted == {}
    assert {on: row.is_open for on, row in notes(lake, USER_DAILY_ACTIVITY).items()} == {
        day(-1): True,
        D: False,
    }


def test_a_table_that_went_back_to_an_earlier_version_is_not_believed(lake: FolderLakehouse) -> None:
    activity(lake, D)
    activity(lake, D, day(-1))
    DeltaTable(lake.location(USER_DAILY_ACTIVITY)).restore(1)

    assert read_ledger(lake).untrusted == {USER_DAILY_ACTIVITY: {D: 1}}


def test_a_table_that_somebody_else_wrote_is_not_believed(lake: FolderLakehouse) -> None:
    activity(lake, D)
    location = lake.location(USER_DAILY_ACTIVITY)
    write_deltalake(location, DeltaTable(location).to_pyarrow_table(), mode="append")

    assert read_ledger(lake).untrusted == {USER_DAILY_ACTIVITY: {D: 2}}


def test_maintenance_changes_nothing_that_is_known(lake: FolderLakehouse) -> None:
    for number in range(10):
        write(lake, EVENTS, [event(number, 1, D)])
    before, version = notes(lake, EVENTS), lake.version(EVENTS)

    assert maintain(lake, EVENTS, (), 0)

    assert lake.version(EVENTS) > version
    assert notes(lake, EVENTS) == before


def test_a_writer_that_dies_before_its_commit_leaves_its_dates_open(
    house: Lakehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    activity(house, D, day(-1))
    monkeypatch.setattr(type(house), "_commit", dies)
    with pytest.raises(KeyboardInterrupt):
        activity(house, D, dates=DateRange(D, D))

    assert {on: row.is_open for on, row in notes(house, USER_DAILY_ACTIVITY).items()} == {
        day(-1): False,
        D: True,
    }


def test_a_writer_that_dies_after_its_commit_leaves_a_table_that_nobody_knows(
    house: Lakehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    activity(house, D, day(-1))
    monkeypatch.setattr(type(house), "_report", dies)
    with pytest.raises(KeyboardInterrupt):
        activity(house, D, dates=DateRange(D, D))

    assert set(read_ledger(house).untrusted) == {USER_DAILY_ACTIVITY}


def test_what_a_dead_ingestion_brought_is_noted_by_the_next_which_brings_nothing(
    house: Lakehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(house, EVENTS, [event(1, 1, day(-1)), event(2, 1, D)])
    before = house.ledger.read().last_note
    with monkeypatch.context() as broken:
        broken.setattr(type(house), "_report", dies)
        with pytest.raises(KeyboardInterrupt):
            write(house, EVENTS, [event(3, 1, D)])
    assert set(read_ledger(house).untrusted) == {EVENTS}

    write(house, EVENTS, [event(3, 1, D)])

    changed = {on: row.rows for on, row in notes(house, EVENTS).items() if row.changed > before}
    assert changed == {D: 2}


def test_a_write_that_was_refused_leaves_the_ledger_as_it_was(house: Lakehouse) -> None:
    activity(house, D, day(-1))
    before = {on: row.changed for on, row in notes(house, USER_DAILY_ACTIVITY).items()}

    with pytest.raises(ContractError):
        activity(house, day(-1), dates=DateRange(D, D))

    found = notes(house, USER_DAILY_ACTIVITY)
    assert {on: row.changed for on, row in found.items()} == before
    assert not any(row.is_open for row in found.values())


def test_scores_from_before_there_was_a_ledger_stay_and_labels_are_open(lake: FolderLakehouse) -> None:
    scores = [(1, on, 0.2, False, NOON, 1) for on in (day(-1), D)]
    write(lake, CHURN_PREDICTIONS, scores, DATES)
    write(lake, CHURN_LABELS, [(1, day(-1), 0), (1, D, 1)], DATES)
    shutil.rmtree(lake.settings.lake_root / "main_catalog" / "ops")
    both = {day(-1): 1, D: 1}
    assert read_ledger(lake).untrusted == {CHURN_LABELS: both, CHURN_PREDICTIONS: both}

    write(lake, CHURN_PREDICTIONS, scores[1:], DateRange(D, D))
    write(lake, CHURN_LABELS, [(1, D, 1)], DateRange(D, D))

    assert [row.is_open for _, row in sorted(notes(lake, CHURN_PREDICTIONS).items())] == [False, False]
    assert [(row.is_open, row.rows) for _, row in sorted(notes(lake, CHURN_LABELS).items())] == [
        (True, 1),
        (False, 1),
    ]


def test_of_writers_at_once_each_note_has_a_number_of_its_own(make_settings: MakeSettings) -> None:
    def note(name: str) -> None:
        # Each with a look of its own at the ledger, as other processes have.
        ledger = FolderLakehouse(make_settings(), lambda: pytest.fail("no engine")).ledger
        for number in range(10):
            ledger.append([Row(name, day(number))])

    writers = [threading.Thread(target=note, args=(name,)) for name in "abc"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()

    rows = FolderLakehouse(make_settings(), lambda: pytest.fail("no engine")).ledger.read().all_rows()
    assert sorted(row.noted for row in rows) == list(range(1, 31))
    assert all(row.changed == row.noted for row in rows)


def test_a_commit_of_another_between_look_and_note_takes_no_number_twice(
    lake: FolderLakehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = lake.ledger
    # Another machine has another lock.
    other = folder_store.FolderStore(lake.location(folder_store.COMPUTED_DATES), lambda: lake.lock(USERS))
    mine.append([Row("a", D)])
    written = folder_store.FolderStore._write_file

    def late(store: folder_store.FolderStore, rows: pa.Table) -> AddAction:
        monkeypatch.setattr(folder_store.FolderStore, "_write_file", written)
        other.append([Row("b", D)])
        return written(store, rows)

    monkeypatch.setattr(folder_store.FolderStore, "_write_file", late)
    mine.append([Row("c", D)])

    assert {row.table_name: row.noted for row in mine.read().all_rows()} == {"a": 1, "b": 2, "c": 3}


def test_the_ledger_stays_small(lake: FolderLakehouse) -> None:
    for number in range(100):
        lake.ledger.append([Row("a", D, rows=number), Row("a", day(number + 1))])

    found = DeltaTable(lake.location(folder_store.COMPUTED_DATES))
    assert len(found.file_uris()) <= folder_store.MANY_FILES
    known = lake.ledger.read()
    assert known.last_note == 100
    assert [row.rows for row in known.all_rows() if row.computed_date == D] == [99]
    # The other dates, and those rows that have been noted since the last time that all were put together.
    assert found.to_pyarrow_table().num_rows <= 101 + 2 * folder_store.MANY_FILES
