"""The alarm for a feature that knows the label: no honest feature separates nearly all churned users."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from churn_assets.errors import ModelError

if TYPE_CHECKING:
    import pandas as pd

    from churn_assets.model.metrics.evaluation import Vector


def alarms(frame: "pd.DataFrame", features: Sequence[str], limit: float = 0.98) -> tuple[str, ...]:
    """Find features that alone separate churned from staying users.

    Args:
        frame: labelled rows: the features (numbers) and label (1 churned, 0 stayed).
        features: columns to test.
        limit: the ROC AUC above which a feature is suspect, whether high or low values mean churn.

    Returns:
        A sentence for each suspect. A feature that is missing exactly where users churned is one as well.

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
    separations = ((feature, _separation(frame[feature].to_numpy("float64"), label)) for feature in features)
    return tuple(
        f"{feature} alone tells churned from staying users with an AUC of {auc:.4f}, above {limit:g}: it "
        "seems to know the label. Look at what it reads after feature_date, or take it out of the features."
        for feature, auc in separations
        if auc > limit
    )


def _separation(values: "Vector", label: "Vector") -> float:
    """Return the larger AUC of the values and of their being missing, 0.5 to 1; both of shape (rows,)."""
    present = ~np.isnan(values)
    return max(_auc(label[present], values[present]), _auc(label, present))


def _auc(label: "Vector", score: np.ndarray) -> float:
    from sklearn.metrics import roc_auc_score

    if len(np.unique(label)) < 2:
        return 0.5
    # By rank, because scikit-learn refuses infinite values, which rank as well.
    auc = float(roc_auc_score(label, np.unique(score, return_inverse=True)[1]))
    return max(auc, 1 - auc)
