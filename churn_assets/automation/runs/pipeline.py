"""What ``churn run`` and its kind do: all that is new, from the landing zone to the endpoint."""

import datetime as dt
from collections.abc import Callable
from typing import Literal

import dagster as dg

from churn_assets.asset_keys import asset_key
from churn_assets.assets.endpoint import CHURN_PREDICTION_ENDPOINT, ONLINE_USER_FEATURES
from churn_assets.assets.model import CHURN_PREDICTION_MODEL
from churn_assets.automation.history.lake_lock import LakeLock
from churn_assets.automation.history.log_reader import (
    latest_metadata,
    latest_storage_id,
    storage_ids_by_partition,
)
from churn_assets.automation.history.undated_assets import is_behind, noted_champion
from churn_assets.automation.runs.runner import PipelineReport, Progress, Runner
from churn_assets.automation.runs.stages import Stages, about_constant_features
from churn_assets.automation.staleness.migration import made_by_other_code
from churn_assets.automation.staleness.plan import MODEL_NEWER, Plan
from churn_assets.automation.staleness.published_state import Serving
from churn_assets.automation.staleness.retraining import drift_since_training, is_due
from churn_assets.automation.staleness.staleness import unsettled
from churn_assets.dates import DateRange
from churn_assets.lakehouse.computed_dates.checked_ledger import read_ledger
from churn_assets.lakehouse.lake import Lakehouse
from churn_assets.tables import (
    CHURN_LABELS,
    EVENTS,
    LANDED_EVENTS,
    MODEL_PROMOTIONS,
    QUARANTINED_EVENTS,
    USERS,
)

MakePlan = Callable[[], Plan]

Stage = Literal["ingest", "featurize", "train", "score", "deploy"]


class Pipeline:
    """Runs the graph in this process, only where something is new, while it holds the lake's lock.

    ``before_first`` is called before the first run, if there is any.
    """

    def __init__(
        self,
        definitions: dg.Definitions,
        lake: Lakehouse,
        instance: dg.DagsterInstance,
        progress: Progress,
        before_first: Callable[[], None] | None = None,
    ) -> None:
        self.runner = Runner(definitions, instance, progress, before_first)
        self._stages = Stages(self.runner, lake)
        self._lake = lake
        self._instance = instance

    @property
    def report(self) -> PipelineReport:
        """What has been done so far."""
        return self.runner.report

    def run(self, now: dt.datetime, wanted: DateRange | None = None) -> PipelineReport:
        """Bring every table up to date.

        Args:
            now: the clock, for which days are over.
            wanted: feature_dates to compute; all that the data covers, without it.

        Raises:
            ChurnError: in one line, what stopped it.
        """
        with self._lock():
            self._ingest()
            plan = self._stages.plan(now, wanted)
            self._stages.compute(plan, now)
            # Before the training, whose gate and report count with what a contact saves.
            self._stages.measure_treatments()
            self._train()
            self._score(plan, wanted or plan.covered)
            self._deploy()
            self._stages.require_trainable()
        return self.report

    def run_stage(self, stage: Stage, now: dt.datetime) -> PipelineReport:
        """Run one part of ``run``, as a step of the daily job.

        Raises:
            ChurnError: in one line, what stopped it.
        """
        with self._lock():
            match stage:
                case "ingest":
                    self._ingest()
                case "featurize":
                    self._stages.compute(self._stages.plan(now), now)
                    self._stages.measure_treatments()
                case "train":
                    self._train()
                case "score":
                    plan = self._stages.plan(now)
                    self._score(plan, plan.covered)
                case "deploy":
                    self._deploy()
                    self._stages.require_trainable()
        return self.report

    def backfill(self, wanted: DateRange, make_plan: MakePlan) -> PipelineReport:
        """Bring these dates up to date, and no other, from the events that have been taken in.

        Args:
            wanted: the feature_dates.
            make_plan: makes the plan, once Silver and users are current.

        Raises:
            ChurnError: in one line, what stopped it.
        """
        with self._lock():
            self._clean()
            plan, now = make_plan(), dt.datetime.now(dt.UTC)
            self._stages.note_coverage(plan, now)
            self._stages.compute(plan, now)
            self._score(plan, wanted)
            self._stages.require_trainable()
        return self.report

    def follow_the_model(self) -> PipelineReport:
        """Do what a move of the alias leaves to do: record it, score the last date with its version, deploy.

        Nothing is taken in and nothing else is computed, so that a rollback is quick. ``covered`` of the
        report is the last date that has scores.

        Raises:
            ChurnError: in one line, what stopped it.
        """
        with self._lock():
            self._record_promotions()
            production = self._stages.production_version()
            last = Serving(self._lake, self._instance, production).last_scored() if production else None
            if last:
                self._score(Plan(DateRange(last, last)), DateRange(last, last))
                self.report.covered = DateRange(last, last)
            self._deploy()
        return self.report

    def _lock(self) -> LakeLock:
        return LakeLock(self._lake.settings, self._instance)

    def _ingest(self) -> None:
        self._stages.take_in_files()
        # A run that died half-way may have left them behind, also where no file is new.
        self._clean()

    def _clean(self) -> None:
        # A table that the ledger does not know is written even with nothing new: that notes all of it.
        ledger = read_ledger(self._lake)
        if is_behind(self._instance, EVENTS, LANDED_EVENTS) or EVENTS in ledger.untrusted:
            self.runner.materialize("events", [asset_key(EVENTS), asset_key(QUARANTINED_EVENTS)])
            ledger = read_ledger(self._lake)
        is_of_other_code = made_by_other_code(self._instance, USERS, self.runner.code_versions)
        if is_behind(self._instance, USERS, EVENTS) or unsettled(ledger) or is_of_other_code:
            self.runner.materialize("users", [asset_key(USERS)])

    def _train(self) -> None:
        if reason := self._stages.why_not_to_train():
            self.report.notes.append(f"No model was trained: {reason}")
            return
        if (
            self._labels_are_newer_than_the_model()
            or self._drift_needs_a_training()
            or self._models_are_lost()
        ):
            self.runner.materialize("model", [CHURN_PREDICTION_MODEL, asset_key(MODEL_PROMOTIONS)])
            self._note_training()

    def _note_training(self) -> None:
        metadata = latest_metadata(self._instance, CHURN_PREDICTION_MODEL)
        if "model_version" in metadata and metadata["status"].value == "refused":
            version, champion = metadata["model_version"].value, metadata["champion_version"].value
            stays = f"version {champion} stays Production" if champion != "none" else "there is no Production"
            self.report.notes.append(
                f"Version {version} was trained and is no improvement; {stays}. {metadata['reason'].value} "
                f"Report: {metadata['report'].value}"
            )
        self.report.notes += about_constant_features(metadata)

    def _score(self, plan: Plan, dates: DateRange) -> None:
        production = self._stages.production_version()
        if production is None:
            self.report.notes.append(
                f"Nothing was scored: there is no Production model yet ({self._why_no_model()})."
            )
            return
        if noted_champion(self._instance) != production:
            # The alias was moved in the registry, or by a training whose run ended half-way.
            self._record_promotions()
        # What is served must agree with the last scores, so these follow a promotion.
        serving = Serving(self._lake, self._instance, production)
        if dates.end == plan.covered.end and serving.scored_by_another(dates.end):
            plan.score_again(dates.end, MODEL_NEWER)
        self._stages.score(plan)
        self._stages.publish_page()
        self._stages.deliver()

    def _record_promotions(self) -> None:
        self.runner.materialize("promotions", [asset_key(MODEL_PROMOTIONS)])

    def _deploy(self) -> None:
        production = self._stages.production_version()
        if production:
            self._serve(Serving(self._lake, self._instance, production), production)

    def _serve(self, serving: Serving, production: str) -> None:
        last, keys = serving.last_scored(), dict[str, dg.AssetKey]()
        if serving.online_features_are_behind():
            keys["online features"] = ONLINE_USER_FEATURES
        if last and (version := serving.scored_by_another(last)):
            self.report.notes.append(
                f"The endpoint was left as it is: {last} was scored by version {version}, and Production is "
                f"version {production}. Score that date as well: churn run"
            )
        elif last and (keys or serving.endpoint_is_behind()):
            # Newer features are news for the endpoint, which looks users up in them.
            keys["endpoint"] = CHURN_PREDICTION_ENDPOINT
        if keys:
            self.runner.materialize(" and ".join(keys), list(keys.values()))

    def _labels_are_newer_than_the_model(self) -> bool:
        labels = storage_ids_by_partition(self._instance, asset_key(CHURN_LABELS))
        model = latest_storage_id(self._instance, CHURN_PREDICTION_MODEL)
        return bool(labels) and max(labels.values()) > model

    def _drift_needs_a_training(self) -> bool:
        # By the real clock, as the event log's times are.
        return is_due(self._instance, dt.datetime.now(dt.UTC)) and bool(drift_since_training(self._instance))

    def _models_are_lost(self) -> bool:
        """Whether versions were trained and the registry has none, as after ``churn repair mlflow``."""
        metadata = latest_metadata(self._instance, CHURN_PREDICTION_MODEL)
        if "model_version" not in metadata or self._stages.production_version():
            return False
        from churn_assets.model.registry.promotions import registered_versions

        return not registered_versions(self._lake.settings)

    def _why_no_model(self) -> str:
        metadata = latest_metadata(self._instance, CHURN_PREDICTION_MODEL)
        if not metadata:
            return "no feature_date has a label yet"
        return str(metadata["reason"].value if "reason" in metadata else metadata["status"].value).rstrip(".")
