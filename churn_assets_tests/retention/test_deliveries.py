"""Which lists are handed over to whom, each once; and what a run that died in between leaves to do."""

import datetime as dt
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from churn_assets.lakehouse.folder_lake import FolderLakehouse
from churn_assets.retention.deliveries import Row, attempted_dates, attempts, due, records, undelivered
from churn_assets.retention.lists import computed_dates
from churn_assets.settings import Settings
from churn_assets.tables import DELIVERIES
from churn_assets_tests.automation.receivers import webhook
from churn_assets_tests.rows import D, day, frame, utc


@pytest.fixture
def delivering(lake: FolderLakehouse, tmp_path: Path) -> FolderLakehouse:
    """The lake, with a folder that gets lists."""
    return with_settings(lake, delivery_folder=str(tmp_path / "lists"))


def with_settings(lake: FolderLakehouse, **settings: str) -> FolderLakehouse:
    lake.settings = lake.settings.model_copy(
        update={"delivery_webhook": None, "delivery_folder": "", "delivery_secret": "s", **settings}
    )
    return lake


def row(on: dt.date, status: str, target: str = "folder") -> Row:
    return {"delivery": 1, "feature_date": on, "target": target, "status": status, "reason": None}


def dates_due(lake: FolderLakehouse, *rows: Row) -> list[tuple[dt.date, str]]:
    return [(on, target.name) for on, target in due(lake, list(rows))]


def test_a_list_that_names_nobody_is_a_list(lake: FolderLakehouse) -> None:
    assert computed_dates(lake) == [day(-4), day(-1), D]


def test_without_a_target_nothing_is_due(lake: FolderLakehouse) -> None:
    assert dates_due(with_settings(lake)) == []


def test_a_new_target_begins_with_the_newest_list(delivering: FolderLakehouse) -> None:
    assert dates_due(delivering) == [(D, "folder")]


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        ([(day(-4), "delivered")], [day(-1), D]),
        ([(day(-1), "delivered"), (D, "delivered")], []),
        ([(day(-1), "failed"), (D, "delivered")], [day(-1)]),
        # It died, and nobody knows whether the list was taken.
        ([(day(-1), "delivered"), (D, "sending")], [D]),
        ([(D, "sending"), (D, "delivered")], []),
        # Taken once, and written down again by a run that died over a repeat.
        ([(D, "delivered"), (D, "sending")], []),
        # The list of four days before was made later: it is history.
        ([(day(-1), "delivered")], [D]),
    ],
)
def test_a_target_gets_every_list_once_from_its_first_one_on(
    delivering: FolderLakehouse, known: list[tuple[dt.date, str]], expected: list[dt.date]
) -> None:
    assert dates_due(delivering, *(row(*one) for one in known)) == [(on, "folder") for on in expected]


def test_each_target_has_its_own_record(lake: FolderLakehouse, tmp_path: Path) -> None:
    both = with_settings(lake, delivery_folder=str(tmp_path), delivery_webhook="http://127.0.0.1:9/x")

    assert dates_due(both, row(D, "delivered")) == [(D, "webhook")]


def test_what_is_not_taken_is_said_stops_no_other_and_is_sent_again_unchanged(
    lake: FolderLakehouse, spark: SparkSession, tmp_path: Path
) -> None:
    noon = utc(2026, 3, 11, 12)

    def note(rows: list[dict[str, Any]]) -> None:
        values = [tuple(one[name] for name in DELIVERIES.column_names) for one in rows]
        lake.write(DELIVERIES, frame(spark, DELIVERIES, values))

    with webhook(500, 500) as hook:
        with_settings(lake, delivery_webhook=hook.url, delivery_folder=str(tmp_path / "lists"))
        note(attempts(lake, note, lambda: noon)[-1:])

        assert [(one["delivery"], one["target"], one["status"], one["rows"]) for one in records(lake)] == [
            (1, "webhook", "sending", 2),
            (2, "folder", "sending", 2),
            (3, "webhook", "failed", 2),
            (4, "folder", "delivered", 2),
        ]
        (line,) = undelivered(lake)
        assert line == (
            f"The list of {D} is not with the webhook: the webhook answered 500; check "
            "CHURN_DELIVERY_WEBHOOK. Sent again by: churn run"
        )
        assert attempted_dates(lake) == {D}

        note(attempts(lake, note, lambda: noon)[-1:])

        last = records(lake)[-1]
        assert (last["delivery"], last["target"], last["status"]) == (6, "webhook", "delivered")
        assert last["digest"] == hook.posted[0]["digest"] == records(lake)[0]["digest"]
        # The control group is nobody's to contact.
        assert [one["user_id"] for one in hook.posted[0]["contacts"]] == [7, 9]
        assert undelivered(lake) == attempts(lake, note) == []
        assert len(records(lake)) == 6


def test_settings_say_what_they_lack(tmp_path: Path) -> None:
    from churn_assets import settings as settings_module
    from churn_assets.errors import SettingsError

    def refused(**given: Any) -> str:
        with pytest.raises(SettingsError) as error:
            settings_module.load(_env_file=None, lake_root=tmp_path, **given)
        return str(error.value)

    url = "https://example.com/very-secret"
    assert "without CHURN_DELIVERY_SECRET" in refused(delivery_webhook=url)
    wrong = refused(delivery_webhook="ftp://very-secret", delivery_secret="s")
    assert "should be a URL that starts with https://" in wrong
    assert "very-secret" not in wrong
    assert "local and spark" in refused(deployment="databricks", delivery_folder="lists")
    kept = Settings(_env_file=None, lake_root=tmp_path, delivery_webhook=url, delivery_secret="hush")  # type: ignore[call-arg]  # as above
    assert "very-secret" not in repr(kept)
    assert "hush" not in repr(kept) + str(kept.as_env())
