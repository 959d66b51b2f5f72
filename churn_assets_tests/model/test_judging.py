"""Challenger and champion on one holdout, each asked with its own features."""

import numpy as np

from churn_assets.model import estimators, judging, packaging, registry
from churn_assets.model.dataset import Frames
from churn_assets.settings import Settings
from churn_assets.tables import FEATURE_COLUMNS
from churn_assets_tests.model.conftest import OpenMlflow, labelled_frame

FRAME = labelled_frame(users=400, dates=2).astype(dict.fromkeys(FEATURE_COLUMNS, "float64"))
FRAMES = Frames(train=FRAME, calibration=FRAME, holdout=FRAME)


def test_a_champion_from_before_a_feature_came_is_asked_with_its_own(
    settings: Settings, open_mlflow: OpenMlflow
) -> None:
    own = ["purchase_count_30d", "days_since_last_event"]
    champion, challenger = (
        estimators.make("gradient_boosting", {"n_estimators": 5}).fit(FRAME[columns], FRAME["label"])
        for columns in (own, FEATURE_COLUMNS)
    )
    floor = estimators.make(estimators.FLOOR).fit(FRAME[FEATURE_COLUMNS], FRAME["label"])
    with open_mlflow(settings) as mlflow:
        uri = packaging.log_churn_model(mlflow, champion, FRAME.head(2))
        version = registry.register(settings, uri, mlflow.active_run().info.run_id).version
        mlflow.end_run()
    registry.promote(settings, version)

    found = judging.judge(settings, FRAMES, challenger, floor)

    assert found.champion_version == str(version)
    assert found.champion is not None
    assert np.array_equal(found.champion, champion.predict_proba(FRAME[own])[:, 1])
    assert not [reason for reason in found.decision.reasons if "cannot be compared" in reason]
