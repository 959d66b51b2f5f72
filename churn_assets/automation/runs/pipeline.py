"""Everything that is new, from the landing zone to the endpoint, as runs that Dagster records."""

import datetime as dt
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import dagster as dg

from churn_assets.assets.endpoint import CHURN_PREDICTION_ENDPOINT, ONLINE_USER_FEATURES
from churn_assets.assets.model import CHURN_PREDICTION_MODEL, CONSTANT_FEATURES
from churn_assets.automation.history.failure_reasons import recorded_error_line
from churn_assets.automation.history.instance import STARTED_BY_CLI
from churn_assets.automation.history.lake_lock import Alone
from churn_assets.automation.history.landing_history import last_notes
from churn_assets.automation.history.run_tags import REASON_TAG, range_tags
from churn_assets.automation.history.undated_assets import is_behind, latest_id, noted_champion
from churn_assets.automation.staleness.migration import made_by_other_code
from churn_assets.automation.staleness.plan import BY_MODEL, MODEL_NEWER, Plan, Step
from churn_assets.automation.staleness.planning import code_versions, make_plan
from churn_assets.automation.staleness.published_state import Serving
from churn_assets.automation.staleness.retraining import drift_since_training, is_due
from churn_assets.automation.staleness.staleness import unsettled
from churn_assets.dates import DateRange
from churn_assets.errors import BlockedError, ChurnError, one_line
from churn_assets.lakehouse import coverage
from churn_assets.lakehouse.computed_dates.blocking import blocked
from churn_assets.lakehouse.computed_dates.looking import look
from churn_assets.lakehouse.lake import Lakehouse
from churn_assets.lakehouse.withdrawn import withdraw_unripe
from churn_assets.tables import (
    CHURN_LABELS,
    EVENTS,
    GATED,
    LANDED_EVENTS,
    MODEL_PROMOTIONS,
    QUARANTINED_EVENTS,
    USERS,
)

# Told what starts.
Progress = Callable[[str], None]
MakePlan = Callable[[], Plan]

Stage = Literal["ingest", "featurize", "train", "score", "deploy"]

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


def about_constant_features(told: Mapping[str, dg.MetadataValue]) -> list[str]:
    """What a training's metadata say of features that have one value, a line; none where they all vary."""
    if CONSTANT_FEATURES not in told:
        return []
    return [
        f"One value in all training rows, so the model cannot learn from it: {told[CONSTANT_FEATURES].value}."
    ]


class RunFailedError(ChurnError):
    """A run failed for a reason that is no ``ChurnError`` itself."""


@dataclass
class PipelineReport:
    """What was done: the dates covered, the runs, and why the model was not trained or scored with, if so."""

    covered: DateRange | None = None
    runs: list[str] = field(default_factory=list)
    computed: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


class Pipeline:
    """Runs the graph in this process, only where something is new."""

    def __init__(
        self, definitions: dg.Definitions, lake: Lakehouse, instance: dg.DagsterInstance, progress: Progress
    ) -> None:
        self._job = definitions.resolve_implicit_global_asset_job_def()
        self._code_versions = code_versions(definitions.resolve_asset_graph())
        self._lake = lake
        self._instance = instance
        self._progress = progress
        self.report = PipelineReport()

    def run(self, now: dt.datetime, wanted: DateRange | None = None) -> PipelineReport:
        """Bring every table up to date.

        Args:
            now: the clock, for which days are over.
            wanted: feature_dates to compute; all that the data covers, without it.

        Raises:
            ChurnError: in one line, what stopped it.
        """
        with Alone(self._lake.settings, self._instance):
            self._ingest()
            plan = self._planned(now, wanted)
            self._compute(plan, now)
            self._train()
            self._score(plan, wanted or plan.covered)
            self._deploy()
            self._require_no_barrier()
        return self.report

    def run_stage(self, stage: Stage, now: dt.datetime) -> PipelineReport:
        """One part of ``run``, as a step of the daily job.

        Raises:
            ChurnError: in one line, what stopped it.
        """
        with Alone(self._lake.settings, self._instance):
            match stage:
                case "ingest":
                    self._ingest()
                case "featurize":
                    self._compute(self._planned(now), now)
                case "train":
                    self._train()
                case "score":
                    plan = self._planned(now)
                    self._score(plan, plan.covered)
                case "deploy":
                    self._deploy()
                    self._require_no_barrier()
        return self.report

    def backfill(self, wanted: DateRange, plan: MakePlan) -> PipelineReport:
        """Bring these dates up to date, and no other, from the events that have been taken in.

        Args:
            wanted: the feature_dates.
            plan: makes the plan, once Silver and users are current.

        Raises:
            ChurnError: in one line, what stopped it.
        """
        with Alone(self._lake.settings, self._instance):
            self._clean()
            found = plan()
            self.report.covered = found.covered
            self._say_what_is_odd(dt.datetime.now(dt.UTC))
            self._compute(found, dt.datetime.now(dt.UTC))
            self._score(found, wanted)
            self._require_no_barrier()
        return self.report

    def follow_the_model(self) -> PipelineReport:
        """What a move of the alias leaves to do: note it, score the last date with what it names now, deploy.

        Nothing is taken in and nothing else is computed, so that a rollback is quick. ``covered`` of the
        report is the last date that has scores.

        Raises:
            ChurnError: in one line, what stopped it.
        """
        with Alone(self._lake.settings, self._instance):
            self._note_promotions()
            production = self._production()
            last = Serving(self._lake, self._instance, production).last_scored() if production else None
            if last:
                self._score(Plan(DateRange(last, last)), DateRange(last, last))
                self.report.covered = DateRange(last, last)
            self._deploy()
        return self.report

    def _ingest(self) -> None:
        self._take_in()
        self._clean()

    def _take_in(self) -> None:
        self._materialize("files to events", [LANDED_EVENTS.asset_key])
        self.report.notes += last_notes(self._instance).lines()

    def _clean(self) -> None:
        # A write of what the ledger does not know notes all of it, though there be nothing new.
        found = look(self._lake)
        if is_behind(self._instance, EVENTS, LANDED_EVENTS) or EVENTS in found.unknown:
            self._materialize("events", [EVENTS.asset_key, QUARANTINED_EVENTS.asset_key])
            found = look(self._lake)
        of_other_code = made_by_other_code(self._instance, USERS, self._code_versions)
        if is_behind(self._instance, USERS, EVENTS) or unsettled(found) or of_other_code:
            self._materialize("users", [USERS.asset_key])

    def _planned(
        self, now: dt.datetime, wanted: DateRange | None = None, scores_from: dt.date = dt.date.min
    ) -> Plan:
        versions = self._code_versions
        plan = make_plan(self._lake, now, wanted, code_versions=versions, scores_from=scores_from)
        self.report.covered = plan.covered
        self._say_what_is_odd(now)
        return plan

    def _say_what_is_odd(self, now: dt.datetime) -> None:
        self.report.notes += coverage.in_words(coverage.judged(self._lake, now), self._lake.settings)

    def _compute(self, plan: Plan, now: dt.datetime) -> None:
        if withdrawn := withdraw_unripe(self._lake, now):
            self._progress(f"labels of {withdrawn} dates whose horizon is not over")
        for step in plan.steps_without(*BY_MODEL):
            self._run_step(plan, step)

    def _train(self) -> None:
        if reason := self._barrier():
            self.report.notes.append(f"No model was trained: {reason}")
            return
        if self._labels_are_newer_than_the_model() or self._drift_asks_for_it():
            self._materialize("model", [CHURN_PREDICTION_MODEL, MODEL_PROMOTIONS.asset_key])
            self._say_what_the_training_found()

    def _barrier(self) -> str | None:
        """Why no model may learn from features and labels as they are, in a sentence."""
        return next((reason for table in GATED if (reason := blocked(self._lake, table))), None)

    def _require_no_barrier(self) -> None:
        """Fail, once all that does not read it is done: a run in which something waits is no good one."""
        if reason := self._barrier():
            raise BlockedError(f"Everything else is done, but {reason}")

    def _say_what_the_training_found(self) -> None:
        event = self._instance.get_latest_materialization_event(CHURN_PREDICTION_MODEL)
        told = event.asset_materialization.metadata if event and event.asset_materialization else {}
        if "model_version" in told and told["status"].value == "refused":
            version, champion = told["model_version"].value, told["champion_version"].value
            stays = f"version {champion} stays Production" if champion != "none" else "there is no Production"
            self.report.notes.append(
                f"Version {version} was trained and is no improvement; {stays}. {told['reason'].value} "
                f"Report: {told['report'].value}"
            )
        self.report.notes += about_constant_features(told)

    def _score(self, plan: Plan, dates: DateRange) -> None:
        production = self._production()
        if production is None:
            self.report.notes.append(
                f"Nothing was scored: there is no Production model yet ({self._why_no_model()})."
            )
            return
        if noted_champion(self._instance) != production:
            # The alias was moved in the registry, or by a training whose run ended half-way.
            self._note_promotions()
        # What is served must agree with the last scores, so these follow a promotion.
        serving = Serving(self._lake, self._instance, production)
        if dates.end == plan.covered.end and serving.scored_by_another(dates.end):
            plan.score_again(dates.end, MODEL_NEWER)
        for step in plan.only(*BY_MODEL).steps():
            self._run_step(plan, step)

    def _note_promotions(self) -> None:
        self._materialize("promotions", [MODEL_PROMOTIONS.asset_key])

    def _deploy(self) -> None:
        production = self._production()
        if production:
            self._serve(Serving(self._lake, self._instance, production), production)

    def _run_step(self, plan: Plan, step: Step) -> None:
        names = ", ".join(table.name for table in step.tables)
        keys = [table.asset_key for table in step.tables]
        self._materialize(f"{names}: {step.dates}", keys, step.dates, plan.why(step))

    def _serve(self, serving: Serving, production: str) -> None:
        if serving.online_features_are_behind():
            self._materialize("online features", [ONLINE_USER_FEATURES])
        last = serving.last_scored()
        if last and (version := serving.scored_by_another(last)):
            self.report.notes.append(
                f"The endpoint was left as it is: {last} was scored by version {version}, and Production is "
                f"version {production}. Score that date as well: churn run"
            )
        elif last and serving.endpoint_is_behind():
            self._materialize("endpoint", [CHURN_PREDICTION_ENDPOINT])

    def _materialize(
        self, what: str, keys: Sequence[dg.AssetKey], dates: DateRange | None = None, why: str = ""
    ) -> None:
        self._progress(what)
        tags = dict(STARTED_BY_CLI)
        if dates:
            tags |= {**range_tags(dates), REASON_TAG: why}
        try:
            result = self._job.execute_in_process(
                instance=self._instance, asset_selection=list(keys), tags=tags, run_config=QUIET
            )
        except ChurnError:
            raise
        except Exception as error:
            if mendable := _first_churn_error(error):
                raise mendable from error
            last = _innermost(error)
            raise RunFailedError(
                f"{what} failed with {type(last).__name__}: {one_line(last)}. "
                "Its run in Dagster has the whole trace: make dev."
            ) from error
        if not result.success:
            # What fails on a cluster comes back as an event and not as an exception.
            raise RunFailedError(f"{what} failed on the cluster: {_recorded_reason(result)}")
        self.report.runs.append(result.run_id)
        for key in keys:
            days = len(list(dates.days())) if dates else 1
            name = ".".join(key.path)
            self.report.computed[name] = self.report.computed.get(name, 0) + days

    def _labels_are_newer_than_the_model(self) -> bool:
        labels = self._instance.get_latest_storage_id_by_partition(
            CHURN_LABELS.asset_key, dg.DagsterEventType.ASSET_MATERIALIZATION
        )
        model = latest_id(self._instance, CHURN_PREDICTION_MODEL)
        return bool(labels) and max(labels.values()) > model

    def _drift_asks_for_it(self) -> bool:
        # By the real clock, as that is what the event log was written by.
        return is_due(self._instance, dt.datetime.now(dt.UTC)) and bool(drift_since_training(self._instance))

    def _production(self) -> str | None:
        from churn_assets.model.registry import registry

        version = registry.production_version(self._lake.settings)
        return str(version.version) if version else None

    def _why_no_model(self) -> str:
        event = self._instance.get_latest_materialization_event(CHURN_PREDICTION_MODEL)
        if event is None or event.asset_materialization is None:
            return "no feature_date has a label yet"
        metadata = event.asset_materialization.metadata
        return str(metadata["reason"].value if "reason" in metadata else metadata["status"].value).rstrip(".")


def _recorded_reason(result: dg.ExecuteInProcessResult) -> str:
    failures = [event.step_failure_data.error for event in result.get_step_failure_events()]
    return next(
        (recorded_error_line(error) for error in failures if error), "its run in Dagster says why: make dev"
    )


def _chain(error: BaseException) -> Iterable[BaseException]:
    seen: list[BaseException] = []
    current: BaseException | None = error
    # Dagster raises the cause again in the context of its own error, so the chain may bite its tail.
    while current is not None and current not in seen:
        yield current
        seen.append(current)
        current = current.__cause__ or current.__context__


def _first_churn_error(error: BaseException) -> ChurnError | None:
    return next((link for link in _chain(error) if isinstance(link, ChurnError)), None)


def _innermost(error: BaseException) -> BaseException:
    """What went wrong, and not what Dagster says about it."""
    links = list(_chain(error))
    return next((link for link in reversed(links) if not isinstance(link, dg.DagsterError)), links[-1])
