"""The parts that ``churn run`` and the tasks of the Databricks job have in common."""

import datetime as dt
from collections.abc import Mapping
from typing import Unpack

import dagster as dg

from churn_assets.asset_keys import asset_key
from churn_assets.assets.training_results import CONSTANT_FEATURES
from churn_assets.assets.treatments import READ_VERSIONS, versions_read
from churn_assets.automation.history.landing_history import last_notes
from churn_assets.automation.history.log_reader import latest_metadata
from churn_assets.automation.runs.runner import Runner
from churn_assets.automation.staleness.ingested_files import unchanged_landing_zone
from churn_assets.automation.staleness.migration import made_by_other_code
from churn_assets.automation.staleness.plan import BY_MODEL, Plan
from churn_assets.automation.staleness.planning import PlanOptions, make_plan
from churn_assets.dates import DateRange
from churn_assets.errors import BlockedError, ChurnError
from churn_assets.lakehouse import coverage
from churn_assets.lakehouse.computed_dates.blocking import blocked
from churn_assets.lakehouse.lake import Lakehouse
from churn_assets.lakehouse.withdrawn import withdraw_immature
from churn_assets.tables import (
    DELIVERIES,
    EVENTS,
    GATED,
    LANDED_EVENTS,
    QUARANTINED_EVENTS,
    TREATMENT_OUTCOMES,
    TREATMENTS,
    USERS,
)

# The tables that landed files make, in one run.
TAKEN_IN = (LANDED_EVENTS, EVENTS, QUARANTINED_EVENTS, USERS)


class Stages:
    """Plans and computes the dated tables of one lake, by a runner that reports it."""

    def __init__(self, runner: Runner, lake: Lakehouse) -> None:
        self._runner = runner
        self._lake = lake

    def take_in_files(self) -> bool:
        """Take the files of the landing zone into Bronze, Silver and users, and note what cannot be taken in.

        All in one run, as each costs the start of one, and on Databricks that of a cluster. Where the last
        ingestion has seen all files, that is no run and starts no engine.

        Returns:
            Whether it ran.
        """
        runner = self._runner
        now = dt.datetime.now(dt.UTC)
        notes = unchanged_landing_zone(self._lake, runner.instance, runner.code_versions, now)
        if notes is None:
            runner.materialize("files to events and users", [asset_key(table) for table in TAKEN_IN])
            runner.report.notes += last_notes(runner.instance).lines()
            return True
        runner.note_current("files to events", asset_key(LANDED_EVENTS))
        runner.report.notes += notes.lines()
        return False

    def plan(self, now: dt.datetime, wanted: DateRange | None = None, **options: Unpack[PlanOptions]) -> Plan:
        """Plan the dates that are stale, and report the dates that the data covers.

        Raises:
            DateRangeError: the data does not cover the dates, or the first windows would be cut off.
        """
        options.setdefault("code_versions", self._runner.code_versions)
        plan = make_plan(self._lake, now, wanted, **options)
        self.note_coverage(plan, now)
        return plan

    def note_coverage(self, plan: Plan, now: dt.datetime) -> None:
        """Report the dates that the data covers, and what is odd about the days of the events."""
        self._runner.report.covered = plan.covered
        findings = coverage.covered_days(self._lake, now)
        self._runner.report.notes += coverage.in_words(findings, self._lake.settings)

    def compute(self, plan: Plan, now: dt.datetime) -> None:
        """Compute the plan's dates of all tables that need no model."""
        if withdrawn := withdraw_immature(self._lake, now):
            self._runner.progress(f"labels of {withdrawn} dates whose horizon is not over")
        for step in plan.steps_without(*BY_MODEL):
            self._runner.run_step(plan, step)

    def measure_treatments(self) -> None:
        """Measure what contacts changed, where any are known and they, lists or labels have changed since."""
        lake, runner = self._lake, self._runner
        if lake.version(TREATMENTS) < 1:
            return
        key = asset_key(TREATMENT_OUTCOMES)
        read = latest_metadata(runner.instance, key).get(READ_VERSIONS)
        is_of_other_code = made_by_other_code(runner.instance, TREATMENT_OUTCOMES, runner.code_versions)
        if read is None or read.value != versions_read(lake) or is_of_other_code:
            runner.materialize("outcomes of treatments", [key])

    def score(self, plan: Plan) -> None:
        """Compute the plan's dates of all tables that need a model."""
        for step in plan.only(*BY_MODEL).steps():
            self._runner.run_step(plan, step)

    def publish_page(self) -> None:
        """Publish what the page shows, where no run has: as on a lake of an earlier release."""
        if self._lake.settings.deployment == "databricks":
            return
        from churn_assets.serving.page.publish import is_published, publish_after_write

        if not is_published(self._lake):
            self._runner.progress("what the page shows")
            self._runner.report.notes += [
                f"The page was {says}."
                for says in publish_after_write(self._lake).values()
                if says.startswith("not published")
            ]

    def deliver(self) -> None:
        """Hand over the lists of whom to contact that somebody should have; what fails stops nothing."""
        if not self._lake.settings.delivers:
            return
        from churn_assets.retention.deliveries import due, undelivered

        if not due(self._lake):
            return
        try:
            self._runner.materialize("delivery of the list", [asset_key(DELIVERIES)])
        except ChurnError as error:
            self._runner.report.notes.append(f"No list was delivered: {error}")
        self._runner.report.notes += undelivered(self._lake)

    def production_version(self) -> str | None:
        """Return the version that the registry names Production, None if there is none."""
        from churn_assets.model.registry import registry

        return registry.production_number(self._lake.settings)

    def why_not_to_train(self) -> str | None:
        """Return why no model may learn from today's features and labels, in a sentence; None if one may."""
        return next((reason for table in GATED if (reason := blocked(self._lake, table))), None)

    def require_trainable(self) -> None:
        """Fail a run that had to leave the model out, once all that does not read it is done.

        Raises:
            BlockedError: features or labels fail a blocking check.
        """
        if reason := self.why_not_to_train():
            raise BlockedError(f"Everything else is done, but {reason}")


def about_constant_features(metadata: Mapping[str, dg.MetadataValue]) -> list[str]:
    """Return a line about a training's features that have one value in all rows; none if all vary."""
    if CONSTANT_FEATURES not in metadata:
        return []
    names = metadata[CONSTANT_FEATURES].value
    return [f"One value in all training rows, so the model cannot learn from it: {names}."]
