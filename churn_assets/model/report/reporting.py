"""A training's report: its content gathered, rendered, and written to MLflow and the lake."""

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from churn_assets.model.candidates.competition import Calibrated
from churn_assets.model.candidates.fitting import Candidate
from churn_assets.model.data.churn_definition import ChurnDefinition
from churn_assets.model.data.dataset import Frames, Split, describe
from churn_assets.model.gate import judging
from churn_assets.model.gate.judging import Judgement
from churn_assets.model.logged import lineage, tracking
from churn_assets.model.metrics import importances
from churn_assets.model.metrics.evaluation import CostMatrix
from churn_assets.model.registry import drift_reference
from churn_assets.model.report import location, report, sketches
from churn_assets.settings import Settings
from churn_assets.tables import RETENTION_LIST, SCORE
from churn_assets.transforms.drift import Reference

# The frames' names in the report.
FRAME_NAMES = {"train": "training", "calibration": "calibration", "holdout": "holdout"}


@dataclass(frozen=True)
class Trained:
    """The results of a training, before its version is registered."""

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
    costs: CostMatrix | None = None
    save_rate_says: str = ""


@dataclass(frozen=True)
class Written:
    """The report's location, a path or a URI, and its sketches as Markdown by name."""

    location: str
    sketches: dict[str, str]


def write(mlflow: Any, settings: Settings, trained: Trained, version: str) -> Written:
    """Render the report of a version and log it as an artifact of the run; a lake in a folder gets a copy."""
    content = _content(settings, trained, version)
    page = report.render(content)
    mlflow.log_text(page, location.FILE)
    if copy := location.lake_copy(settings, version):
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(page)
    drawn = sketches.sketches(np.asarray(content.label, "float64"), content.scores, content.costs)
    return Written(location.report_location(settings, version, trained.run_id), drawn)


def _content(settings: Settings, trained: Trained, version: str) -> report.ReportContent:
    judgement, frames = trained.judgement, trained.frames
    definition = ChurnDefinition.of(settings)
    return report.ReportContent(
        title=f"Churn model, version {version}",
        created_at=dt.datetime.now(dt.UTC),
        decision=judgement.decision,
        costs=trained.costs or judging.costs(settings),
        save_rate_says=trained.save_rate_says,
        label=frames.holdout["label"].to_numpy(dtype="float64"),
        challenger=judgement.challenger,
        champion=judgement.champion,
        floor=judgement.floor,
        holdout=frames.holdout,
        version=version,
        champion_version=judgement.champion_version,
        candidates=trained.candidates,
        calibrated=trained.winner,
        importances=importances.importances(trained.winner.estimator, frames.holdout),
        constant_features=trained.constant_features,
        drift=_drift(trained),
        drift_warn=settings.drift_warn,
        drift_fail=settings.drift_fail,
        slice_floor=settings.gate_slice_auc,
        list_table=f"{settings.main_catalog}.{RETENTION_LIST.schema}.{RETENTION_LIST.name}",
        list_url="" if settings.deployment == "databricks" else f"{settings.endpoint_url}/",
        flow={**trained.flow, **_dates(trained.split), **_counts(frames)},
        provenance={
            "model version": version,
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
    drifts = drift_reference.drift(trained.reference, trained.frames.holdout, trained.judgement.challenger)
    # The holdout's scores are their own reference.
    return [drift for drift in drifts if drift.feature != SCORE]


def _dates(split: Split) -> dict[str, str]:
    return {f"{FRAME_NAMES[name]} dates": str(dates) for name, dates in split._asdict().items()}


def _counts(frames: Frames) -> dict[str, object]:
    description = describe(frames)
    counts: dict[str, object] = {}
    for frame, name in FRAME_NAMES.items():
        counts[f"{name} rows"] = description[f"{frame}_rows"]
        counts[f"{name} users"] = description[f"{frame}_users"]
        if f"{frame}_churn_rate" in description:
            counts[f"of the {name} rows churned"] = f"{description[f'{frame}_churn_rate']:.1%}".replace(
                "%", " %"
            )
    return counts
