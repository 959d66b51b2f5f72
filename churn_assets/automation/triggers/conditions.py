"""What keeps itself current by a condition of its own: users, the model, and what is served.

The dated tables have a sensor instead: see ``stale_dates``.
"""

import warnings
from collections.abc import Iterable
from typing import Any

import dagster as dg
from dagster import AutomationCondition

from churn_assets.assets.endpoint import CHURN_PREDICTION_ENDPOINT, ONLINE_USER_FEATURES
from churn_assets.assets.model import CHURN_PREDICTION_MODEL
from churn_assets.automation.history.log_reader import materializations, storage_ids_by_partition
from churn_assets.automation.history.undated_assets import last_scores_are_of_production
from churn_assets.automation.staleness.retraining import RETRAIN_AFTER, drift_since_training, is_due
from churn_assets.model.data.dataset import MINIMUM_ROWS
from churn_assets.tables import CHURN_LABELS, MODEL_PROMOTIONS, USERS

# Records of the event log that are read at once.
BATCH = 50


class EnoughLabels(AutomationCondition):
    """There are as many labelled rows as a training takes, by what the labels' runs have written down."""

    @property
    def name(self) -> str:
        """For the UI."""
        return f"at least {MINIMUM_ROWS:,} labelled rows"

    def evaluate(self, context: dg.AutomationContext) -> dg.AutomationResult:
        """All of the asset, or nothing."""
        enough = labelled_rows(context.asset_graph_view.instance, MINIMUM_ROWS) >= MINIMUM_ROWS
        return dg.AutomationResult(context, _all_or_nothing(context, holds=enough))


class NotTrainedLately(AutomationCondition):
    """The last training, successful or skipped, is long enough ago."""

    @property
    def name(self) -> str:
        """For the UI."""
        return f"not trained in the last {RETRAIN_AFTER.total_seconds() / 3600:.0f} hours"

    def evaluate(self, context: dg.AutomationContext) -> dg.AutomationResult:
        """All of the asset, or nothing."""
        due = is_due(context.asset_graph_view.instance, context.evaluation_time)
        return dg.AutomationResult(context, _all_or_nothing(context, holds=due))


class DriftFailed(AutomationCondition):
    """A drift check has failed since the last training, as an error and not as a warning."""

    @property
    def name(self) -> str:
        """For the UI."""
        return "a drift check has failed since the last training"

    def evaluate(self, context: dg.AutomationContext) -> dg.AutomationResult:
        """All of the asset, or nothing."""
        failed = drift_since_training(context.asset_graph_view.instance) is not None
        return dg.AutomationResult(context, _all_or_nothing(context, holds=failed))


class ScoredByProduction(AutomationCondition):
    """There is a Production model, and the last date has been scored with it."""

    @property
    def name(self) -> str:
        """For the UI."""
        return "the last scores are the Production model's"

    def evaluate(self, context: dg.AutomationContext) -> dg.AutomationResult:
        """All of the asset, or nothing."""
        agree = last_scores_are_of_production(context.asset_graph_view.instance)
        return dg.AutomationResult(context, _all_or_nothing(context, holds=agree))


def _all_or_nothing(context: dg.AutomationContext, *, holds: bool) -> Any:
    return context.candidate_subset if holds else context.get_empty_subset()


def labelled_rows(instance: dg.DagsterInstance, enough: int) -> int:
    """How many rows the labels' partitions say they have, counted from the newest until it is enough."""
    ids = storage_ids_by_partition(instance, CHURN_LABELS.asset_key)
    newest = sorted(ids.values(), reverse=True)
    rows = 0
    for start in range(0, len(newest), BATCH):
        batch = newest[start : start + BATCH]
        in_batch = dg.AssetRecordsFilter(CHURN_LABELS.asset_key, storage_ids=batch)
        for record in materializations(instance, in_batch, len(batch)):
            materialization = record.asset_materialization
            count = materialization.metadata.get("dagster/partition_row_count") if materialization else None
            rows += int(str(count.value)) if count else 0
        if rows >= enough:
            break
    return rows


def conditions() -> dict[dg.AssetKey, AutomationCondition]:
    """The condition of each asset that has one."""
    # What failed them in another run is no better for this one.
    checked = AutomationCondition.all_deps_blocking_checks_passed()
    idle = ~AutomationCondition.in_progress() & ~AutomationCondition.any_deps_in_progress()
    updated = AutomationCondition.any_deps_updated().since_last_handled()
    new_labels = (
        AutomationCondition.any_deps_updated()
        .allow(dg.AssetSelection.assets(CHURN_LABELS.asset_key))
        .since(AutomationCondition.newly_updated())
    )
    trains = new_labels.with_label("new labels") | DriftFailed()
    # Not of the model: a training that promotes nothing leaves what is served as it is, and after one that
    # does the last date is scored again, with which the endpoint must agree.
    scores_updated = (
        AutomationCondition.any_deps_updated()
        .ignore(dg.AssetSelection.assets(CHURN_PREDICTION_MODEL))
        .since_last_handled()
    )
    return {
        # An ingestion makes them too; this is for events that somebody cleaned by hand.
        USERS.asset_key: (updated & idle).with_label("events are newer"),
        CHURN_PREDICTION_MODEL: (
            trains
            & EnoughLabels()
            & NotTrainedLately()
            & checked
            & idle
            # Else it would be tried again every half minute; the daily job trains what is due.
            & ~AutomationCondition.execution_failed()
        ).with_label("new labels or drift"),
        # The graph's own trainings make it in their run; this is for a model trained by hand.
        MODEL_PROMOTIONS.asset_key: (updated & idle).with_label("the model was trained"),
        ONLINE_USER_FEATURES: (updated & checked & idle).with_label("features are newer"),
        CHURN_PREDICTION_ENDPOINT: (scores_updated & ScoredByProduction() & idle).with_label(
            "predictions or online features are newer"
        ),
    }


def with_conditions(assets: Iterable[Any]) -> list[Any]:
    """The same assets; those that can keep themselves current know when."""
    found = conditions()

    def conditioned(spec: dg.AssetSpec) -> dg.AssetSpec:
        if spec.key not in found:
            return spec
        return spec.replace_attributes(automation_condition=found[spec.key])

    return list(dg.map_asset_specs(conditioned, assets))


class HasNoPartitions(AutomationCondition):
    """The asset has no partitions: those that have are kept current by date."""

    @property
    def name(self) -> str:
        """For the UI."""
        return "without partitions"

    def evaluate(self, context: dg.AutomationContext) -> dg.AutomationResult:
        """All of the asset, or nothing."""
        whole = context.partitions_def is None
        return dg.AutomationResult(context, _all_or_nothing(context, holds=whole))


def others_sensor(ours: Iterable[dg.AssetKey]) -> dg.AutomationConditionSensorDefinition:
    """What others add to the graph follows what it reads, unless it has a condition of its own."""
    follows = AutomationCondition.eager() & AutomationCondition.all_deps_blocking_checks_passed()
    with warnings.catch_warnings():
        # As below; and the documented way to have a condition for what has none.
        warnings.simplefilter("ignore", dg.BetaWarning)
        return dg.AutomationConditionSensorDefinition(
            name="other_assets",
            target=dg.AssetSelection.all() - dg.AssetSelection.assets(*ours),
            use_user_code_server=True,
            emit_backfills=False,
            default_condition=HasNoPartitions() & follows,
            default_status=dg.DefaultSensorStatus.RUNNING,
            minimum_interval_seconds=30,
            description="Keeps assets current that somebody has added, where they have no partitions.",
        )


def automation_sensor(ours: Iterable[dg.AssetKey]) -> dg.AutomationConditionSensorDefinition:
    """What evaluates the conditions: in the code location, as the daemon knows none of these classes."""
    with warnings.catch_warnings():
        # That one parameter is beta, and the documented way to have conditions of one's own.
        warnings.simplefilter("ignore", dg.BetaWarning)
        return dg.AutomationConditionSensorDefinition(
            name="automation",
            target=dg.AssetSelection.assets(*ours),
            use_user_code_server=True,
            emit_backfills=False,
            default_status=dg.DefaultSensorStatus.RUNNING,
            minimum_interval_seconds=30,
            description="Evaluates the conditions of users, the model, and what is served.",
        )
