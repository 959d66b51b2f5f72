"""The conditions that keep undated assets current: users, the model, and what is served.

The dated tables have a sensor instead: see ``stale_dates``.
"""

import warnings
from collections.abc import Iterable

import dagster as dg
from dagster import AutomationCondition

from churn_assets.asset_keys import asset_key
from churn_assets.assets.common import Assets
from churn_assets.assets.endpoint import CHURN_PREDICTION_ENDPOINT, ONLINE_USER_FEATURES
from churn_assets.assets.model import CHURN_PREDICTION_MODEL
from churn_assets.automation.history.log_reader import (
    latest_storage_id,
    materializations,
    storage_ids_by_partition,
)
from churn_assets.automation.history.undated_assets import last_scores_are_of_production
from churn_assets.automation.staleness.retraining import RETRAIN_AFTER, drift_since_training, is_due
from churn_assets.model.data.dataset import MINIMUM_ROWS
from churn_assets.settings import Settings
from churn_assets.tables import (
    CHURN_LABELS,
    DELIVERIES,
    MODEL_PROMOTIONS,
    TREATMENT_OUTCOMES,
    TREATMENTS,
    USER_FEATURES,
    USERS,
)

# Records of the event log that are read at once.
BATCH = 50


class EnoughLabels(AutomationCondition):
    """True when there are enough labelled rows for a training, by the row counts that label runs recorded."""

    @property
    def name(self) -> str:
        """The condition's name in the UI."""
        return f"at least {MINIMUM_ROWS:,} labelled rows"

    def evaluate(self, context: dg.AutomationContext) -> dg.AutomationResult:
        """Select all of the asset, or nothing."""
        enough = labelled_rows(context.asset_graph_view.instance, MINIMUM_ROWS) >= MINIMUM_ROWS
        return _all_or_nothing(context, holds=enough)


class NotTrainedLately(AutomationCondition):
    """True when the last training, successful or skipped, is long enough ago."""

    @property
    def name(self) -> str:
        """The condition's name in the UI."""
        return f"not trained in the last {RETRAIN_AFTER.total_seconds() / 3600:.0f} hours"

    def evaluate(self, context: dg.AutomationContext) -> dg.AutomationResult:
        """Select all of the asset, or nothing."""
        due = is_due(context.asset_graph_view.instance, context.evaluation_time)
        return _all_or_nothing(context, holds=due)


class DriftFailed(AutomationCondition):
    """True when a drift check has failed since the last training, as an error and not as a warning."""

    @property
    def name(self) -> str:
        """The condition's name in the UI."""
        return "a drift check has failed since the last training"

    def evaluate(self, context: dg.AutomationContext) -> dg.AutomationResult:
        """Select all of the asset, or nothing."""
        failed = drift_since_training(context.asset_graph_view.instance) is not None
        return _all_or_nothing(context, holds=failed)


class ScoredByProduction(AutomationCondition):
    """True when there is a Production model, and the last date has been scored with it."""

    @property
    def name(self) -> str:
        """The condition's name in the UI."""
        return "the last scores are the Production model's"

    def evaluate(self, context: dg.AutomationContext) -> dg.AutomationResult:
        """Select all of the asset, or nothing."""
        agree = last_scores_are_of_production(context.asset_graph_view.instance)
        return _all_or_nothing(context, holds=agree)


class TreatmentsAreKnown(AutomationCondition):
    """True once treatments have been imported: without any there is nothing to measure."""

    @property
    def name(self) -> str:
        """The condition's name in the UI."""
        return "treatments were imported"

    def evaluate(self, context: dg.AutomationContext) -> dg.AutomationResult:
        """Select all of the asset, or nothing."""
        known = latest_storage_id(context.asset_graph_view.instance, asset_key(TREATMENTS)) > 0
        return _all_or_nothing(context, holds=known)


def _all_or_nothing(context: dg.AutomationContext, *, holds: bool) -> dg.AutomationResult:
    return dg.AutomationResult(context, context.candidate_subset if holds else context.get_empty_subset())


def labelled_rows(instance: dg.DagsterInstance, enough: int) -> int:
    """Return the rows that the labels' partitions record, counted from the newest until there are enough."""
    ids = storage_ids_by_partition(instance, asset_key(CHURN_LABELS))
    newest = sorted(ids.values(), reverse=True)
    rows = 0
    for start in range(0, len(newest), BATCH):
        batch = newest[start : start + BATCH]
        in_batch = dg.AssetRecordsFilter(asset_key(CHURN_LABELS), storage_ids=batch)
        for record in materializations(instance, in_batch, len(batch)):
            materialization = record.asset_materialization
            count = materialization.metadata.get("dagster/partition_row_count") if materialization else None
            rows += int(str(count.value)) if count else 0
        if rows >= enough:
            break
    return rows


def conditions(settings: Settings) -> dict[dg.AssetKey, AutomationCondition]:
    """Return the condition of each asset that has one."""
    # A run would fail on upstream data that has failed its checks.
    checked = AutomationCondition.all_deps_blocking_checks_passed()
    idle = ~AutomationCondition.in_progress() & ~AutomationCondition.any_deps_in_progress()
    updated = AutomationCondition.any_deps_updated().since_last_handled()
    new_labels = (
        AutomationCondition.any_deps_updated()
        .allow(dg.AssetSelection.assets(asset_key(CHURN_LABELS)))
        .since(AutomationCondition.newly_updated())
    )
    trains = new_labels.with_label("new labels") | DriftFailed()
    # Not the model: a training without a promotion changes nothing that is served, and after a promotion the
    # last date is scored again, and the endpoint must agree with those scores.
    scores_updated = (
        AutomationCondition.any_deps_updated()
        .ignore(dg.AssetSelection.assets(CHURN_PREDICTION_MODEL))
        .since_last_handled()
    )
    # Not features, of which each date brings some: whose label is known was listed a horizon ago.
    contacts_updated = (
        AutomationCondition.any_deps_updated()
        .ignore(dg.AssetSelection.assets(asset_key(USER_FEATURES)))
        .since_last_handled()
    )
    delivers = {asset_key(DELIVERIES): (updated & idle).with_label("a list was made")}
    return {
        **(delivers if settings.delivers else {}),
        # An ingestion makes them too; this is for events that were cleaned by hand.
        asset_key(USERS): (updated & idle).with_label("events are newer"),
        CHURN_PREDICTION_MODEL: (
            trains
            & EnoughLabels()
            & NotTrainedLately()
            & checked
            & idle
            # It would be tried again every half minute; the daily job trains what is due.
            & ~AutomationCondition.execution_failed()
        ).with_label("new labels or drift"),
        # Trainings that the graph starts make it in the same run; this is for a model trained by hand.
        asset_key(MODEL_PROMOTIONS): (updated & idle).with_label("the model was trained"),
        asset_key(TREATMENT_OUTCOMES): (contacts_updated & TreatmentsAreKnown() & idle).with_label(
            "treatments, lists or labels are newer"
        ),
        ONLINE_USER_FEATURES: (updated & checked & idle).with_label("features are newer"),
        CHURN_PREDICTION_ENDPOINT: (scores_updated & ScoredByProduction() & idle).with_label(
            "predictions or online features are newer"
        ),
    }


def with_conditions(assets: Assets, settings: Settings) -> Assets:
    """Return the same assets, with a condition where they have one."""
    by_key = conditions(settings)

    def conditioned(spec: dg.AssetSpec) -> dg.AssetSpec:
        if spec.key not in by_key:
            return spec
        return spec.replace_attributes(automation_condition=by_key[spec.key])

    return list(dg.map_asset_specs(conditioned, assets))


class HasNoPartitions(AutomationCondition):
    """True of assets without partitions: those with are kept current by date."""

    @property
    def name(self) -> str:
        """The condition's name in the UI."""
        return "without partitions"

    def evaluate(self, context: dg.AutomationContext) -> dg.AutomationResult:
        """Select all of the asset, or nothing."""
        whole = context.partitions_def is None
        return _all_or_nothing(context, holds=whole)


def added_assets_sensor(ours: Iterable[dg.AssetKey]) -> dg.AutomationConditionSensorDefinition:
    """Return the sensor by which added assets follow their upstream, unless they have their own condition."""
    follows = AutomationCondition.eager() & AutomationCondition.all_deps_blocking_checks_passed()
    with warnings.catch_warnings():
        # As below; and the documented way to give assets a default condition.
        warnings.simplefilter("ignore", dg.BetaWarning)
        return dg.AutomationConditionSensorDefinition(
            name="other_assets",
            target=dg.AssetSelection.all() - dg.AssetSelection.assets(*ours),
            use_user_code_server=True,
            emit_backfills=False,
            default_condition=HasNoPartitions() & follows,
            default_status=dg.DefaultSensorStatus.RUNNING,
            minimum_interval_seconds=30,
            description="Keeps added assets current that have no partitions.",
        )


def automation_sensor(ours: Iterable[dg.AssetKey]) -> dg.AutomationConditionSensorDefinition:
    """Return the sensor that evaluates the conditions: here, as the daemon knows none of these classes."""
    with warnings.catch_warnings():
        # Only that parameter is beta, and it is the documented way to use custom conditions.
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
