"""The job of 06:00: five steps, each of which does what is new and no more."""

import shutil
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest
from filelock import FileLock

from churn_assets.automation.runs.pipeline import Pipeline
from churn_assets.automation.runs.runner import QUIET, PipelineReport
from churn_assets.automation.runs.task_pipeline import TaskPipeline
from churn_assets.automation.triggers.schedules import PIPELINE_NAME
from churn_assets.errors import LakeError
from churn_assets.tables import (
    CHURN_PREDICTIONS,
    CHURN_REASONS,
    FEATURE_DRIFT,
    PREDICTION_OUTCOMES,
    RETENTION_LIST,
    USER_FEATURES,
)
from churn_assets_tests.end_to_end.conftest import DAYS, HORIZON, NOW, House

FOLLOW_PREDICTIONS = (CHURN_REASONS, FEATURE_DRIFT, PREDICTION_OUTCOMES)
STEPS = ["ingest", "featurize", "train", "score", "deploy"]


def run_job(house: House) -> dg.ExecuteInProcessResult:
    job = house.definitions.resolve_job_def(PIPELINE_NAME)
    return job.execute_in_process(instance=house.instance, run_config=QUIET)


def test_with_nothing_new_its_steps_write_nothing_and_say_so(on_sail: None, house: House) -> None:
    before = house.versions()

    result = run_job(house)

    assert [event.step_key for event in result.all_events if event.is_step_success] == STEPS
    assert house.versions() == before
    outputs = {
        event.step_key: event.step_output_data.metadata
        for event in result.all_events
        if event.is_successful_output
    }
    assert outputs["featurize"]["computed"].value == {}
    assert outputs["featurize"]["covered"].value == "2026-01-01 to 2026-02-19"


def test_a_lost_table_is_made_again_for_all_dates(on_sail: None, house: House) -> None:
    before = {table: house.content(table) for table in (USER_FEATURES, CHURN_PREDICTIONS)}

    for table in before:
        shutil.rmtree(house.lake.location(table))

    run_job(house)

    for table, rows in before.items():
        # A model that is a sum of products rounds it by how many rows it is given at once.
        pd.testing.assert_frame_equal(house.content(table), rows, rtol=0, atol=1e-12)


def test_while_churn_run_is_at_work_a_step_fails_and_is_tried_again_a_minute_later(
    on_sail: None, house: House
) -> None:
    folder = house.settings.lake_root / ".locks"
    pipeline = Pipeline(house.definitions, house.lake, house.instance, lambda _: None)
    with (
        FileLock(folder / "churn-run.lock"),
        pytest.raises(LakeError, match="Another churn run is at work on this lake"),
    ):
        pipeline.run_stage("featurize", NOW)

    steps = house.definitions.resolve_job_def(PIPELINE_NAME).nodes_in_topological_order
    ops = [node.definition for node in steps if isinstance(node.definition, dg.OpDefinition)]
    policies = [op.retry_policy for op in ops if op.retry_policy]
    assert [(policy.max_retries, policy.delay) for policy in policies] == [(3, 60)] * len(STEPS)


def scores_at_night(house: House) -> PipelineReport:
    """The task of the Databricks job that scores, with a history that has never heard of any run."""
    with dg.DagsterInstance.ephemeral() as instance:
        task = TaskPipeline(house.definitions, house.lake, instance, lambda _: None)
        task.score(NOW)
        return task.report


def test_what_a_death_after_the_predictions_left_undone_is_made_good_the_next_night(
    on_sail: None, house: House, make_house: Callable[..., House], tmp_path: Path
) -> None:
    shutil.copytree(house.settings.lake_root, tmp_path / "lake")
    shutil.copytree(house.landing, tmp_path / "landing")
    found = make_house(tmp_path)
    for table in FOLLOW_PREDICTIONS:
        shutil.rmtree(found.lake.location(table))

    report = scores_at_night(found)

    last = {str(table): 1 for table in (CHURN_PREDICTIONS, CHURN_REASONS, FEATURE_DRIFT, RETENTION_LIST)}
    assert report.computed == {
        **last,
        # The last date beside its predictions, then those of the other dates.
        str(CHURN_REASONS): DAYS,
        str(FEATURE_DRIFT): DAYS,
        str(PREDICTION_OUTCOMES): DAYS - HORIZON,
    }
    for table in FOLLOW_PREDICTIONS:
        pd.testing.assert_frame_equal(found.content(table), house.content(table), rtol=0, atol=1e-8)

    assert scores_at_night(found).computed == last
