import datetime as dt

import numpy as np
import pandas as pd
import pytest

from churn_assets.model.candidates.bounds import Bounds
from churn_assets.model.candidates.competition import Calibrated
from churn_assets.model.candidates.fitting import Candidate
from churn_assets.model.gate import gate
from churn_assets.model.metrics.evaluation import DEFAULT_COSTS
from churn_assets.model.report import report
from churn_assets.model.report.report import ReportContent

EVIL = "<script>alert('country')</script>"


@pytest.fixture(scope="package")
def content() -> ReportContent:
    """1,200 rows of 600 users of two countries; the challenger knows what the champion half knows."""
    random = np.random.default_rng(1)
    truth = random.beta(1, 2, 1_200)
    label = (random.random(1_200) < truth).astype("float64")
    holdout = pd.DataFrame(
        {
            "user_id": np.arange(1_200) // 2,
            "feature_date": [dt.date(2026, 5, 1 + row % 2) for row in range(1_200)],
            "account_age_days": random.integers(0, 200, 1_200).astype("float64"),
            "label": label.astype("int64"),
            "country": np.where(np.arange(1_200) % 4 < 2, EVIL, "GB"),
        }
    )
    champion, floor = (truth + 0.33) / 2, np.full(1_200, 0.33) + truth / 10
    decision = gate.decide(
        holdout,
        truth,
        champion,
        floor,
        costs=DEFAULT_COSTS,
        slice_floor=0.55,
        formula=(truth + floor) / 2,
        replicates=50,
    )
    metrics = {"brier": 0.15123, "log_loss": 0.4, "roc_auc": 0.8}
    return ReportContent(
        title="Churn model, version 5",
        created_at=dt.datetime(2026, 11, 23, 12, 30, tzinfo=dt.UTC),
        decision=decision,
        costs=DEFAULT_COSTS,
        label=label,
        challenger=truth,
        champion=champion,
        floor=floor,
        holdout=holdout,
        version="5",
        champion_version="4",
        candidates=[
            Candidate("boosting", "gradient_boosting", {"max_depth": 4}, object(), metrics, 1.25),
            Candidate("broken", "gradient_boosting", {"max_depth": -1}, error="ValueError: max_depth < 1"),
        ],
        calibrated=Calibrated(None, "isotonic", 0.15321, 0.15123, Bounds(0.00213, 0.98761)),
        importances={"days_since_last_event": 0.2, "account_age_days": 0.01},
        drift=[
            ("days_since_last_event", 0.3, 0.01),
            ("account_age_days", 0.2, 0.01),
            ("event_count_30d", 0.06, 0.01),
            ("rolling_7d_events", 0.001, 0.01),
        ],
        flow={"Bronze lines": 325352, "holdout dates": "2026-05-01 to 2026-05-02"},
        provenance={"seed": 42, "Delta versions": {"main_catalog.gold.churn_labels": 33}},
    )


@pytest.fixture(scope="package")
def html(content: ReportContent) -> str:
    return report.render(content)
