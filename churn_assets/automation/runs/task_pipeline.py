"""What each task of the Databricks job does: a part of ``churn run``, in a separate process."""

import datetime as dt

import dagster as dg

from churn_assets.asset_keys import asset_key
from churn_assets.assets.endpoint import CHURN_PREDICTION_ENDPOINT
from churn_assets.assets.model import CHURN_PREDICTION_MODEL
from churn_assets.automation.history.log_reader import latest_metadata
from churn_assets.automation.runs.runner import PipelineReport, Progress, Runner
from churn_assets.automation.runs.stages import TAKEN_IN, Stages, about_constant_features
from churn_assets.automation.staleness.planning import covered_dates
from churn_assets.automation.staleness.staleness import ASKED_FOR
from churn_assets.lakehouse.lake import Lakehouse
from churn_assets.tables import (
    CHURN_LABELS,
    CHURN_PREDICTIONS,
    MODEL_PROMOTIONS,
    USER_FEATURES,
)


class TaskPipeline:
    """The stages of ``churn run`` as tasks that share nothing but the tables and the registry.

    The Dagster instance may be an ephemeral one: the ledger of dates says what is stale. There is no lock, as
    the job allows one run at a time.
    """

    def __init__(
        self, definitions: dg.Definitions, lake: Lakehouse, instance: dg.DagsterInstance, progress: Progress
    ) -> None:
        self.runner = Runner(definitions, instance, progress)
        self._stages = Stages(self.runner, lake)
        self._lake = lake

    @property
    def report(self) -> PipelineReport:
        """What has been done so far."""
        return self.runner.report

    def ingest(self) -> None:
        """Take in the landing zone: Bronze, Silver, its quarantine, and users."""
        if not self._stages.take_in_files():
            # It takes little time where nothing is new, and a run that died half-way leaves no trace.
            self.runner.materialize("events and users", [asset_key(table) for table in TAKEN_IN[1:]])

    def featurize(self, now: dt.datetime) -> int:
        """Compute activity, summary, features and labels of the dates that are stale.

        Returns:
            The number of labelled rows that a training would read.
        """
        from churn_assets.model.data import dataset

        self._stages.compute(self._stages.plan(now), now)
        self._stages.measure_treatments()
        features, labels = self._lake.read(USER_FEATURES), self._lake.read(CHURN_LABELS)
        return dataset.labelled_rows(features, labels).count()

    def train(self) -> None:
        """Train a new version, if the labelled dates allow one; it becomes Production if it is better."""
        if reason := self._stages.why_not_to_train():
            self.report.notes.append(f"No model was trained: {reason}")
            return
        self.runner.materialize("model", [CHURN_PREDICTION_MODEL, asset_key(MODEL_PROMOTIONS)])
        metadata = latest_metadata(self.runner.instance, CHURN_PREDICTION_MODEL)
        self.report.notes += [str(metadata[name].value) for name in ("status", "reason") if name in metadata]
        self.report.notes += about_constant_features(metadata)

    def score(self, now: dt.datetime) -> None:
        """Score the last complete feature_date, and those without scores since the first that has some."""
        if self._stages.production_version() is None:
            self.report.notes.append("Nothing was scored: there is no Production model yet.")
            return
        scored = [day for day, rows in self._lake.partition_rows(CHURN_PREDICTIONS).items() if rows]
        # Before the first there was no model. A later one without scores may have waited for a check.
        first = min(scored, default=covered_dates(self._lake, now).end)
        plan = self._stages.plan(now, scores_from=first)
        # Each night, by the model that is Production then.
        plan.score_again(plan.covered.end, ASKED_FOR)
        self._stages.score(plan)
        self._stages.deliver()

    def deploy(self) -> None:
        """Deploy the Production version to the endpoint, and compare its answers with the scores."""
        if self._stages.production_version() is None:
            self.report.notes.append("Nothing was deployed: there is no Production model yet.")
            return
        self.runner.materialize("endpoint", [CHURN_PREDICTION_ENDPOINT])
        self._stages.require_trainable()
