"""What the page reads of its store: filters, rows, users, and what happens when it is replaced or damaged."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from churn_assets.dates import ONE_DAY
from churn_assets.errors import EndpointError
from churn_assets.serving.page.store import FILE, Filter, PageStore, Snapshot, opened
from churn_assets.serving.versions import current_version
from churn_assets_tests.serving.page.stores import (
    CONTACTS,
    CONTROL_USER,
    DATE,
    DATES,
    EVIL,
    EVIL_COUNTRY,
    UNLISTED_USER,
    publish,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    publish(folder)
    return folder


@pytest.fixture
def snapshot(folder: Path) -> Snapshot:
    found = opened(folder)
    assert found is not None
    return found


def ranks(snapshot: Snapshot, **wanted: object) -> list[int]:
    return snapshot.find(Filter(**wanted)).ranks.tolist()  # type: ignore[arg-type]  # of the test's own


def test_without_a_filter_all_contacts_are_there_and_nobody_of_the_control_group(snapshot: Snapshot) -> None:
    found = snapshot.find(Filter())

    assert found.ranks.tolist() == list(range(1, CONTACTS + 1))
    assert found.expected_gain == 2.0 * CONTACTS
    assert found.expected_churners == pytest.approx(20 * 0.9 + 100 * 0.5)


def test_filters_leave_who_passes_all_of_them(snapshot: Snapshot) -> None:
    assert ranks(snapshot, band="high") == list(range(1, 21))
    assert ranks(snapshot, country="FR") == list(range(4, CONTACTS + 1, 4))
    assert ranks(snapshot, country="") == [3]
    assert ranks(snapshot, country="XX") == []
    assert ranks(snapshot, least_value=998.0) == [1, 2]
    assert ranks(snapshot, is_new=True) == list(range(10, CONTACTS + 1, 10))
    assert ranks(snapshot, band="high", country="FR", is_new=True, least_value=980.0) == [20]


def test_rows_have_the_lists_columns_reasons_in_words_and_the_country(snapshot: Snapshot) -> None:
    [first, other] = snapshot.rows([1, 4])

    assert (first["user_id"], first["source_user_id"], first["reason_1"], first["reason_2"]) == (
        1,
        EVIL,
        EVIL,
        None,
    )
    assert (other["country"], other["reason_1"], other["feature_date"]) == ("FR", "Quiet for 22 days", DATE)
    assert [row["rank"] for row in snapshot.rows([5, 6, 7])] == [5, 6, 7]
    assert snapshot.rows([]) == []


def test_countries_are_counted_over_all_contacts_most_first(snapshot: Snapshot) -> None:
    counts = snapshot.country_counts()

    assert counts[:2] == [("DE", 88), ("FR", 30)]
    assert sorted(counts[2:], key=str) == sorted([(None, 1), (EVIL_COUNTRY, 1)], key=str)


def test_a_user_is_found_by_either_id_with_history_and_reasons(snapshot: Snapshot) -> None:
    by_id, by_source = snapshot.user("1"), snapshot.user(EVIL)

    assert by_id == by_source
    assert by_id is not None
    assert by_id.probabilities == ((DATES[0], 0.1234), (DATES[1], 0.5))
    assert by_id.events == ((DATE - 2 * ONE_DAY, 0), (DATE - ONE_DAY, 4), (DATE, 7))
    assert by_id.reasons == (("Quiet for 22 days", True), ("136 active days so far", False))
    assert by_id.listed is not None
    assert by_id.listed["rank"] == 1


def test_who_is_on_no_list_has_a_history_and_who_has_no_prediction_is_unknown(snapshot: Snapshot) -> None:
    unlisted, control = snapshot.user(str(UNLISTED_USER)), snapshot.user(str(CONTROL_USER))

    assert unlisted is not None
    assert unlisted.listed is None
    # There was no prediction a week before.
    assert unlisted.probabilities == ((DATE, 0.5),)
    assert control is not None
    assert control.listed is not None
    assert control.listed["assigned_group"] == "control"
    for given in ("7777", "", "nobody", "9" * 50, "9" * 19, "' OR 1=1 --", "²"):
        assert snapshot.user(given) is None


def test_a_reader_sees_the_next_version_and_keeps_the_one_it_has_open(tmp_path: Path) -> None:
    store = PageStore(tmp_path)
    assert store.snapshot() is None

    publish(tmp_path, "v1")
    first = store.snapshot()
    assert first is not None
    assert store.snapshot() is first

    for version in ("v2", "v3", "v4"):
        publish(tmp_path, version, contacts=7)
    second = store.snapshot()
    assert second is not None
    assert len(second.find(Filter()).ranks) == 7
    # The versions before the last are gone from the disk.
    assert sorted(path.name for path in tmp_path.glob("*-v*")) == [f"{DATE}-v3", f"{DATE}-v4"]


def test_what_a_release_without_uplift_published_is_read_as_ranked_by_risk(tmp_path: Path) -> None:
    publish(tmp_path)
    file = tmp_path / current_version(tmp_path) / FILE
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("ALTER TABLE listed DROP COLUMN uplift")
        [(about,)] = connection.execute("SELECT value FROM about WHERE name = 'about'")
        older = json.loads(about)
        assert older["overview"][-1].pop() == ""
        connection.execute("UPDATE about SET value = ? WHERE name = 'about'", (json.dumps(older).encode(),))

    found = opened(tmp_path)

    assert found is not None
    assert found.about.overview.outcomes.ranking == ""
    assert [row["uplift"] for row in found.rows([1, 2])] == [None, None]


def test_a_list_that_names_nobody_is_a_list(tmp_path: Path) -> None:
    publish(tmp_path, contacts=0)

    snapshot = opened(tmp_path)
    assert snapshot is not None
    assert snapshot.find(Filter()).ranks.tolist() == []
    assert snapshot.find(Filter(country="DE", band="high")).ranks.tolist() == []
    assert snapshot.country_counts() == []


@pytest.mark.parametrize("damage", ["missing", "empty", "text", "half"])
def test_a_damaged_file_is_one_line_that_says_what_to_do(tmp_path: Path, damage: str) -> None:
    publish(tmp_path)
    file = tmp_path / current_version(tmp_path) / FILE
    content = file.read_bytes()
    file.unlink()
    if damage != "missing":
        file.write_bytes({"empty": b"", "text": b"no database" * 1000, "half": content[:3000]}[damage])

    with pytest.raises(EndpointError, match="churn repair page"):
        opened(tmp_path)


def test_what_is_wrong_inside_is_found_by_looking_at_all_of_it(tmp_path: Path) -> None:
    publish(tmp_path)
    file = tmp_path / current_version(tmp_path) / FILE
    sound = opened(tmp_path)
    assert sound is not None
    assert sound.damage() is None
    sound.close()

    content = bytearray(file.read_bytes())
    # The pages after those of the first tables.
    content[-8192:] = b"\xff" * 8192
    file.write_bytes(bytes(content))

    damaged = opened(tmp_path)
    assert damaged is not None
    assert damaged.damage() is not None
