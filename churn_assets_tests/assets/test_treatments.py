"""The outcomes of treatments, as Dagster computes them, and what an import leaves in its history."""

import datetime as dt
from typing import Any

import dagster as dg
import pytest

from churn_assets.asset_keys import asset_key
from churn_assets.assets.treatments import READ_VERSIONS, treatment_assets, versions_read
from churn_assets.automation.history.imported_treatments import note_import
from churn_assets.automation.history.log_reader import latest_metadata
from churn_assets.dates import DateRange
from churn_assets.lakehouse.io_manager import LakeIOManager
from churn_assets.sample.treatment_import import TreatmentReport
from churn_assets.tables import (
    CHURN_LABELS,
    QUARANTINED_TREATMENTS,
    RETENTION_LIST,
    TREATMENT_OUTCOMES,
    TREATMENTS,
    USER_FEATURES,
)
from churn_assets_tests.rows import NOON, D, frame, rows_of

CONTACTED_AT = dt.datetime.combine(D, dt.time(12), dt.UTC) + dt.timedelta(days=2)


def materialize(lake, instance) -> dict[str, Any]:
    """The metadata of the materialisation."""
    outcomes = treatment_assets(lake.settings)
    sources = [dg.AssetSpec(asset_key(table)) for table in (RETENTION_LIST, CHURN_LABELS, USER_FEATURES)]
    resources = {"lakehouse": lake, "lake_io": LakeIOManager(lake)}
    dg.materialize(
        [*outcomes, *sources],
        instance=instance,
        selection=[asset_key(TREATMENT_OUTCOMES)],
        resources={**resources, "pyspark": None, "pyspark_step_launcher": None},
    )
    return noted(instance, TREATMENT_OUTCOMES)


def noted(instance, table) -> dict[str, Any]:
    """The metadata of the table's last materialisation."""
    return {name: value.value for name, value in latest_metadata(instance, asset_key(table)).items()}


def listing(user, group, band="high"):
    named = {
        "user_id": user,
        "feature_date": D,
        "source_user_id": None,
        "rank": user + 1,
        "assigned_group": group,
        "churn_probability": 0.5,
        "risk_band": band,
        "value": 50.0,
        "expected_gain": 1.5,
        "save_rate": 0.1,
        "model_version": 1,
    }
    return tuple(named.get(name) for name in RETENTION_LIST.column_names)


@pytest.fixture
def known(lake, spark):
    """400 users to be contacted, of whom 160 churn, and 200 in control, of whom 100 do.

    One of control was contacted as well, and one who is on no list.
    """
    contact, control = range(400), range(400, 600)
    rows = [*(listing(user, "contact") for user in contact), *(listing(user, "control") for user in control)]
    churners = {*range(160), *range(400, 500)}
    labels = [(user, D, int(user in churners)) for user in range(600)]
    treated = [(user, CONTACTED_AT, "email", None, "a.csv", NOON) for user in (*contact, 599, 777)]
    day = DateRange(D, D)
    lake.write(RETENTION_LIST, frame(spark, RETENTION_LIST, rows), day)
    lake.write(CHURN_LABELS, frame(spark, CHURN_LABELS, labels), day)
    lake.write(TREATMENTS, frame(spark, TREATMENTS, treated))
    features = [(user, D, 1, 1, 0, 0, 0, 0) for user in range(600)]
    lake.write(USER_FEATURES, frame(spark, USER_FEATURES, features), day)
    return lake


def test_outcomes_are_measured_overall_and_by_band_channel_and_month(known, instance) -> None:
    metadata = materialize(known, instance)

    rows = rows_of(
        known.read(TREATMENT_OUTCOMES),
        "dimension",
        "segment",
        "contact_users",
        "contact_churners",
        "contacted_users",
        "control_users",
        "control_churners",
        "contacted_control_users",
    )
    numbers = (400, 160, 400, 200, 100, 1)
    assert rows == [
        ("all", "all", *numbers),
        ("channel", "email", *numbers),
        ("month", "2026-03", *numbers),
        ("risk_band", "high", *numbers),
    ]
    [of_all] = known.query("SELECT * FROM {o} WHERE dimension = 'all'", o=TREATMENT_OUTCOMES)
    # 40 % churn of the one, 50 % of the other; one of 200 in control was contacted, and stayed.
    assert of_all["assigned_save_rate"] == pytest.approx(0.2)
    assert of_all["save_rate"] == pytest.approx(1 - (0.4 - 0.0) / (0.5 - 0.0))
    assert of_all["save_rate_low"] < 0.2 < of_all["save_rate_high"]
    assert (of_all["treatments"], of_all["treatments_not_listed"]) == (402, 1)
    assert (of_all["first_feature_date"], of_all["last_feature_date"]) == (D, D)
    assert metadata["save_rate"].startswith("save rate 0.20 measured (")
    assert metadata[READ_VERSIONS] == versions_read(known)
    assert metadata["contacted_control_users"] == 1
    # What earlier users taught cannot be judged on later ones.
    assert of_all["uplift_gain"] is None
    assert of_all["uplift_reason"] == "all 600 users were first listed around 2026-03-10: none later"
    assert metadata["ranking"] == f"ranked by risk x value, as uplift is not known: {of_all['uplift_reason']}"


def test_without_lists_and_treatments_there_is_no_outcome(lake, instance) -> None:
    metadata = materialize(lake, instance)

    assert lake.read(TREATMENT_OUTCOMES).count() == 0
    assert metadata["save_rate"] == "save rate 0.1 assumed (CHURN_SAVE_RATE)"


def test_another_list_changes_what_the_outcomes_would_read(known, instance, spark) -> None:
    read = materialize(known, instance)[READ_VERSIONS]
    assert read == versions_read(known)

    known.write(RETENTION_LIST, frame(spark, RETENTION_LIST, [listing(1, "control")]), DateRange(D, D))

    assert read != versions_read(known)


def test_an_import_is_a_materialisation_with_its_counts(known, instance) -> None:
    report = TreatmentReport(files=1, rows=5, new=2, known=1)
    report.quarantined.update(["unknown_user", "unknown_user"])

    note_import(known, instance, report)

    assert noted(instance, TREATMENTS) == {
        "files": 1,
        "rows_read": 5,
        "rows_written": 2,
        "rows_known_before": 1,
        "rows_quarantined": 2,
    }
    assert noted(instance, QUARANTINED_TREATMENTS) == {"unknown_user": 2}
