"""Lists of several dates, in runs as Dagster makes them: the pause between them, and what stays as it is."""

import random
from collections.abc import Iterable
from typing import Any

import dagster as dg
import pytest
from pyspark.sql import SparkSession

from churn_assets.asset_keys import asset_key
from churn_assets.assets.checks.retention import PAUSE, RANKS, SHARE, retention_checks
from churn_assets.assets.retention import retention_assets
from churn_assets.dates import DateRange
from churn_assets.lakehouse.folder_lake import FolderLakehouse
from churn_assets.lakehouse.io_manager import LakeIOManager
from churn_assets.retention.summary import list_metadata
from churn_assets.settings import Settings
from churn_assets.tables import (
    CHURN_LABELS,
    CHURN_PREDICTIONS,
    CHURN_REASONS,
    DELIVERIES,
    RETENTION_LIST,
    TREATMENT_OUTCOMES,
    USER_DAILY_ACTIVITY,
    USER_FEATURES,
    USERS,
)
from churn_assets_tests.conftest import MakeSettings
from churn_assets_tests.rows import NOON, D, day, frame, rows_of

DATES = DateRange(day(-5), D)
PAUSE_DAYS = 3
# Of these users, 4 and 8 are the control group.
USER_IDS = range(1, 10)
WITHOUT_CONTROL: dict[str, Any] = {"control_share": 0.0}


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory, spark: SparkSession) -> FolderLakehouse:
    """Nine users on six dates: on each, the higher a user's number, the greater the risk."""
    settings = Settings(
        _env_file=None,  # type: ignore[call-arg]  # pydantic-settings takes it
        lake_root=tmp_path_factory.mktemp("lists"),
        start_date=DATES.start,
        end_date=DATES.end,
        contact_pause_days=PAUSE_DAYS,
        saved_value=64.0,
        save_rate=0.125,
    )
    lake = FolderLakehouse(settings, lambda: spark)
    lake.write(USERS, frame(spark, USERS, [(user, day(-50), D, "DE") for user in USER_IDS]))
    scored = [(user, on, user / 10, user >= 5, NOON, 1) for on in DATES.days() for user in USER_IDS]
    features = [(user, on, 1, 1, 0, 0, 0, 0) for on in DATES.days() for user in USER_IDS]
    lake.write(CHURN_PREDICTIONS, frame(spark, CHURN_PREDICTIONS, scored), DATES)
    lake.write(USER_FEATURES, frame(spark, USER_FEATURES, features), DATES)
    lake.write(CHURN_REASONS, frame(spark, CHURN_REASONS, []), DATES)
    return lake


@pytest.fixture(autouse=True)
def _without_lists(lake: FolderLakehouse, spark: SparkSession) -> None:
    for day_ in [one for one, rows in lake.partition_rows(RETENTION_LIST).items() if rows]:
        lake.write(RETENTION_LIST, frame(spark, RETENTION_LIST, []), DateRange(day_, day_))


def listing(lake: FolderLakehouse, dates: DateRange, **settings: Any) -> dg.ExecuteInProcessResult:
    """One run of the list and its checks over these dates, by these settings."""
    lake.settings = lake.settings.model_copy(update={**WITHOUT_CONTROL, "contact_budget": 2, **settings})
    upstream = (CHURN_PREDICTIONS, CHURN_REASONS, USER_FEATURES, USER_DAILY_ACTIVITY)
    definitions = dg.Definitions(
        assets=[*retention_assets(lake.settings), *(dg.AssetSpec(asset_key(one)) for one in upstream)],
        asset_checks=[retention_checks()],
        resources={
            "lakehouse": lake,
            "lake_io": LakeIOManager(lake, {RETENTION_LIST: list_metadata}),
            "pyspark": None,
            "pyspark_step_launcher": None,
        },
        executor=dg.in_process_executor,
    )
    tags = {
        "dagster/asset_partition_range_start": str(dates.start),
        "dagster/asset_partition_range_end": str(dates.end),
    }
    with dg.DagsterInstance.ephemeral() as instance:
        job = definitions.resolve_implicit_global_asset_job_def()
        return job.execute_in_process(
            instance=instance, asset_selection=[asset_key(RETENTION_LIST)], tags=tags
        )


def listed(lake: FolderLakehouse) -> dict[int, list[int]]:
    """The users of each list by rank, by the date's distance from D."""
    found: dict[int, list[int]] = {}
    for on, _, user in rows_of(lake.read(RETENTION_LIST), "feature_date", "rank", "user_id"):
        found.setdefault((on - D).days, []).append(user)
    return found


def verdicts(result: dg.ExecuteInProcessResult) -> dict[str, bool]:
    return {one.check_name: one.passed for one in result.get_asset_check_evaluations()}


def test_a_range_is_made_in_order_and_nobody_comes_again_before_the_pause_is_over(
    lake: FolderLakehouse,
) -> None:
    result = listing(lake, DATES)

    # Two a day, those at greatest risk who are not in the two lists before.
    assert listed(lake) == {-5: [9, 8], -4: [7, 6], -3: [5, 4], -2: [9, 8], -1: [7, 6], 0: [5, 4]}
    assert verdicts(result) == {RANKS: True, PAUSE: True, SHARE: True}


def test_day_by_day_makes_the_lists_of_a_range(lake: FolderLakehouse) -> None:
    for on in DATES.days():
        listing(lake, DateRange(on, on))

    assert listed(lake) == {-5: [9, 8], -4: [7, 6], -3: [5, 4], -2: [9, 8], -1: [7, 6], 0: [5, 4]}


def test_an_old_list_that_is_made_again_is_the_same_and_one_made_late_names_nobody_of_later_ones(
    lake: FolderLakehouse,
) -> None:
    listing(lake, DateRange(day(-2), day(-2)))
    listing(lake, DateRange(day(-1), day(-1)))
    before = listed(lake)

    listing(lake, DateRange(day(-2), day(-2)))
    assert listed(lake) == before == {-2: [9, 8], -1: [7, 6]}

    listing(lake, DateRange(day(-3), day(-3)))
    assert listed(lake) == {**before, -3: [5, 4]}


def test_a_list_that_somebody_has_stays_whatever_is_computed_again(
    lake: FolderLakehouse, spark: SparkSession
) -> None:
    listing(lake, DateRange(D, D))
    sent = (1, D, "folder", "sending", 2, "0" * 64, NOON)
    lake.write(DELIVERIES, frame(spark, DELIVERIES, [sent]))

    result = listing(lake, DateRange(day(-1), D), contact_budget=4)

    # The new list of the day before keeps away from those of the list that stays.
    assert listed(lake) == {-1: [7, 6, 5, 4], 0: [9, 8]}
    made = result.asset_materializations_for_node(asset_key(RETENTION_LIST).to_python_identifier())
    assert made[0].metadata["kept_as_handed_over"].value == str(D)


def test_the_lists_say_what_they_come_to(lake: FolderLakehouse) -> None:
    result = listing(lake, DateRange(day(-4), day(-4)), contact_budget=3, control_share=0.3, control_seed="a")

    metadata = result.asset_materializations_for_node(asset_key(RETENTION_LIST).to_python_identifier())[
        -1
    ].metadata
    said = {name: metadata[name].value for name in ("contacts", "control", "expected_gain", "contacts_high")}
    # Users 9, 6 and 5; 8 and 7 are control. Each gains 8 times the risk, less 1.
    assert said == {"contacts": 3, "control": 2, "expected_gain": 13.0, "contacts_high": 2}
    assert metadata["budget"].value == 3
    assert metadata["save_rate_says"].value == "save rate 0.125 assumed (CHURN_SAVE_RATE)"
    assert metadata["ranking"].value == "ranked by risk x value"
    assert "| 9 |" in str(metadata["preview"].value)


@pytest.mark.parametrize(
    ("broken", "check"),
    [([(1, 9, 3.0), (3, 8, 2.0)], RANKS), ([(1, 8, 2.0), (2, 9, 3.0)], RANKS)],
    ids=["a gap", "the wrong order"],
)
def test_ranks_with_a_gap_or_against_the_gain_fail_their_check(
    lake: FolderLakehouse, spark: SparkSession, broken: list[tuple], check: str
) -> None:
    write_list(lake, spark, broken, D)

    assert failing(lake) == {check}


def test_somebody_listed_twice_and_control_users_beyond_chance_are_warned_of(
    lake: FolderLakehouse, spark: SparkSession
) -> None:
    users = [(rank, rank, 50.0 - rank) for rank in range(1, 41)]
    write_list(lake, spark, users, day(-2))
    write_list(lake, spark, [*users[:30]], D, group="control")

    assert failing(lake) == {PAUSE, SHARE}


def write_list(
    lake: FolderLakehouse, spark: SparkSession, users: Iterable[tuple], on: Any, group: str = "contact"
) -> None:
    """Users with rank and gain, written by hand."""
    rows = [
        (user, on, None, rank, group, 0.5, None, "medium", 64.0, gain, 0.125, None, None, None, 1)
        for rank, user, gain in users
    ]
    lake.write(RETENTION_LIST, frame(spark, RETENTION_LIST, rows), DateRange(on, on))


def failing(lake: FolderLakehouse) -> set[str]:
    """The checks of the last list that fail, executed alone."""
    lake.settings = lake.settings.model_copy(update={"control_share": 0.1})
    definitions = dg.Definitions(
        assets=[dg.AssetSpec(asset_key(RETENTION_LIST))],
        asset_checks=[retention_checks()],
        resources={"lakehouse": lake, "lake_io": None, "pyspark": None, "pyspark_step_launcher": None},
    )
    with dg.DagsterInstance.ephemeral() as instance:
        result = definitions.resolve_implicit_global_asset_job_def().execute_in_process(instance=instance)
    return {name for name, passed in verdicts(result).items() if not passed}


def test_whatever_the_risks_budget_and_pause_hold_and_a_user_stays_in_one_group(
    make_settings: MakeSettings, spark: SparkSession
) -> None:
    chance = random.Random(19)
    lake = FolderLakehouse(
        make_settings(
            start_date=DATES.start, end_date=DATES.end, contact_pause_days=PAUSE_DAYS, control_seed="p"
        ),
        lambda: spark,
    )
    users = range(1, 61)
    scored = [(user, on, chance.random(), False, NOON, 1) for on in DATES.days() for user in users]
    scored = [(user, on, p, p >= 0.5, at, version) for user, on, p, _, at, version in scored]
    features = [(user, on, 1, 1, 0, 0, 0, 0) for on in DATES.days() for user in users]
    lake.write(USERS, frame(spark, USERS, [(user, day(-50), D, "DE") for user in users]))
    lake.write(CHURN_PREDICTIONS, frame(spark, CHURN_PREDICTIONS, scored), DATES)
    lake.write(USER_FEATURES, frame(spark, USER_FEATURES, features), DATES)
    lake.write(CHURN_REASONS, frame(spark, CHURN_REASONS, []), DATES)

    budget = 7
    assert all(verdicts(listing(lake, DATES, contact_budget=budget, control_share=0.3)).values())

    found = rows_of(lake.read(RETENTION_LIST), "user_id", "feature_date", "assigned_group", "rank")
    groups: dict[int, set[str]] = {}
    contacts = dict.fromkeys(DATES.days(), 0)
    last: dict[int, Any] = {}
    for user, on, group, _ in found:
        groups.setdefault(user, set()).add(group)
        contacts[on] += group == "contact"
        assert user not in last or (on - last[user]).days >= PAUSE_DAYS
        last[user] = on
    assert max(contacts.values()) == budget
    assert all(len(of_user) == 1 for of_user in groups.values())
    control = sum(of_user == {"control"} for of_user in groups.values())
    assert 0.1 < control / len(groups) < 0.5


def test_where_uplift_earns_more_the_list_is_ranked_by_what_earlier_lists_taught(
    make_settings: MakeSettings, spark: SparkSession
) -> None:
    before = day(-60)
    lake = FolderLakehouse(
        make_settings(start_date=before, end_date=D, saved_value=64.0, save_rate=0.125), lambda: spark
    )
    # Of users with one event contact saves all who would churn, of those with nine nobody; a half would.
    told = range(100, 900)
    events = {user: 1 if user % 2 else 9 for user in told}
    control = {user for user in told if user % 8 < 4}
    churners = {user for user in told if user % 16 < 8 and (user in control or events[user] == 9)}
    old = [
        (user, before, None, user, "control" if user in control else "contact", 0.5, None, "medium", 64.0,
         3.0, 0.125, None, None, None, 1)
        for user in told
    ]  # fmt: skip
    lake.write(RETENTION_LIST, frame(spark, RETENTION_LIST, old), DateRange(before, before))
    labels = [(user, before, int(user in churners)) for user in told]
    lake.write(CHURN_LABELS, frame(spark, CHURN_LABELS, labels), DateRange(before, before))
    features = [(user, before, of, 1, 0, 0, 9, 0) for user, of in events.items()]
    features += [(user, D, of, 1, 0, 0, 9, 0) for user, of in ((1, 9), (2, 1))]
    for on in (before, D):
        rows = [row for row in features if row[1] == on]
        lake.write(USER_FEATURES, frame(spark, USER_FEATURES, rows), DateRange(on, on))
    scored = [(user, D, p, True, NOON, 1) for user, p in ((1, 0.9), (2, 0.6))]
    lake.write(CHURN_PREDICTIONS, frame(spark, CHURN_PREDICTIONS, scored), DateRange(D, D))
    lake.write(CHURN_REASONS, frame(spark, CHURN_REASONS, []), DateRange(D, D))
    lake.write(USERS, frame(spark, USERS, [(user, before, D, "DE") for user in (1, 2)]))
    known = dict.fromkeys(TREATMENT_OUTCOMES.column_names) | {
        "dimension": "all", "segment": "all", "first_feature_date": before, "last_feature_date": before,
        "contact_users": 400, "contact_churners": 100, "contacted_users": 400, "contacted_churners": 100,
        "control_users": 400, "control_churners": 200, "contacted_control_users": 0, "reached": 1.0,
        "save_rate": 0.5, "save_rate_low": 0.4, "save_rate_high": 0.6,
        "uplift_gain": 2.0, "uplift_gain_low": 1.0, "uplift_gain_high": 3.0,
    }  # fmt: skip
    outcomes = [tuple(known[name] for name in TREATMENT_OUTCOMES.column_names)]
    lake.write(TREATMENT_OUTCOMES, frame(spark, TREATMENT_OUTCOMES, outcomes))

    result = listing(lake, DateRange(D, D))

    found = rows_of(lake.read(RETENTION_LIST, DateRange(D, D)), "rank", "user_id", "churn_probability")
    # By risk user 1 would be first.
    assert found == [(1, 2, 0.6), (2, 1, 0.9)]
    uplift = dict(rows_of(lake.read(RETENTION_LIST, DateRange(D, D)), "user_id", "uplift"))
    assert uplift[2] > uplift[1] > 0
    made = result.asset_materializations_for_node(asset_key(RETENTION_LIST).to_python_identifier())
    assert str(made[0].metadata["ranking"].value).startswith("ranked by uplift x value, which earns +2.00")
    assert verdicts(result)[RANKS]

    listing(lake, DateRange(D, D), save_rate_source="assumed")
    pinned = rows_of(lake.read(RETENTION_LIST, DateRange(D, D)), "rank", "user_id", "uplift")
    assert pinned == [(1, 1, None), (2, 2, None)]
