"""The rows of ``gold.treatment_outcomes``, from counts of users."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from churn_assets.retention.effect import Effect, Estimate, effect
from churn_assets.tables import OF_ALL, TREATMENT_OUTCOMES


def outcome_rows(counts: pd.DataFrame, use: Mapping[str, int]) -> list[dict[str, Any]]:
    """Return a row for all listed users, and for each band, channel and month.

    Args:
        counts: what ``transforms.treatments.treatment_counts`` returns.
        use: what ``transforms.treatments.treatment_use`` returns, and ``later_listings``.

    Returns:
        The columns of ``tables.TREATMENT_OUTCOMES``; no row where no user counts and no treatment is known.
    """
    if counts.empty and not use["treatments"]:
        return []
    rows = [{**_row(OF_ALL, OF_ALL, counts, effect(counts)), **use}]
    for dimension in ("risk_band", "month"):
        for segment in sorted(counts[dimension].unique()):
            part = counts.loc[counts[dimension] == segment]
            rows.append(_row(dimension, segment, part, effect(part)))
    by_channel = counts.loc[counts["is_contact"].astype(bool) & counts["channel"].notna()]
    for channel in sorted(by_channel["channel"].unique()):
        dates = by_channel.loc[by_channel["channel"] == channel]
        rows.append(_row("channel", channel, dates, effect(counts, channel=channel)))
    return rows


def _row(dimension: str, segment: str, dates: pd.DataFrame, found: Effect) -> dict[str, Any]:
    counted = {
        name: value for name, value in found._asdict().items() if name not in ("by_assignment", "of_contact")
    }
    row = dict.fromkeys(TREATMENT_OUTCOMES.column_names) | {
        "dimension": dimension,
        "segment": segment,
        "first_feature_date": dates["first_feature_date"].min() if len(dates) else None,
        "last_feature_date": dates["last_feature_date"].max() if len(dates) else None,
        **counted,
    }
    return row | _of("assigned_save_rate", found.by_assignment) | _of("save_rate", found.of_contact)


def _of(name: str, estimate: Estimate | None) -> dict[str, float | None]:
    if estimate is None:
        return {}
    return {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
