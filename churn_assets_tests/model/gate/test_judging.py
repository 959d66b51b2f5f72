"""Challenger and champion on one holdout, each asked with its own features."""

from typing import Any

import numpy as np
import pytest

from churn_assets.model.candidates import estimators
from churn_assets.model.candidates.fitting import Candidate
from churn_assets.model.data.dataset import Frames
from churn_assets.model.gate import judging
from churn_assets.model.gate.judging import Judgement
from churn_assets.model.logged import packaging
from churn_assets.model.metrics.evaluation import DEFAULT_COSTS
from churn_assets.model.registry import registry
from churn_assets.settings import Settings
from churn_assets.tables import FEATURE_COLUMNS
from churn_assets_tests.model.conftest import OpenMlflow, labelled_frame

FRAME = labelled_frame(users=400, dates=2).astype(dict.fromkeys(FEATURE_COLUMNS, "float64"))
FRAMES = Frames(train=FRAME, calibration=FRAME, holdout=FRAME)


def judge(settings: Settings, *models: Any) -> Judgement:
    """Judge on ``FRAMES`` against what is in Production."""
    return judging.judge(
        FRAMES,
        *models,
        champion=judging.champion(settings, FRAMES.holdout),
        costs=DEFAULT_COSTS,
        slice_floor=settings.gate_slice_auc,
    )


def test_a_champion_from_before_a_feature_came_is_asked_with_its_own(
    settings: Settings, open_mlflow: OpenMlflow
) -> None:
    own = ["purchase_count_30d", "days_since_last_event"]
    champion, challenger = (
        estimators.make("hist_gradient_boosting", {"max_iter": 5}).fit(FRAME[columns], FRAME["label"])
        for columns in (own, FEATURE_COLUMNS)
    )
    floor = estimators.make(estimators.FLOOR).fit(FRAME[FEATURE_COLUMNS], FRAME["label"])
    with open_mlflow(settings) as mlflow:
        uri = packaging.log_churn_model(mlflow, champion, FRAME.head(2))
        version = registry.register(settings, uri, mlflow.active_run().info.run_id).version
        mlflow.end_run()
    registry.promote(settings, version)

    found = judge(settings, challenger, floor)

    assert found.champion_version == str(version)
    assert found.champion is not None
    assert np.array_equal(found.champion, champion.predict_proba(FRAME[own])[:, 1])
    assert not [reason for reason in found.decision.reasons if "cannot be compared" in reason]


class Says:
    """An estimator that gives these probabilities, whatever it is asked."""

    def __init__(self, churn: np.ndarray) -> None:
        self.churn = churn

    def predict_proba(self, _rows: object) -> np.ndarray:
        return np.column_stack([1 - self.churn, self.churn])


@pytest.mark.parametrize(
    ("better_by", "expected"), [(0.3, "average"), (0.0, "bg_nbd")], ids=["better", "as good"]
)
def test_the_first_model_is_bg_nbd_where_the_winner_is_not_better_beyond_noise(
    better_by: float, expected: str
) -> None:
    label = FRAME["label"].to_numpy("float64")
    chance = np.random.default_rng(3).uniform(0.3, 0.7, len(label))
    winner = Candidate("average", "average", {}, Says(chance + better_by * (label - chance)))
    formula = Candidate("bg_nbd", "bg_nbd", {}, Says(chance))

    found = judging.first_model(FRAMES, [winner, formula], DEFAULT_COSTS)

    assert found.name == expected


def test_bg_nbd_is_shown_beside_the_others_and_decides_nothing(
    settings: Settings, open_mlflow: OpenMlflow
) -> None:
    model = estimators.make("hist_gradient_boosting", {"max_iter": 5}).fit(
        FRAME[FEATURE_COLUMNS], FRAME["label"]
    )
    floor, formula = (
        estimators.make(name).fit(FRAME[FEATURE_COLUMNS], FRAME["label"])
        for name in (estimators.FLOOR, estimators.FORMULA)
    )

    shown = judge(settings, model, floor, formula).decision
    unshown = judge(settings, model, floor).decision

    assert 0.5 < shown.formula["roc_auc"] < 1
    assert unshown.formula == {}
    assert (shown.promoted, shown.reasons) == (unshown.promoted, unshown.reasons)
