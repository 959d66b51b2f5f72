"""A training's report: gathered, rendered, and put where MLflow and people find it."""

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from churn_assets.model.candidates.candidates import Calibrated, Candidate
from churn_assets.model.data.churn_definition import ChurnDefinition
from churn_assets.model.data.dataset import Frames, Split, describe
from churn_assets.model.gate import judging
from churn_assets.model.gate.judging import Judgement
from churn_assets.model.logged import lineage, tracking
from churn_assets.model.metrics import importances
from churn_assets.model.registry import drift_reference
from churn_assets.model.report import place, report
from churn_assets.settings import Settings
from churn_assets.tables import SCORE
from churn_assets.transforms.drift import Reference

# Of the frames, for people.
NAMES = {"train": "training", "calibration": "calibration", "holdout": "holdout"}


@dataclass(frozen=True)
class Trained:
    """All that a training knows at its end."""

    version: str
    run_id: str
    split: Split
    frames: Frames
    candidates: Sequence[Candidate]
    winner: Calibrated
    judgement: Judgement
    reference: Reference | None
    delta_versions: Mapping[str, int] = field(default_factory=dict)
    flow: Mapping[str, object] = field(default_factory=dict)
    constant_features: Sequence[str] = ()


@dataclass(frozen=True)
class Written:
    """Where the report lies, a path or a URI, and its pictures as PNG by name."""

    where: str
    pictures: dict[str, bytes]


def write(mlflow: Any, settings: Settings, trained: Trained) -> Written:
    """Render the report, and log it as an artifact of the run; a lake that is a folder gets a copy."""
    content = _content(settings, trained)
    page = report.render(content)
    mlflow.log_text(page, place.FILE)
    if copy := place.copy_in_the_lake(settings, trained.version):
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(page)
    where = place.where(settings, trained.version, trained.run_id)
    return Written(where, report.pictures(content))


def _content(settings: Settings, trained: Trained) -> report.ReportContent:
    judgement, frames = trained.judgement, trained.frames
    definition = ChurnDefinition.of(settings)
    return report.ReportContent(
        title=f"Churn model, version {trained.version}",
        created_at=dt.datetime.now(dt.UTC),
        decision=judgement.decision,
        costs=judging.costs(settings),
        label=frames.holdout["label"].to_numpy(dtype="float64"),
        challenger=judgement.challenger,
        champion=judgement.champion,
        floor=judgement.floor,
        holdout=frames.holdout,
        version=trained.version,
        champion_version=judgement.champion_version,
        candidates=trained.candidates,
        calibrated=trained.winner,
        importances=importances.importances(trained.winner.estimator, frames.holdout),
        constant_features=trained.constant_features,
        drift=_drift(trained),
        drift_warn=settings.drift_warn,
        drift_fail=settings.drift_fail,
        slice_floor=settings.gate_slice_auc,
        flow={**trained.flow, **_dates(trained.split), **_counts(frames)},
        provenance={
            "model version": trained.version,
            "MLflow run": trained.run_id,
            "commit": lineage.git_sha().get("git_sha", "not known"),
            "Delta versions": dict(trained.delta_versions),
            "estimator": trained.candidates[0].estimator_name,
            "parameters": dict(trained.candidates[0].params),
            "calibration": trained.winner.method,
            "horizon, days": definition.horizon_days,
            "events that count": definition.label_event_types,
            "packages": json.loads(tracking.packages()),
        },
    )


def _drift(trained: Trained) -> list[drift_reference.Drift]:
    if trained.reference is None:
        return []
    found = drift_reference.drift(trained.reference, trained.frames.holdout, trained.judgement.challenger)
    # The holdout's scores are their own reference.
    return [one for one in found if one.feature != SCORE]


def _dates(split: Split) -> dict[str, str]:
    return {f"{NAMES[name]} dates": str(dates) for name, dates in split._asdict().items()}


def _counts(frames: Frames) -> dict[str, object]:
    found = describe(frames)
    counts: dict[str, object] = {}
    for frame, name in NAMES.items():
        counts[f"{name} rows"] = found[f"{frame}_rows"]
        counts[f"{name} users"] = found[f"{frame}_users"]
        if f"{frame}_churn_rate" in found:
            counts[f"of the {name} rows churned"] = f"{found[f'{frame}_churn_rate']:.1%}".replace("%", " %")
    return counts
