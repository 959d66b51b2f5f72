"""What ``bench.lateness`` found, as tables: means over seeds, and differences with their intervals."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from rich.table import Table as RichTable
from scipy import stats

from bench.arrivals import Together
from churn_assets.model.metrics.bootstrap import CONFIDENCE, interval

SHOWN = {"roc_auc": "AUC", "brier": "Brier", "calibration_error": "ECE", "surplus": "predicted - churned"}

Metrics = dict[str, Any]


class Case(NamedTuple):
    """Which share of the events is late, and whether each for itself or a user's day together."""

    share: float
    together: Together

    def __str__(self) -> str:
        return f"{self.share:.0%} of {self.together} late" if self.share else "none late"


class Way(NamedTuple):
    """One model: its figures on the holdout, on live days as they were scored, and the same recomputed."""

    holdout: Metrics
    scored: Metrics
    recomputed: Metrics


class Found(NamedTuple):
    """Of one log and case.

    ``unscored``: the share of live rows of which nothing was known in time. ``ways``: by how the model was
    trained (recomputed, as known) and which it is. ``drawn``: draws of differences, users drawn again, by
    what is compared (lateness: scored less recomputed; mend: trained as known less trained recomputed).
    """

    unscored: float
    ways: dict[tuple[str, str], Way]
    drawn: dict[tuple[str, str], Metrics]


def levels(found: Mapping[Case, Sequence[Found]]) -> Iterator[RichTable]:
    """Means over seeds."""
    for who in _models(found):
        table = RichTable(f"{who}: mean of seeds", "", box=None, pad_edge=False)
        for heading in (*SHOWN.values(), "not scored"):
            table.add_column(heading, justify="right")
        for case, logs in found.items():
            unscored = f"{np.mean([one.unscored for one in logs]):.2%}"
            for how in ("recomputed", "as known"):
                ways = [one.ways[how, who] for one in logs if (how, who) in one.ways]
                for part in Way._fields if ways else ():
                    means = (f"{np.mean([getattr(way, part)[name] for way in ways]):.4f}" for name in SHOWN)
                    table.add_row(str(case), f"trained {how}: {_PARTS[part]}", *means, unscored)
        yield table


_PARTS = {"holdout": "holdout", "scored": "live, as scored", "recomputed": "live, recomputed"}


def differences(found: Mapping[Case, Sequence[Found]]) -> Iterator[RichTable]:
    """What is compared, with intervals of 95 %: over seeds, and in brackets of users drawn again."""
    of_none = next(logs for case, logs in found.items() if not case.share)
    for who in _models(found):
        table = RichTable(f"{who}: differences", "", box=None, pad_edge=False)
        for heading in SHOWN.values():
            table.add_column(heading)
        for case, logs in found.items():
            for what, values in _compared(logs, of_none, who).items():
                cells = [_cell([one[name] for one in values]) for name in SHOWN]
                table.add_row(str(case), what, *cells)
                key = (what.split(":")[0], who)
                if drawn := [one.drawn[key] for one in logs if key in one.drawn]:
                    intervals = (interval(np.mean([one[name] for one in drawn], axis=0)) for name in SHOWN)
                    table.add_row("", "", *(f"  [{low:+.4f} to {high:+.4f}]" for low, high in intervals))
        yield table


def _models(found: Mapping[Case, Sequence[Found]]) -> list[str]:
    return list(dict.fromkeys(who for logs in found.values() for one in logs for _, who in one.ways))


def _compared(logs: Sequence[Found], of_none: Sequence[Found], who: str) -> dict[str, list[Metrics]]:
    ways = [one.ways["recomputed", who] for one in logs]
    none = [one.ways["recomputed", who] for one in of_none]
    found = {"promise: live as scored - holdout": [_minus(way.scored, way.holdout) for way in ways]}
    if logs is of_none:
        return found
    mended = [one.ways["as known", who] for one in logs]
    return {
        **found,
        "lateness: as scored - recomputed": [_minus(way.scored, way.recomputed) for way in ways],
        "in all: as scored - where none is late": [
            _minus(way.scored, other.scored) for way, other in zip(ways, none, strict=True)
        ],
        "mend: trained as known - recomputed": [
            _minus(one.scored, way.scored) for one, way in zip(mended, ways, strict=True)
        ],
        "mended promise: live as scored - holdout": [_minus(one.scored, one.holdout) for one in mended],
    }


def _minus(one: Metrics, other: Metrics) -> Metrics:
    return {name: one[name] - other[name] for name in SHOWN}


def _cell(values: Sequence[float]) -> str:
    mean = float(np.mean(values))
    if len(values) < 2:
        return f"{mean:+.4f}"
    off = stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values))
    return f"{mean:+.4f} ± {off:.4f}"
