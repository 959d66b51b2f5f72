"""What each task of the Databricks job does: a part of ``churn run``, in a process of its own."""

import datetime as dt

from churn_assets.asset_keys import asset_key
from churn_assets.assets.endpoint import CHURN_PREDICTION_ENDPOINT
from churn_assets.assets.model import CHURN_PREDICTION_MODEL
from churn_assets.automation.runs.pipeline import Pipeline, about_constant_features
from churn_assets.automation.staleness.plan import BY_MODEL
from churn_assets.automation.staleness.planning import covered_dates
from churn_assets.automation.staleness.staleness import ASKED_FOR
from churn_assets.tables import (
    CHURN_LABELS,
    CHURN_PREDICTIONS,
    EVENTS,
    MODEL_PROMOTIONS,
    QUARANTINED_EVENTS,
    USER_FEATURES,
    USERS,
)


class TaskPipeline(Pipeline):
    """``churn run`` in parts that know nothing of each other but the tables and the registry.

    Its Dagster instance may be an ephemeral one: what is stale is found in the ledger of dates. There is no
    lock, as the job allows one run at a time.
    """

    def ingest(self) -> None:
        """From the landing zone to Bronze, Silver, its quarantine, and users."""
        self._take_in()
        # All three take little where nothing is new, and a run that died between them leaves no trace.
        self._materialize("events", [asset_key(EVENTS), asset_key(QUARANTINED_EVENTS)])
        self._materialize("users", [asset_key(USERS)])

    def featurize(self, now: dt.datetime) -> int:
        """Activity, summary, features and labels of the dates that are behind.

        Returns:
            How many labelled rows a training would find.
        """
        from churn_assets.model.data import dataset

        self._compute(self._planned(now), now)
        features, labels = self._lake.read(USER_FEATURES), self._lake.read(CHURN_LABELS)
        return dataset.labelled_rows(features, labels).count()

    def train(self) -> None:
        """A new version, if the labelled dates allow one; it is Production if it is better."""
        if reason := self._barrier():
            self.report.notes.append(f"No model was trained: {reason}")
            return
        self._materialize("model", [CHURN_PREDICTION_MODEL, asset_key(MODEL_PROMOTIONS)])
        event = self._instance.get_latest_materialization_event(CHURN_PREDICTION_MODEL)
        if event and event.asset_materialization:
            told = event.asset_materialization.metadata
            self.report.notes += [str(told[name].value) for name in ("status", "reason") if name in told]
            self.report.notes += about_constant_features(told)

    def score(self, now: dt.datetime) -> None:
        """The latest complete feature_date, unscored ones since the first, and what is said of scores."""
        if not self._has_a_model():
            self.report.notes.append("Nothing was scored: there is no Production model yet.")
            return
        scored = [day for day, rows in self._lake.partition_rows(CHURN_PREDICTIONS).items() if rows]
        # Before the first there was no model. A later one without scores may have waited for a check.
        first = min(scored, default=covered_dates(self._lake, now).end)
        plan = self._planned(now, scores_from=first).only(*BY_MODEL)
        # Each night, by the model that is Production then.
        plan.score_again(plan.covered.end, ASKED_FOR)
        for step in plan.steps():
            self._run_step(plan, step)

    def deploy(self) -> None:
        """The Production version behind the endpoint, compared with the scores."""
        if not self._has_a_model():
            self.report.notes.append("Nothing was deployed: there is no Production model yet.")
            return
        self._materialize("endpoint", [CHURN_PREDICTION_ENDPOINT])
        self._require_no_barrier()

    def _has_a_model(self) -> bool:
        from churn_assets.model.registry import registry

        return registry.production_version(self._lake.settings) is not None
