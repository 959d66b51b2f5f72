"""One training: from labelled rows to a registered version that the gate promotes or refuses."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from churn_assets.errors import ModelError, WorkspaceError
from churn_assets.model.candidates import calibration, competition, entrants, fitting
from churn_assets.model.candidates.competition import Calibrated
from churn_assets.model.candidates.estimators import FLOOR, FORMULA
from churn_assets.model.candidates.fitting import Candidate
from churn_assets.model.data import countries, dataset
from churn_assets.model.data.churn_definition import ChurnDefinition
from churn_assets.model.data.dataset import Frames, Split
from churn_assets.model.gate import judging
from churn_assets.model.gate.decision import Decision
from churn_assets.model.gate.judging import Champion, Judgement
from churn_assets.model.logged import packaging, tracking
from churn_assets.model.metrics import evaluation
from churn_assets.model.metrics.evaluation import CostMatrix
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
    """The result of a training.

    ``rows`` counts all labelled rows. ``reason`` says why the version was promoted or refused, or why there
    is none; the fields after ``reason`` are empty where there is no version. ``report`` is a path or a URI.
    ``constant_features`` are those that have one value in all training rows, ``sketches`` small pictures as
    Markdown.
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
    sketches: dict[str, str] = field(default_factory=dict)


class _Judged(NamedTuple):
    """The judgement, the metrics that were logged, and the reference that later dates are compared with."""

    judgement: Judgement
    metrics: dict[str, float]
    reference: Reference | None


class _Published(NamedTuple):
    """The registered version, its report, and the gate's verdict on it."""

    version: str
    report: reporting.Written
    status: Status
    reason: str


def train_and_register(  # noqa: PLR0913 - named, and the asset that calls it has each at hand
    labelled: "DataFrame",
    *,
    mlflow: Any,
    settings: Settings,
    delta_versions: Mapping[str, int],
    estimator: str = entrants.AUTO,
    params: Mapping[str, Any] | None = None,
    users: "DataFrame | None" = None,
    flow: Mapping[str, int] | None = None,
    save_rate: float | None = None,
    save_rate_says: str = "",
    log: Log | None = None,
) -> TrainingOutcome:
    """Train on the earlier mature dates, judge on the last ones, register, and promote a better version.

    Too few rows or dates are no failure, nor is a model that is not better: the outcome says so, and the
    Production model goes on serving.

    Args:
        labelled: what ``dataset.labelled_rows`` returns, of all mature dates.
        mlflow: dagster-mlflow's resource. The run that it opened is ended here, FINISHED or FAILED.
        settings: of the deployment; ``registry.configure`` has been called with them.
        delta_versions: version of each Delta table read, by the table's three-level name.
        estimator: one of ``estimators.ESTIMATORS``, or ``entrants.AUTO``, where all of them compete.
        params: parameters of a named estimator that override its defaults; values that JSON can hold.
        users: ``clean.users``, for the countries of the gate's slices.
        flow: rows of the upstream tables, for the report.
        save_rate: the share of would-be churners whom a contact saves; ``CHURN_SAVE_RATE`` without it.
        save_rate_says: where that comes from, for the report.
        log: called with a line for each step that is done.

    Raises:
        ModelError: estimator or parameters are wrong, or the rows cannot be learned from.
        WorkspaceError: Unity Catalog does not let this user register or promote.
    """
    log = log or (lambda _: None)
    definition, costs = ChurnDefinition.of(settings), judging.costs(settings, save_rate)
    with tracking.training_run(mlflow) as run_id:
        _log_request(mlflow, settings, delta_versions, estimator, params or {})
        mlflow.set_tag("save_rate", save_rate_says or f"{costs.save_rate:g}")
        # A wrong name or parameter fails before any row is read.
        entrants.entrants(estimator, params)
        rows_by_date = dataset.rows_by_date(labelled)
        rows = sum(rows_by_date.values())
        mlflow.log_metric("labelled_rows", rows)
        try:
            dataset.require_minimum(rows)
            split = dataset.out_of_time_split(rows_by_date, settings.horizon_days)
        except ModelError as error:
            mlflow.set_tags({"status": "skipped_insufficient_data", "reason": str(error)})
            return TrainingOutcome("skipped_insufficient_data", rows, run_id, reason=str(error))

        frames, constant_features = _prepare(mlflow, labelled, split, settings.training_rows, log)
        if users is not None:
            frames = frames._replace(holdout=countries.with_country(frames.holdout, users))
        candidates = _compete(
            mlflow,
            frames,
            estimator=estimator,
            params=params,
            seconds=settings.training_seconds,
            definition=definition,
            log=log,
        )
        if estimator == entrants.AUTO and registry.production_version(settings) is None:
            first = judging.first_model(frames, candidates, costs)
            candidates = [first, *(candidate for candidate in candidates if candidate is not first)]
        winner = competition.calibrate(candidates[0], frames.calibration)
        judged = _judge(
            mlflow,
            frames,
            candidates,
            winner,
            champion=judging.champion(settings, frames.holdout),
            costs=costs,
            slice_floor=settings.gate_slice_auc,
        )
        trained = reporting.Trained(
            run_id=run_id,
            split=split,
            frames=frames,
            candidates=candidates,
            winner=winner,
            judgement=judged.judgement,
            delta_versions=delta_versions,
            reference=judged.reference,
            flow={**(flow or {}), "labelled rows": rows},
            constant_features=constant_features,
            costs=costs,
            save_rate_says=save_rate_says,
        )
        published = _publish(mlflow, settings, trained, log)
    log(f"Version {published.version} is {published.status}. {published.reason}")
    return TrainingOutcome(
        published.status,
        rows,
        run_id,
        reason=published.reason,
        version=published.version,
        estimator=candidates[0].estimator_name,
        split=split,
        training_rows=len(frames.train),
        holdout_rows=len(frames.holdout),
        constant_features=constant_features,
        metrics=judged.metrics,
        decision=judged.judgement.decision,
        champion_version=judged.judgement.champion_version,
        report=published.report.location,
        sketches=published.report.sketches,
    )


def _log_request(
    mlflow: Any,
    settings: Settings,
    delta_versions: Mapping[str, int],
    estimator: str,
    params: Mapping[str, Any],
) -> None:
    """Log what the training reads, by which code, and what it was asked to train."""
    from churn_assets.model.logged import lineage

    lineage.log_tables_read(mlflow, settings, delta_versions)
    mlflow.set_tags({**ChurnDefinition.of(settings).tags(), **lineage.git_sha()})
    mlflow.set_tags({"estimator": estimator, "estimator_params": json.dumps(dict(params))})
    mlflow.set_tag("python_packages", tracking.packages())


def _prepare(
    mlflow: Any, labelled: "DataFrame", split: Split, training_rows: int, log: Log
) -> tuple[Frames, list[str]]:
    """Bring the rows of the split to this process; return them and their constant features."""
    tracking.log_split(mlflow, split, training_rows)
    frames = dataset.frames(labelled, split, training_rows)
    constant_features = dataset.constant_features(frames.train)
    if constant_features:
        listed = ", ".join(constant_features)
        mlflow.set_tag("constant_features", listed)
        log(f"One value in all {len(frames.train):,} training rows: {listed}")
    return frames, constant_features


def _compete(  # noqa: PLR0913 - each a value that a competition needs, and not all settings
    mlflow: Any,
    frames: Frames,
    *,
    estimator: str,
    params: Mapping[str, Any] | None,
    seconds: float,
    definition: ChurnDefinition,
    log: Log,
) -> list[Candidate]:
    """Fit the candidates, each logged as a run below the training's; return them, the winner first."""

    def log_fitted(candidate: Candidate, number: int, entered: int) -> None:
        tracking.log_candidate(mlflow, candidate)
        log(f"Candidate {number} of at most {entered}, {candidate.name}: {tracking.in_words(candidate)}")

    return competition.compete(
        frames,
        estimator=estimator,
        params=params,
        seconds=seconds,
        horizon_days=definition.horizon_days,
        staying_types=definition.staying_types,
        on_fitted=log_fitted,
    )


def _judge(  # noqa: PLR0913 - each a value that a judgement needs, and not all settings
    mlflow: Any,
    frames: Frames,
    candidates: Sequence[Candidate],
    winner: Calibrated,
    *,
    champion: Champion,
    costs: CostMatrix,
    slice_floor: float,
) -> _Judged:
    """Let the gate decide on the holdout, and log the decision and everything that it rests on."""
    floor, formula = (judging.fitted_candidate(candidates, name) for name in (FLOOR, FORMULA))
    judgement = judging.judge(
        frames,
        winner.estimator,
        floor and floor.fitted,
        formula and formula.fitted,
        champion=champion,
        costs=costs,
        slice_floor=slice_floor,
    )
    metrics = _log_winner(mlflow, frames, candidates[0], winner, judgement.decision)
    return _Judged(judgement, metrics, _log_reference(mlflow, frames, judgement))


def _log_winner(
    mlflow: Any, frames: Frames, candidate: Candidate, winner: Calibrated, decision: Decision
) -> dict[str, float]:
    """Log the winner's parameters, the decision and the metrics; return the metrics of the holdout."""
    if winner.bounds:
        mlflow.set_tag(tracking.BOUNDS, json.dumps(winner.bounds))
    mlflow.log_params(
        {"estimator": candidate.estimator_name, "calibration": winner.method, **candidate.params}
    )
    metrics = {**decision.challenger, "holdout_rows": float(len(frames.holdout))}
    metrics.pop("rows", None)
    for name, baseline in (("recency", decision.floor), ("bg_nbd", decision.formula)):
        if "roc_auc" in baseline:
            metrics[f"{name}_roc_auc"] = baseline["roc_auc"]
    mlflow.log_metrics({**metrics, "training_rows": len(frames.train)})
    mlflow.log_metrics({name: float(value) for name, value in dataset.describe(frames).items()})
    mlflow.log_dict(decision.as_json(), "decision.json")
    return metrics


def _log_reference(mlflow: Any, frames: Frames, judgement: Judgement) -> Reference | None:
    """Log the reference that later dates are compared with; None where the holdout has no scores."""
    if not len(judgement.challenger):
        return None
    content = drift_reference.make_reference(
        frames.train, judgement.challenger, frames.holdout["user_id"].to_numpy()
    )
    mlflow.log_dict(content, drift_reference.ARTIFACT)
    return drift_reference.reference_of(content)


def _publish(mlflow: Any, settings: Settings, trained: reporting.Trained, log: Log) -> _Published:
    """Log the model, register it, write its report, and act on the decision: the alias moves last."""
    candidate, frames = trained.candidates[0], trained.frames
    model, fallback = trained.winner.estimator, None
    if dataset.has_history(frames.train):
        fallback = competition.fit_fallback(frames, settings.training_seconds)
        model = fitting.with_fallback(model, fallback[1].estimator)
        log(f"Rows without a history: {_log_fallback(mlflow, frames, fallback[1])}")
    _log_spec(mlflow, (candidate, trained.winner), fallback)
    uri = packaging.log_churn_model(mlflow, model, frames.train.head(3))
    version = str(registry.register(settings, uri, trained.run_id).version)
    report = reporting.write(mlflow, settings, trained, version)
    return _Published(version, report, *_decide(mlflow, settings, version, trained.judgement))


def _log_fallback(mlflow: Any, frames: Frames, fallback: Calibrated) -> str:
    """Log the metrics of the model for rows without a history, on the holdout; return them as text."""
    rows = dataset.without_history(frames).holdout
    try:
        metrics = evaluation.evaluate(rows["label"], calibration.churn_probability(fallback.estimator, rows))
    except Exception as error:  # noqa: BLE001 - the gate has said so, and decided
        return f"cannot be judged: {error}"
    shown = {name: metrics[name] for name in ("roc_auc", "brier", "calibration_error")}
    mlflow.log_metrics({f"without_history_{name}": value for name, value in shown.items()})
    return ", ".join(f"{name} {value:.4f}" for name, value in shown.items())


def _log_spec(
    mlflow: Any, winner: tuple[Candidate, Calibrated], fallback: tuple[Candidate, Calibrated] | None
) -> None:
    """Log the spec from which ``rebuilding.rebuild`` makes the version again."""
    spec = _spec(*winner)
    if fallback:
        spec["fallback"] = _spec(*fallback)
    mlflow.set_tag("spec", json.dumps(spec))


def _spec(candidate: Candidate, calibrated: Calibrated) -> dict[str, Any]:
    return {
        "estimator": candidate.estimator_name,
        "params": candidate.params,
        "calibration": calibrated.method,
    }


def _decide(mlflow: Any, settings: Settings, version: str, judgement: Judgement) -> tuple[Status, str]:
    """Tag the version with the decision, then move the alias if it is promoted; return status and reason."""
    decision = judgement.decision
    status: Status = "promoted" if decision.promoted else "refused"
    reason = " ".join(decision.reasons)
    facts = {
        "champion_version": judgement.champion_version or "none",
        **ChurnDefinition.of(settings).tags(),
        "dagster_run_id": str(mlflow.dagster_run_id),
        "dagster_run_url": f"{settings.dagster_url}/runs/{mlflow.dagster_run_id}",
        **{name: f"{value:.6f}" for name, value in decision.challenger.items()},
    }
    registry.tag_version(settings, version, {**facts, **_verdict_tags(status, reason)})
    if decision.promoted:
        try:
            promotions.promote(
                settings, version, cause="gate", reason=reason, replaces=judgement.champion_version
            )
        except ModelError as error:
            # The alias was moved meanwhile, so the comparison was with another champion, and is void.
            status, reason = "refused", str(error)
            registry.tag_version(settings, version, _verdict_tags(status, reason))
        except WorkspaceError as error:
            # The gate would have it, Unity Catalog not: its tags may not say that it is Production.
            registry.tag_version(settings, version, _verdict_tags("refused", str(error)))
            raise
    mlflow.set_tags(
        {"status": status, "reason": reason[: promotions.LONGEST_REASON], "model_version": version}
    )
    return status, reason


def _verdict_tags(status: Status, reason: str) -> dict[str, str]:
    return {"decision": status, "decision_reason": reason[: promotions.LONGEST_REASON]}
