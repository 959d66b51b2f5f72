"""What Dagster shows of a training: few rows that count, and verdicts that warn and stop nothing."""

import datetime as dt
from dataclasses import replace

import dagster as dg
import pytest

from churn_assets.assets.model import CHURN_PREDICTION_MODEL
from churn_assets.assets.training_results import (
    BEATS_RECENCY,
    ENOUGH_ROWS,
    PASSES_GATE,
    check_results,
    check_specs,
    training_metadata,
)
from churn_assets.automation.alerts.lasting_problems import lasting_incidents
from churn_assets.dates import DateRange
from churn_assets.model.data.dataset import Split
from churn_assets.model.gate.decision import Decision, Difference
from churn_assets.model.gate.slices import Slice
from churn_assets.model.training import TrainingOutcome
from churn_assets_tests.conftest import MakeSettings

DAYS = [DateRange(dt.date(2026, month, 1), dt.date(2026, month, 28)) for month in (1, 2, 3)]
BETTER = Difference("brier", 0.08, 0.1, low=-0.03, high=-0.01)
SAME = Difference("roc_auc", 0.9, 0.89, low=-0.01, high=0.03)
DECISION = Decision(
    promoted=True,
    reasons=("Brier is better.",),
    against="champion",
    challenger={"brier": 0.08, "roc_auc": 0.9},
    champion={"brier": 0.1, "roc_auc": 0.89},
    floor={"brier": 0.12, "roc_auc": 0.8},
    differences=(BETTER, SAME),
    slices=(Slice("country *DE*", 1_200, 0.25, 0.91, 0.88, 0.93, 0.9),),
)
PROMOTED = TrainingOutcome(
    "promoted",
    50_000,
    "run",
    reason="Brier is better.",
    version="4",
    estimator="logistic_regression",
    split=Split(*DAYS),
    training_rows=30_000,
    holdout_rows=12_000,
    metrics={"brier": 0.0812345, "roc_auc": 0.9, "pr_auc": 0.6},
    decision=DECISION,
    champion_version="3",
    report="reports/model-4.html",
    sketches={"roc": "![ROC](<data:image/svg+xml,...>)"},
)
REFUSED = replace(
    PROMOTED,
    status="refused",
    reason="Country *DE* falls short.",
    decision=replace(DECISION, promoted=False),
)
SKIPPED = TrainingOutcome("skipped_insufficient_data", 900, "run", reason="900 labelled rows are too few.")


def results(outcome: TrainingOutcome) -> dict[str | None, dg.AssetCheckResult]:
    return {result.check_name: result for result in check_results(outcome)}


def passed(outcome: TrainingOutcome) -> dict[str | None, bool]:
    return {name: result.passed for name, result in results(outcome).items()}


def test_a_promoted_version_passes_all_its_checks() -> None:
    assert passed(PROMOTED) == {ENOUGH_ROWS: True, BEATS_RECENCY: True, PASSES_GATE: True}
    assert results(PROMOTED)[PASSES_GATE].description == "Version 4 is promoted. Brier is better."


def test_a_refused_version_is_a_warning_with_the_gates_reason_as_plain_text() -> None:
    found = results(REFUSED)[PASSES_GATE]

    assert passed(REFUSED) == {ENOUGH_ROWS: True, BEATS_RECENCY: True, PASSES_GATE: False}
    assert found.severity == dg.AssetCheckSeverity.WARN
    assert found.description == r"Version 4 is refused. Country \*DE\* falls short."
    slices = found.metadata["slices"]
    assert isinstance(slices, dg.TableMetadataValue)
    [row] = slices.records
    assert row.data == {
        "slice": "country *DE*",
        "rows": "1,200",
        "churn rate": "25.0%",
        "ROC AUC": "0.910",
        "95 %": "0.880 to 0.930",
    }


@pytest.mark.parametrize("worse", [{"brier": 0.13, "roc_auc": 0.9}, {"brier": 0.08, "roc_auc": 0.79}])
def test_a_version_that_is_worse_than_recency_in_either_metric_is_a_warning(worse: dict[str, float]) -> None:
    outcome = replace(REFUSED, decision=replace(DECISION, challenger=worse))

    assert passed(outcome)[BEATS_RECENCY] is False
    assert results(outcome)[BEATS_RECENCY].severity == dg.AssetCheckSeverity.WARN


def test_a_version_that_could_not_be_judged_beats_nothing() -> None:
    broken = Decision(promoted=False, reasons=("The holdout has no row.",), against="recency")

    found = results(replace(REFUSED, decision=broken))

    assert found[BEATS_RECENCY].description == "It could not be judged. The holdout has no row."
    assert not found[BEATS_RECENCY].passed
    assert not found[PASSES_GATE].passed


def test_too_few_rows_warn_and_nothing_else_is_judged() -> None:
    assert passed(SKIPPED) == {ENOUGH_ROWS: False, BEATS_RECENCY: True, PASSES_GATE: True}
    assert results(SKIPPED)[ENOUGH_ROWS].description == "900 labelled rows are too few."
    assert training_metadata(SKIPPED, 40) == {
        "status": "skipped_insufficient_data",
        "reason": "900 labelled rows are too few.",
        "labelled_rows": 900,
        "unlabelled_rows": 40,
    }


@pytest.mark.parametrize("outcome", [PROMOTED, REFUSED, SKIPPED], ids=lambda outcome: outcome.status)
def test_every_training_answers_every_check_and_no_check_blocks(outcome: TrainingOutcome) -> None:
    assert [result.check_name for result in check_results(outcome)] == [spec.name for spec in check_specs()]
    assert not any(spec.blocking for spec in check_specs())


def test_what_reads_the_model_is_computed_in_the_run_of_a_refused_training() -> None:
    @dg.asset(key=CHURN_PREDICTION_MODEL, check_specs=check_specs())
    def model() -> dg.MaterializeResult:
        return dg.MaterializeResult(check_results=check_results(REFUSED))

    @dg.asset(deps=[model])
    def predictions() -> None: ...

    run = dg.materialize([model, predictions])

    assert run.success
    assert [event.asset_key.path[-1] for event in run.get_asset_materialization_events() if event.asset_key][
        -1
    ] == "predictions"


def test_a_refused_version_is_no_incident_that_an_alert_tells(
    instance: dg.DagsterInstance, make_settings: MakeSettings
) -> None:
    keys = [dg.AssetCheckKey(CHURN_PREDICTION_MODEL, spec.name) for spec in check_specs()]
    for result in check_results(REFUSED):
        instance.report_runless_asset_event(
            dg.AssetCheckEvaluation(
                asset_key=CHURN_PREDICTION_MODEL,
                check_name=str(result.check_name),
                passed=result.passed,
                severity=result.severity,
            )
        )

    assert lasting_incidents(instance, make_settings(), [], keys, dt.datetime.now(dt.UTC)) == {}


def test_the_metadata_are_few_begin_with_the_verdict_and_hold_one_table() -> None:
    metadata = training_metadata(PROMOTED, 7)

    assert list(metadata)[:5] == ["status", "reason", "model_version", "champion_version", "evaluation"]
    assert len(metadata) <= 15
    assert max(map(len, metadata)) <= len("calibration_curve")
    tables = [name for name, value in metadata.items() if isinstance(value, dg.TableMetadataValue)]
    assert tables == ["evaluation"]
    assert [list(row.data.values()) for row in metadata["evaluation"].records] == [
        ["Brier", "better", "0.0800", "0.1000", "-0.0300 to -0.0100"],
        ["ROC AUC", "within noise", "0.9000", "0.8900", "-0.0100 to +0.0300"],
    ]
    # Numbers, as those are plotted over the trainings.
    assert (metadata["roc_auc"], metadata["brier"]) == (0.9, 0.08123)
    assert metadata["trained_on"] == (
        f"logistic_regression on 30,000 rows of {DAYS[0]}, calibrated on {DAYS[1]}, "
        f"judged on 12,000 rows of {DAYS[2]}"
    )
