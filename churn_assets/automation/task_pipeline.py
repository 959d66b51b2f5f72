"""What each task of the Databricks job does: a part of ``churn run``, in a process of its own."""

import datetime as dt

from churn_assets.assets.endpoint import CHURN_PREDICTION_ENDPOINT
from churn_assets.assets.model import CHURN_PREDICTION_MODEL
from churn_assets.automation.pipeline import Pipeline, about_constant_features
from churn_assets.automation.plan import SCORES, Plan, covered_dates
from churn_assets.automation.task_plan import dates_to_score, plan_from_data, plan_from_scores
from churn_assets.tables import (
    CHURN_LABELS,
    EVENTS,
    MODEL_PROMOTIONS,
    QUARANTINED_EVENTS,
    USER_FEATURES,
    USERS,
)


class TaskPipeline(Pipeline):
    """``churn run`` in parts that know nothing of each other but the tables and the registry.

    Its Dagster instance may be an ephemeral one: what is behind is found in the data. There is no lock, as
    the job allows one run at a time.
    """

    def ingest(self) -> None:
        """From the landing zone to Bronze, Silver, its quarantine, and users."""
        self._take_in()
        # All three take little where nothing is new, and a run that died between them leaves no trace.
        self._materialize("events", [EVENTS.asset_key, QUARANTINED_EVENTS.asset_key])
        self._materialize("users", [USERS.asset_key])

    def featurize(self, now: dt.datetime) -> int:
        """Activity, summary, features and labels of the dates that are behind.

        Returns:
            How many labelled rows a training would find.
        """
        from churn_assets.model import dataset

        plan = plan_from_data(self._lake, now)
        self.report.covered = plan.covered
        self._say_what_is_odd(now)
        self._run_all(plan)
        features, labels = self._lake.read(USER_FEATURES), self._lake.read(CHURN_LABELS)
        return dataset.labelled_rows(features, labels).count()

    def train(self) -> None:
        """A new version, if the labelled dates allow one; it is Production if it is better."""
        self._materialize("model", [CHURN_PREDICTION_MODEL, MODEL_PROMOTIONS.asset_key])
        event = self._instance.get_latest_materialization_event(CHURN_PREDICTION_MODEL)
        if event and event.asset_materialization:
            told = event.asset_materialization.metadata
            self.report.notes += [str(told[name].value) for name in ("status", "reason") if name in told]
            self.report.notes += about_constant_features(told)

    def score(self, now: dt.datetime) -> None:
        """The latest complete feature_date, those since the last scored one, and what is said of scores."""
        if not self._has_a_model():
            self.report.notes.append("Nothing was scored: there is no Production model yet.")
            return
        dates = dates_to_score(self._lake, covered_dates(self._lake, now).end)
        names = ", ".join(table.name for table in SCORES)
        self._materialize(f"{names}: {dates}", [table.asset_key for table in SCORES], dates)
        # Of earlier dates what a death before left undone, and outcomes of those whose labels are there now.
        self._run_all(plan_from_scores(self._lake, dates))

    def deploy(self) -> None:
        """The Production version behind the endpoint, compared with the scores."""
        if not self._has_a_model():
            self.report.notes.append("Nothing was deployed: there is no Production model yet.")
            return
        self._materialize("endpoint", [CHURN_PREDICTION_ENDPOINT])

    def _run_all(self, plan: Plan) -> None:
        for step in plan.steps():
            self._run_step(plan, step)

    def _has_a_model(self) -> bool:
        from churn_assets.model import registry

        return registry.production_version(self._lake.settings) is not None
