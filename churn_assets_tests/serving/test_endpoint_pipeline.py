"""What ``churn run`` does about the endpoint: what is behind, and nothing else."""

import datetime as dt
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest
from pyspark.sql import SparkSession

from churn_assets.assets.endpoint import (
    CHURN_PREDICTION_ENDPOINT,
    ONLINE_USER_FEATURES,
    endpoint_assets,
    scored_by,
)
from churn_assets.automation.runs.pipeline import Pipeline
from churn_assets.automation.runs.runner import PipelineReport
from churn_assets.dates import ONE_DAY, DateRange
from churn_assets.graph import build_defs
from churn_assets.lakehouse.folder_lake import FolderLakehouse
from churn_assets.model.registry import registry
from churn_assets.serving.endpoint import online_folder
from churn_assets.serving.features.online_store import OnlineStore
from churn_assets.serving.rollout.clients import BundledEndpoint
from churn_assets.settings import Settings
from churn_assets_tests.memory import remember
from churn_assets_tests.model.conftest import local_settings, mlflow_state_as_it_was
from churn_assets_tests.serving.conftest import copy_of

FIRST_DAY = dt.date(2026, 1, 1)
LAST_DAY = FIRST_DAY + 4 * ONE_DAY
NOW = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)
PREDICTIONS, FEATURES = "main_catalog.gold.churn_predictions", "main_catalog.gold.user_features"


@dataclass(frozen=True)
class House:
    """A lake whose registry has three versions; too few rows ever land for a fourth."""

    settings: Settings
    lake: FolderLakehouse
    instance: dg.DagsterInstance

    def land(self, name: str, *days: dt.date) -> None:
        """One event of each of three users on each day."""
        landing = Path(self.settings.landing_root)
        landing.mkdir(parents=True, exist_ok=True)
        events = [
            {"event_id": f"{name}-{user}-{day}", "user_id": user, "event_ts": f"{day}T12:00:00Z"}
            for day in days
            for user in (1, 2, 3)
        ]
        (landing / f"{name}.json").write_text("".join(json.dumps(event) + "\n" for event in events))

    def run(self, wanted: DateRange | None = None) -> PipelineReport:
        return Pipeline(graph(self.settings), self.lake, self.instance, lambda _: None).run(NOW, wanted)

    def served(self) -> tuple[str, str]:
        """The version that was deployed last, and the date that it was compared on."""
        event = self.instance.get_latest_materialization_event(CHURN_PREDICTION_ENDPOINT)
        assert event is not None
        assert event.asset_materialization is not None
        metadata = event.asset_materialization.metadata
        return str(metadata["served_versions"].value), str(metadata["feature_date"].value)


def graph(settings: Settings) -> dg.Definitions:
    found = build_defs(settings, endpoint=BundledEndpoint(settings))
    if CHURN_PREDICTION_ENDPOINT in found.resolve_asset_graph().get_all_asset_keys():
        return found
    return dg.Definitions.merge(found, dg.Definitions(assets=endpoint_assets()))


def house_in(folder: Path, spark: SparkSession, deployment: str, instance: dg.DagsterInstance) -> House:
    settings = local_settings(
        folder / "lake",
        endpoint_url="http://127.0.0.1:9",
        start_date=FIRST_DAY,
        landing_root=str(folder / "landing"),
    ).model_copy(update={"deployment": deployment})
    return House(settings, FolderLakehouse(settings, lambda: spark), instance)


@pytest.fixture(scope="module")
def ran(
    registered: Settings, spark: SparkSession, deployment: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[House]:
    """Five days have landed and everything ran once, with version 1 as Production."""
    folder = tmp_path_factory.mktemp("ran")
    copy_of(registered, folder / "lake")
    with mlflow_state_as_it_was(), dg.DagsterInstance.ephemeral() as instance:
        found = house_in(folder, spark, deployment, instance)
        registry.configure(found.settings)
        found.land("first", *DateRange(FIRST_DAY, LAST_DAY).days())
        report = found.run()
        assert report.notes == []
        assert report.computed[PREDICTIONS] == 5
        deployed = ("online_user_features", "churn_prediction_endpoint")
        assert [report.computed[name] for name in deployed] == [1, 1]
        assert found.served() == ("1", str(LAST_DAY))
        yield found


@pytest.fixture
def house(
    ran: House, spark: SparkSession, deployment: str, instance: dg.DagsterInstance, tmp_path: Path
) -> Iterator[House]:
    """A copy of that lake, with its history, for one test."""
    for name in ("lake", "landing"):
        shutil.copytree(ran.settings.lake_root.parent / name, tmp_path / name)
    remember(instance, ran.instance)
    found = house_in(tmp_path, spark, deployment, instance)
    with mlflow_state_as_it_was():
        registry.configure(found.settings)
        yield found


def test_a_run_with_nothing_new_touches_neither_features_nor_endpoint(house: House) -> None:
    assert list(house.run().computed) == ["raw_catalog.landing.events"]


def test_a_promotion_scores_the_last_date_again_and_is_deployed(house: House) -> None:
    registry.promote(house.settings, "3")

    report = house.run()

    assert report.computed == {
        "raw_catalog.landing.events": 1,
        PREDICTIONS: 1,
        "main_catalog.gold.churn_reasons": 1,
        "main_catalog.gold.feature_drift": 1,
        "main_catalog.gold.retention_list": 1,
        "main_catalog.gold.model_promotions": 1,
        "churn_prediction_endpoint": 1,
    }
    assert scored_by(house.instance, LAST_DAY) == "3"
    assert scored_by(house.instance, LAST_DAY - ONE_DAY) == "1"
    assert house.served() == ("3", str(LAST_DAY))
    assert list(house.run().computed) == ["raw_catalog.landing.events"]


def test_another_day_is_published_scored_and_compared(house: House) -> None:
    tomorrow = LAST_DAY + ONE_DAY
    house.land("second", tomorrow)

    report = house.run()

    assert report.computed[PREDICTIONS] == 1
    assert house.served() == ("1", str(tomorrow))
    snapshot = OnlineStore(online_folder(house.settings)).snapshot()
    assert snapshot is not None
    assert snapshot.feature_date == tomorrow
    assert list(house.run().computed) == ["raw_catalog.landing.events"]


def test_a_promotion_waits_where_the_last_date_was_not_asked_for(house: House) -> None:
    registry.promote(house.settings, "3")

    report = house.run(DateRange(FIRST_DAY, FIRST_DAY + ONE_DAY))

    assert "churn_prediction_endpoint" not in report.computed
    (note,) = report.notes
    assert note.startswith(
        f"The endpoint was left as it is: {LAST_DAY} was scored by version 1, and Production"
    )
    assert house.served() == ("1", str(LAST_DAY))


def test_published_features_that_were_deleted_are_published_again(house: House) -> None:
    # Its own: what was published before was published where the lake lay before it was copied.
    house.land("second", LAST_DAY + ONE_DAY)
    house.run()
    shutil.rmtree(online_folder(house.settings))

    report = house.run()

    assert ONLINE_USER_FEATURES.to_user_string() in report.computed
    assert OnlineStore(online_folder(house.settings)).snapshot() is not None
