"""The importance of each feature to a model, by permutation."""

from typing import TYPE_CHECKING, Any

from churn_assets.model.data.dataset import features_in

if TYPE_CHECKING:
    import pandas as pd

# Six features shuffled three times over as many rows take 0.2 to 0.4 s.
ROWS = 5_000
REPEATS = 3


def importances(estimator: Any, holdout: "pd.DataFrame", seed: int = 0) -> dict[str, float]:
    """Return by how much the ROC AUC falls when a feature's values are shuffled among the rows.

    Features that say nearly the same replace each other, so each seems less important than it is alone.

    Args:
        estimator: fitted, with ``predict_proba``.
        holdout: rows with the features and label; of many, a sample is used.
        seed: of the sample and of the shuffling.

    Returns:
        The loss of ROC AUC by feature; empty where the rows hold one class or none.
    """
    from sklearn.inspection import permutation_importance
    from threadpoolctl import threadpool_limits

    rows = holdout.sample(min(ROWS, len(holdout)), random_state=seed)
    if rows["label"].nunique() < 2:
        return {}
    features = features_in(rows)
    # Histogram boosting's threads wait for one another: on a busy machine they take 20 times as long as one.
    with threadpool_limits(1):
        result = permutation_importance(
            estimator,
            rows[features],
            rows["label"],
            scoring="roc_auc",
            n_repeats=REPEATS,
            random_state=seed,
        )
    return dict(zip(features, map(float, result["importances_mean"]), strict=True))
