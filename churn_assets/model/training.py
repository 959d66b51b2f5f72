"""One training: from labelled rows to a registered version that the gate promotes or refuses."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from churn_assets.errors import ModelError
from churn_assets.model.candidates import calibration, candidates
from churn_assets.model.candidates.candidates import Calibrated, Candidate
from churn_assets.model.candidates.estimators import FLOOR, FORMULA
from churn_assets.model.data import countries, dataset
from churn_assets.model.data.churn_definition import ChurnDefinition
from churn_assets.model.data.dataset import Frames, Split
from churn_assets.model.gate import judging
from churn_assets.model.gate.decision import Decision
from churn_assets.model.gate.judging import Judgement
from churn_assets.model.logged import packaging, tracking
from churn_assets.model.metrics import evaluation
from churn_assets.model.registry import drift_reference, promotions, registry
from churn_assets.model.report import reporting
from churn_assets.settings import Settings
from churn_assets.transforms.drift import Reference

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

Status = Literal["promoted", "refused", "skipped_insufficient_data"]
Log = Callable[[str], None]


@dataclass(frozen=True)
class TrainingOutcome:
    """What a training led to.

    ``rows`` are all labelled rows there were. ``reason`` says why the version was promoted or refused, or why
    there is none; without one, what follows it is empty. ``report`` is where the report lies.
    ``constant_features`` are those that have one value in all training rows.
    """

    status: Status
    rows: int
    run_id: str
    reason: str = ""
    version: str | None = None
    estimator: str | None = None
    split: Split | None = None
    training_rows: int = 0
    holdout_rows: int = 0
    constant_features: list[str] = field(default_factory=list)
    metrics: dict[str, float] = field(default_factory=dict)
    decision: Decision | None = None
    champion_version: str | None = None
    report: str = ""
    pictures: dict[str, bytes] = field(default_factory=dict)


def train_and_register(  # noqa: PLR0913 - named, and the asset that calls it has each at hand
    labelled: "DataFrame",
    *,
    mlflow: Any,
    settings: Settings,
    delta_versions: Mapping[str, int],
    estimator: str = candidates.AUTO,
    params: Mapping[str, Any] | None = None,
    users: "DataFrame | None" = None,
    flow: Mapping[str, int] | None = None,
    log: Log | None = None,
) -> TrainingOutcome:
    """Train on the earlier mature dates, judge on the last ones, register, and promote what is better.

    Too few rows or dates are no failure, nor is a model that is not better: the outcome says so, and the
    Production model goes on serving.

    Args:
        labelled: what ``dataset.labelled_rows`` returns, of all mature dates.
        mlflow: dagster-mlflow's resource. The run that it opened is ended here, FINISHED or FAILED.
        settings: of the deployment; ``registry.configure`` has been called with them.
        delta_versions: version of each Delta table read, by the table's three-level name.
        estimator: one of ``estimators.ESTIMATORS``, or ``candidates.AUTO``, where all of them compete.
        params: parameters of a named estimator that win over its defaults; values that JSON can hold.
        users: ``clean.users``, for the countries of the gate's slices.
        flow: rows of the tables before these, for the report.
        log: told what has been done.

    Raises:
        ModelError: estimator or parameters are wrong, or the rows cannot be learned from.
    """
    from churn_assets.model.logged import lineage

    tell = log or (lambda _: None)
    with tracking.ending_the_run(mlflow) as run_id:
        lineage.log_tables_read(mlflow, delta_versions)
        mlflow.set_tags({**ChurnDefinition.of(settings).tags(), **lineage.git_sha()})
        mlflow.set_tags({"estimator": estimator, "estimator_params": json.dumps(dict(params or {}))})
        mlflow.set_tag("python_packages", tracking.packages())
        # Wrong ones fail before anything is read.
        candidates.entrants(estimator, params)
        by_date = dataset.rows_by_date(labelled)
        rows = sum(by_date.values())
        mlflow.log_metric("labelled_rows", rows)
        try:
            dataset.require_minimum(rows)
            split = dataset.out_of_time_split(by_date, settings.horizon_days)
        except ModelError as reason:
            mlflow.set_tags({"status": "skipped_insufficient_data", "reason": str(reason)})
            return TrainingOutcome("skipped_insufficient_data", rows, run_id, reason=str(reason))

        tracking.log_split(mlflow, split, settings.training_rows)
        frames = dataset.frames(labelled, split, settings.training_rows)
        constant = dataset.constant_features(frames.train)
        if constant:
            mlflow.set_tag("constant_features", ", ".join(constant))
            tell(f"One value in all {len(frames.train):,} training rows: {', '.join(constant)}")
        if users is not None:
            frames = frames._replace(holdout=countries.with_country(frames.holdout, users))

        def done(candidate: Candidate, number: int, of: int) -> None:
            tracking.log_candidate(mlflow, candidate)
            tell(f"Candidate {number} of at most {of}, {candidate.name}: {tracking.in_words(candidate)}")

        found = candidates.compete(
            frames,
            estimator=estimator,
            params=params,
            seconds=settings.training_seconds,
            horizon_days=settings.horizon_days,
            staying_types=settings.staying_types,
            done=done,
        )
        best = found[0]
        if estimator == candidates.AUTO and registry.production_version(settings) is None:
            best = judging.first_model(frames, found, judging.costs(settings))
            found = [best, *(one for one in found if one is not best)]
        winner = candidates.calibrated(best, frames.calibration)
        floor, formula = (judging.fitted(found, name) for name in (FLOOR, FORMULA))
        judgement = judging.judge(
            settings, frames, winner.estimator, floor and floor.fitted, formula and formula.fitted
        )
        metrics = _log_winner(mlflow, frames, best, winner, judgement)
        reference = _log_reference(mlflow, frames, judgement)
        model, without = winner.estimator, None
        if dataset.has_history(frames.train):
            without = candidates.fallback(frames, settings.training_seconds)
            model = candidates.together(model, without[1].estimator)
            tell(f"Rows without a history: {_judged_without_history(mlflow, frames, without[1])}")
        _log_spec(mlflow, best, winner, without)
        uri = packaging.log_churn_model(mlflow, model, frames.train.head(3))
        version = str(registry.register(settings, uri, run_id).version)
        trained = reporting.Trained(
            version=version,
            run_id=run_id,
            split=split,
            frames=frames,
            candidates=found,
            winner=winner,
            judgement=judgement,
            delta_versions=delta_versions,
            reference=reference,
            flow={**(flow or {}), "labelled rows": rows},
            constant_features=constant,
        )
        written = reporting.write(mlflow, settings, trained)
        status, reason = _decide(mlflow, settings, version, judgement)
    tell(f"Version {version} is {status}. {reason}")
    return TrainingOutcome(
        status,
        rows,
        run_id,
        reason=reason,
        version=version,
        estimator=best.estimator_name,
        split=split,
        training_rows=len(frames.train),
        holdout_rows=len(frames.holdout),
        constant_features=constant,
        metrics=metrics,
        decision=judgement.decision,
        champion_version=judgement.champion_version,
        report=written.where,
        pictures=written.pictures,
    )


def _log_winner(
    mlflow: Any, frames: Frames, best: Candidate, winner: Calibrated, judgement: Judgement
) -> dict[str, float]:
    """What the version is, and how good."""
    if winner.bounds:
        mlflow.set_tag(tracking.BOUNDS, json.dumps(winner.bounds))
    mlflow.log_params({"estimator": best.estimator_name, "calibration": winner.method, **best.params})
    decision = judgement.decision
    metrics = {**decision.challenger, "holdout_rows": float(len(frames.holdout))}
    metrics.pop("rows", None)
    for who, judged in (("recency", decision.floor), ("bg_nbd", decision.formula)):
        if "roc_auc" in judged:
            metrics[f"{who}_roc_auc"] = judged["roc_auc"]
    mlflow.log_metrics({**metrics, "training_rows": len(frames.train)})
    mlflow.log_metrics({name: float(value) for name, value in dataset.describe(frames).items()})
    mlflow.log_dict(decision.as_json(), "decision.json")
    return metrics


def _log_spec(
    mlflow: Any, best: Candidate, winner: Calibrated, without: tuple[Candidate, Calibrated] | None
) -> None:
    """That from which the version can be made again."""
    spec = _spec(best, winner)
    if without:
        spec["fallback"] = _spec(*without)
    mlflow.set_tag("spec", json.dumps(spec))


def _spec(candidate: Candidate, made: Calibrated) -> dict[str, Any]:
    return {"estimator": candidate.estimator_name, "params": candidate.params, "calibration": made.method}


def _judged_without_history(mlflow: Any, frames: Frames, made: Calibrated) -> str:
    """How good the model is that answers rows without a history, in words."""
    rows = dataset.without_history(frames).holdout
    try:
        found = evaluation.evaluate(rows["label"], calibration.probability(made.estimator, rows))
    except Exception as error:  # noqa: BLE001 - the gate has said so, and decided
        return f"cannot be judged: {error}"
    shown = {name: found[name] for name in ("roc_auc", "brier", "calibration_error")}
    mlflow.log_metrics({f"without_history_{name}": value for name, value in shown.items()})
    return ", ".join(f"{name} {value:.4f}" for name, value in shown.items())


def _log_reference(mlflow: Any, frames: Frames, judgement: Judgement) -> Reference | None:
    """What later dates are compared with; nothing where there is no holdout to be like."""
    if not len(judgement.challenger):
        return None
    made = drift_reference.make_reference(
        frames.train, judgement.challenger, frames.holdout["user_id"].to_numpy()
    )
    mlflow.log_dict(made, drift_reference.ARTIFACT)
    return drift_reference.reference_of(made)


def _decide(mlflow: Any, settings: Settings, version: str, judgement: Judgement) -> tuple[Status, str]:
    """Write the decision where it will be looked for, then act on it: the alias moves last."""
    decision = judgement.decision
    status: Status = "promoted" if decision.promoted else "refused"
    reason = " ".join(decision.reasons)
    about = {
        "champion_version": judgement.champion_version or "none",
        **ChurnDefinition.of(settings).tags(),
        "dagster_run_id": str(mlflow.dagster_run_id),
        "dagster_run_url": f"{settings.dagster_url}/runs/{mlflow.dagster_run_id}",
        **{name: f"{value:.6f}" for name, value in decision.challenger.items()},
    }
    registry.tag_version(settings, version, {**about, **_verdict(status, reason)})
    if decision.promoted:
        try:
            promotions.promote(
                settings, version, cause="gate", reason=reason, replaces=judgement.champion_version
            )
        except ModelError as moved:
            # Somebody moved the alias meanwhile: what was compared with another champion is void.
            status, reason = "refused", str(moved)
            registry.tag_version(settings, version, _verdict(status, reason))
    mlflow.set_tags(
        {"status": status, "reason": reason[: promotions.LONGEST_REASON], "model_version": version}
    )
    return status, reason


def _verdict(status: Status, reason: str) -> dict[str, str]:
    return {"decision": status, "decision_reason": reason[: promotions.LONGEST_REASON]}
