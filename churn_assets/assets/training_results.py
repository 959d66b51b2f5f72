"""What a training came to, as Dagster shows it: metadata of the model, and the verdicts as its checks.

Markdown of less than 1,000 characters and tables are shown where they stand, numbers are plotted over the
trainings. The longest key and the widest table push what is right of them out of sight, so keys are short and
there is one table, a narrow one.
"""

from typing import TYPE_CHECKING, Any

import dagster as dg

from churn_assets import asset_paths, markdown

if TYPE_CHECKING:
    from churn_assets.model.gate.decision import Decision, Difference
    from churn_assets.model.gate.slices import Slice
    from churn_assets.model.training import TrainingOutcome

# The entry of a training's metadata that names them, where there are any.
CONSTANT_FEATURES = "constant_features"

ENOUGH_ROWS = "enough_labelled_rows"
BEATS_RECENCY = "beats_recency"
PASSES_GATE = "passes_gate"

DESCRIPTIONS = {
    ENOUGH_ROWS: "There were enough labelled rows and dates to train on.",
    BEATS_RECENCY: "On the holdout the trained version is better than the days since the last event alone, "
    "in Brier score and ROC AUC.",
    PASSES_GATE: "The gate made the trained version Production. One that is refused is no failure: the "
    "Production version goes on serving.",
}

# Of figures; MLflow has them unrounded.
DIGITS = 5


def check_specs() -> list[dg.AssetCheckSpec]:
    """Return the checks that each training answers. None blocks: Production goes on."""
    return [
        dg.AssetCheckSpec(name, asset=dg.AssetKey(asset_paths.MODEL), description=description)
        for name, description in DESCRIPTIONS.items()
    ]


def check_results(outcome: "TrainingOutcome") -> list[dg.AssetCheckResult]:
    """Return a training's verdicts, all of them warnings where they are bad."""
    if outcome.decision is None:
        nothing = "Nothing was trained, so there is nothing to judge."
        return [
            _result(ENOUGH_ROWS, outcome.reason, passed=False),
            *(_result(name, nothing, passed=True) for name in (BEATS_RECENCY, PASSES_GATE)),
        ]
    decision, promoted = outcome.decision, outcome.status == "promoted"
    slices = {"slices": _slices(decision.slices)} if decision.slices else {}
    return [
        _result(ENOUGH_ROWS, f"{outcome.rows:,} labelled rows.", passed=True),
        _beats_recency(decision),
        _result(
            PASSES_GATE,
            " ".join((f"Version {outcome.version} is {outcome.status}. {outcome.reason}", *decision.notes)),
            passed=promoted,
            **slices,
        ),
    ]


def training_metadata(outcome: "TrainingOutcome", rows_without_label: int) -> dict[str, Any]:
    """Return the metadata of a training, what matters most first.

    Args:
        outcome: of the training.
        rows_without_label: feature rows whose horizon is not over.
    """
    verdict = {"status": outcome.status, "reason": outcome.reason}
    rows = {"labelled_rows": outcome.rows, "unlabelled_rows": rows_without_label}
    split = outcome.split
    if outcome.version is None or outcome.decision is None or split is None:
        return verdict | rows
    metrics = outcome.metrics
    return {
        **verdict,
        "model_version": outcome.version,
        "champion_version": outcome.champion_version or "none",
        **({"evaluation": _evaluation(outcome.decision)} if outcome.decision.differences else {}),
        **{name: round(metrics[name], DIGITS) for name in ("roc_auc", "brier", "profit") if name in metrics},
        **{f"{name}_curve": dg.MetadataValue.md(sketch) for name, sketch in outcome.sketches.items()},
        "trained_on": f"{outcome.estimator} on {outcome.training_rows:,} rows of {split.train}, "
        f"calibrated on {split.calibration}, judged on {outcome.holdout_rows:,} rows of {split.holdout}",
        **({CONSTANT_FEATURES: ", ".join(outcome.constant_features)} if outcome.constant_features else {}),
        **rows,
        "report": dg.MetadataValue.path(outcome.report),
    }


def _beats_recency(decision: "Decision") -> dg.AssetCheckResult:
    ours, theirs = decision.challenger, decision.floor
    if not ours or not theirs:
        return _result(BEATS_RECENCY, f"It could not be judged. {' '.join(decision.reasons)}", passed=False)
    says = (
        f"ROC AUC {ours['roc_auc']:.3f} against {theirs['roc_auc']:.3f} of recency alone, Brier score "
        f"{ours['brier']:.4f} against {theirs['brier']:.4f}."
    )
    figures = {
        f"{prefix}{name}": round(of[name], DIGITS)
        for name in ("roc_auc", "brier")
        for prefix, of in (("", ours), ("recency_", theirs))
    }
    is_better = ours["roc_auc"] > theirs["roc_auc"] and ours["brier"] < theirs["brier"]
    return _result(BEATS_RECENCY, says, passed=is_better, **figures)


def _result(name: str, says: str, *, passed: bool, **metadata: Any) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        asset_key=dg.AssetKey(asset_paths.MODEL),
        check_name=name,
        passed=passed,
        # An error is an alert, and asks somebody to act.
        severity=dg.AssetCheckSeverity.WARN,
        # Shown as Markdown; slices are named after countries as they landed.
        description=markdown.text(says),
        metadata=metadata,
    )


def _evaluation(decision: "Decision") -> dg.TableMetadataValue:
    """Compare challenger and champion, or recency alone, with the 95 % interval of the difference."""
    from churn_assets.model.gate.decision import TITLES

    names = ("metric", "verdict", "challenger", decision.against, "difference, 95 %")
    rows = [
        (
            TITLES[one.metric],
            "better" if one.is_better else "worse" if one.is_worse else "within noise",
            _shown(one, one.challenger),
            _shown(one, one.champion),
            f"{_shown(one, one.low, '+')} to {_shown(one, one.high, '+')}",
        )
        for one in decision.differences
    ]
    return _table(names, rows)


def _shown(difference: "Difference", value: float, sign: str = "") -> str:
    return f"{value:{sign},.{1 if difference.metric == 'profit' else 4}f}"


def _slices(slices: "tuple[Slice, ...]") -> dg.TableMetadataValue:
    names = ("slice", "rows", "churn rate", "ROC AUC", "95 %")
    return _table(
        names,
        [
            (
                part.name,
                f"{part.rows:,}",
                f"{part.churn_rate:.1%}",
                f"{part.roc_auc:.3f}",
                f"{part.low:.3f} to {part.high:.3f}",
            )
            for part in slices
        ],
    )


def _table(names: tuple[str, ...], rows: list[tuple[str, ...]]) -> dg.TableMetadataValue:
    return dg.MetadataValue.table(
        [dg.TableRecord(dict(zip(names, row, strict=True))) for row in rows],
        schema=dg.TableSchema([dg.TableColumn(name, "string") for name in names]),
    )
