"""``churn import --treatments`` on a lake that knows three users."""

import pyarrow as pa
import pyarrow.parquet as papq
import pytest

from churn_assets.erasure.people import People
from churn_assets.errors import ImportFileError
from churn_assets.sample.treatment_import import TreatmentMapping, import_treatments
from churn_assets.tables import QUARANTINED_TREATMENTS, TREATMENTS, USERS
from churn_assets_tests.rows import NOON, D, frame, rows_of, utc

KNOWN = [(1, D, D, None, None), (2, D, D, None, None), (7, D, D, None, "ann@example.org")]
GOOD = "user_id,treated_at,channel,cost\n1,2026-02-27,email,0.10\n2,2026-02-28 08:00:00,phone,\n"


@pytest.fixture
def importing(lake, spark, tmp_path):
    """Imports a file with this content and name, by this mapping."""
    lake.write(USERS, frame(spark, USERS, KNOWN))

    def imported(content, name="a.csv", **mapping):
        path = tmp_path / name
        if isinstance(content, pa.Table):
            papq.write_table(content, path)
        else:
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        options = {key: mapping.pop(key) for key in ("dry_run", "now") if key in mapping}
        return import_treatments(lake, [path], TreatmentMapping(**mapping), **{"now": NOON, **options})

    return imported


def known(lake):
    return rows_of(lake.read(TREATMENTS), "user_id", "treated_at", "channel")


EMAIL, PHONE = (1, utc(2026, 2, 27), "email"), (2, utc(2026, 2, 28, 8), "phone")


def test_each_row_becomes_a_treatment_and_the_same_file_twice_adds_nothing(importing, lake) -> None:
    first, second = importing(GOOD), importing(GOOD)

    assert (first.rows, first.new, first.known, first.quarantined.total()) == (2, 2, 0, 0)
    assert (second.rows, second.new, second.known, second.quarantined.total()) == (2, 0, 2, 0)
    assert known(lake) == [EMAIL, PHONE]


def test_an_export_that_overlaps_adds_what_is_new(importing, lake) -> None:
    importing(GOOD)
    report = importing(f"{GOOD}7,2026-02-28,email,1\n", "b.csv")

    assert (report.new, report.known) == (1, 2)
    assert rows_of(lake.read(TREATMENTS), "user_id", "_source_file") == [
        (1, "a.csv"),
        (2, "a.csv"),
        (7, "b.csv"),
    ]


def test_bad_rows_are_kept_with_their_reason_and_once(importing, lake) -> None:
    content = GOOD + "9,2026-02-28,email,\n1,soon,email,\n1,2026-02-27,email,\n"

    reports = [importing(content) for _ in range(2)]

    assert dict(reports[0].quarantined) == {"unknown_user": 1, "bad_treated_at": 1, "duplicate": 1}
    assert reports[0].quarantined == reports[1].quarantined
    assert rows_of(lake.read(QUARANTINED_TREATMENTS), "row_number", "reason", "_raw")[:2] == [
        (3, "unknown_user", '{"user_id":"9","treated_at":"2026-02-28","channel":"email","cost":null}'),
        (4, "bad_treated_at", '{"user_id":"1","treated_at":"soon","channel":"email","cost":null}'),
    ]
    assert lake.read(QUARANTINED_TREATMENTS).count() == 3


def test_a_bad_row_is_kept_by_our_names_so_that_an_erasure_finds_its_user(importing, lake) -> None:
    importing("Kunde;am\nnobody@example.org;2026-02-27\n", user_id="kunde", treated_at="am", channel="=phone")

    kept = lake.read(QUARANTINED_TREATMENTS).select("_raw").toArrow()
    person = People(frozenset(), frozenset({"nobody@example.org"}))
    assert kept["_raw"].to_pylist() == ['{"user_id":"nobody@example.org","treated_at":"2026-02-27"}']
    assert person.of_rows(QUARANTINED_TREATMENTS, kept).tolist() == [True]


def test_columns_may_have_other_names_and_a_channel_hold_for_all_rows(importing, lake) -> None:
    report = importing(
        "Kunde;am\nann@example.org;2026-02-27\n", user_id="kunde", treated_at="am", channel="=Phone"
    )

    assert report.new == 1
    assert known(lake) == [(7, utc(2026, 2, 27), "phone")]
    assert report.notes == ["a.csv: semicolon between fields"]


def test_semicolons_are_found_where_all_columns_have_their_usual_names(importing, lake) -> None:
    importing("source_user_id;channel;treated_at\nann@example.org;phone;2026-02-28\n")

    assert known(lake) == [(7, utc(2026, 2, 28), "phone")]


def test_json_lines_and_parquet_are_read_as_csv_is(importing, lake) -> None:
    importing('{"user_id": 1, "treated_at": "2026-02-27", "channel": "email"}\n', "a.json")
    table = pa.table(
        {
            "user_id": pa.array([2], pa.int64()),
            "treated_at": pa.array([utc(2026, 2, 28, 8)], pa.timestamp("us", "UTC")),
            "channel": ["phone"],
            "cost": pa.array([0.5]),
        }
    )
    importing(table, "a.parquet")

    assert known(lake) == [EMAIL, PHONE]
    assert [str(row[0]) for row in rows_of(lake.read(TREATMENTS), "cost")] == ["None", "0.50"]


def test_a_time_with_a_zone_is_brought_to_utc(importing, lake) -> None:
    berlin = pa.array([utc(2026, 2, 28, 8)], pa.timestamp("us", "UTC")).cast(
        pa.timestamp("us", "Europe/Berlin")
    )
    importing(pa.table({"user_id": [2], "treated_at": berlin, "channel": ["phone"]}), "a.parquet")

    assert known(lake) == [PHONE]


def test_a_dry_run_counts_and_writes_nothing(importing, lake) -> None:
    report = importing(GOOD + "9,2026-02-28,email,\n", dry_run=True)

    assert (report.new, report.quarantined.total()) == (2, 1)
    assert lake.version(TREATMENTS) == -1
    assert lake.version(QUARANTINED_TREATMENTS) == -1


def test_a_file_without_rows_is_none_read(importing) -> None:
    assert importing("user_id,treated_at,channel\n").rows == 0


@pytest.mark.parametrize(
    ("content", "mapping", "says"),
    [
        ("who,treated_at,channel\n", {}, "says nowhere who was contacted: it has who, treated_at, channel"),
        ("user_id,at,channel\n", {}, "says nowhere when users were contacted"),
        ("user_id,treated_at\n", {}, "Name the column: --channel COLUMN, or =VALUE for all rows"),
        ("user_id,treated_at,channel\n", {"cost": "price"}, "has no column 'price' (--cost)"),
    ],
)
def test_what_is_said_nowhere_is_asked_for_in_one_line(importing, lake, content, mapping, says) -> None:
    with pytest.raises(ImportFileError) as raised:
        importing(content, **mapping)

    assert says in str(raised.value)
    assert "\n" not in str(raised.value)
    assert lake.version(TREATMENTS) == -1


def test_before_there_are_users_nobody_can_have_been_contacted(lake, tmp_path) -> None:
    (tmp_path / "a.csv").write_text(GOOD)

    with pytest.raises(ImportFileError, match="has no users yet"):
        import_treatments(lake, [tmp_path / "a.csv"], TreatmentMapping())
