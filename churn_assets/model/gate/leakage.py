"""The alarm for a feature that knows the label: no honest one tells nearly all churned users apart."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from churn_assets.errors import ModelError

if TYPE_CHECKING:
    import pandas as pd

    from churn_assets.model.metrics.evaluation import Vector


def alarms(frame: "pd.DataFrame", features: Sequence[str], limit: float = 0.98) -> tuple[str, ...]:
    """Look for features that alone separate churned from staying users.

    Args:
        frame: labelled rows: the features (numbers) and label (1 churned, 0 stayed).
        features: columns to look at.
        limit: the ROC AUC above which a feature is suspect, whether high or low values mean churn.

    Returns:
        One line for each suspect, naming it; a value that is missing just where users churned counts as well.

    Raises:
        ModelError: a column is missing, or all labels are the same.
    """
    missing = sorted({*features, "label"} - set(frame.columns))
    if missing:
        raise ModelError(
            f"The rows have no column {', '.join(missing)}; every feature is tested for leakage."
        )
    if frame["label"].nunique() < 2:
        raise ModelError(
            "The rows do not have both labels; nothing can be tested for leakage. Check the dates."
        )
    label = frame["label"].to_numpy("float64")
    found = ((feature, _separation(frame[feature].to_numpy("float64"), label)) for feature in features)
    return tuple(
        f"{feature} alone tells churned from staying users with an AUC of {auc:.4f}, above {limit:g}: it "
        "seems to know the label. Look at what it reads after feature_date, or take it out of the features."
        for feature, auc in found
        if auc > limit
    )


def _separation(values: "Vector", label: "Vector") -> float:
    """The better AUC of the values, where there are any, and of their being missing; never below 0.5."""
    present = ~np.isnan(values)
    return max(_auc(label[present], values[present]), _auc(label, present))


def _auc(label: "Vector", score: np.ndarray) -> float:
    from sklearn.metrics import roc_auc_score

    if len(np.unique(label)) < 2:
        return 0.5
    # By rank, since an infinite value is a value as well, but not to scikit-learn.
    auc = float(roc_auc_score(label, np.unique(score, return_inverse=True)[1]))
    return max(auc, 1 - auc)
