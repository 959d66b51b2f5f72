"""How good a probability is, on rows the model has not seen, and how good without a model."""

from typing import TYPE_CHECKING

from churn_assets.errors import ModelError

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import ArrayLike


def evaluate(label: "ArrayLike", probability: "ArrayLike") -> dict[str, float]:
    """Judge probabilities of churn against what happened.

    Args:
        label: 1 churned, 0 stayed.
        probability: of label 1, in the same order.

    Returns:
        roc_auc, pr_auc (average precision), brier and log_loss (lower is better), churn_rate (share of
        label 1), rows.

    Raises:
        ModelError: the labels are all the same, so nothing can be ranked.
    """
    import numpy as np
    from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, roc_auc_score

    _require_both_classes(label)
    return {
        "roc_auc": float(roc_auc_score(label, probability)),
        "pr_auc": float(average_precision_score(label, probability)),
        "brier": float(brier_score_loss(label, probability)),
        "log_loss": float(log_loss(label, probability)),
        "churn_rate": float(np.asarray(label).mean()),
        "rows": float(len(np.asarray(label))),
    }


def recency_baseline(frame: "pd.DataFrame") -> float:
    """The ROC AUC of days_since_last_event alone: what a model must beat to be worth its keep.

    Args:
        frame: holdout rows with days_since_last_event (days) and label.

    Raises:
        ModelError: the labels are all the same.
    """
    from sklearn.metrics import roc_auc_score

    _require_both_classes(frame["label"])
    return float(roc_auc_score(frame["label"], frame["days_since_last_event"]))


def _require_both_classes(label: "ArrayLike") -> None:
    import numpy as np

    classes = np.unique(np.asarray(label))
    if len(classes) < 2:
        found = f"only label {classes[0]}" if len(classes) else "no label at all"
        raise ModelError(
            f"The holdout has {found}; judging a model takes churned and staying users. "
            "Look at gold.churn_labels for the last mature dates."
        )
