"""The report of a training: one HTML page that needs no server, with the decision, reasons and rows."""

import datetime as dt
import html
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from churn_assets import html_templates
from churn_assets.model.candidates.competition import Calibrated
from churn_assets.model.candidates.fitting import Candidate
from churn_assets.model.gate.gate import Decision
from churn_assets.model.metrics import curves
from churn_assets.model.metrics.evaluation import CostMatrix, Vector
from churn_assets.model.report import plots, words

if TYPE_CHECKING:
    import pandas as pd

TEMPLATE = "report.html.jinja"

# Of the pictures, on the page and for screen readers.
TITLES = {
    "roc": "ROC curve",
    "precision_recall": "Precision and recall",
    "gain": "Cumulative gain",
    "lift": "Lift",
    "calibration": "Reliability and counts",
    "profit": "Profit over the threshold",
    "importances": "Permutation importance",
}


@dataclass(frozen=True)
class ReportContent:
    """The content of a report. All but the first four may be absent; the page names what is missing.

    Attributes:
        title: of the page.
        created_at: UTC.
        decision: of the gate.
        costs: what a contact costs and gains.
        save_rate_says: where its save rate comes from, in words; empty for what nobody has measured.
        label: of the holdout's rows, 1 churned, 0 stayed; shape (rows,).
        challenger: probabilities of churn in the same order and shape; empty where there are none.
        champion: the same of the Production version; None where there is none.
        floor: the same of recency alone.
        holdout: the rows, with user_id and feature_date.
        version: of the challenger in the registry.
        champion_version: of the champion.
        candidates: those that competed, the winner first.
        calibrated: what calibration did to the winner.
        importances: loss of ROC AUC by feature, as ``importances.importances`` returns it.
        constant_features: features with one value in all training rows.
        drift: feature, PSI of the holdout against the training rows, and what the PSI stays below by chance.
        drift_warn: PSI from which drift is worth a warning; ``drift_fail`` from which it is a failure.
        slice_floor: ROC AUC that the upper end of each slice's interval must reach.
        flow: counts and dates by name, in the order in which data flows.
        provenance: what the version was made from; a value may be a mapping of its own.
        list_table: the table that names whom to contact; empty where there is none to tell of.
        list_url: the page that shows it, while the scoring server runs; empty where there is none.
        error: of a training that failed before there was a model; may have several lines.
    """

    title: str
    created_at: dt.datetime
    decision: Decision
    costs: CostMatrix
    save_rate_says: str = ""
    label: Vector = field(default_factory=lambda: np.empty(0))
    challenger: Vector = field(default_factory=lambda: np.empty(0))
    champion: Vector | None = None
    floor: Vector = field(default_factory=lambda: np.empty(0))
    holdout: "pd.DataFrame | None" = None
    version: str = ""
    champion_version: str | None = None
    candidates: Sequence[Candidate] = ()
    calibrated: Calibrated | None = None
    importances: Mapping[str, float] = field(default_factory=dict)
    constant_features: Sequence[str] = ()
    drift: Sequence[tuple[str, float, float]] = ()
    drift_warn: float = 0.05
    drift_fail: float = 0.1
    slice_floor: float = 0.55
    flow: Mapping[str, object] = field(default_factory=dict)
    provenance: Mapping[str, object] = field(default_factory=dict)
    list_table: str = ""
    list_url: str = ""
    error: str = ""

    @property
    def scores(self) -> dict[str, Vector]:
        """The probabilities that can be drawn, by the model's name."""
        by_model = {"challenger": self.challenger, "champion": self.champion, "recency": self.floor}
        return {
            name: np.asarray(values, dtype="float64")
            for name, values in by_model.items()
            if curves.can_be_drawn(self.label, values)
        }


def render(content: ReportContent) -> str:
    """Render the page as HTML that needs no other file.

    Where something is absent, a sentence says so: a refused decision needs its report most of all.
    """
    environment = html_templates.environment(Path(__file__).parent, words.FILTERS)
    return environment.get_template(TEMPLATE).render(
        content=content,
        decision=content.decision,
        names=tuple(name for name in ("challenger", "champion", "recency") if name in content.scores),
        figures=_figures(content),
        titles=TITLES,
        words=words,
        headline=words.headline(content.decision, content.version, content.champion_version),
        metrics=words.metric_rows(content.decision),
        summary=words.holdout_in_words(content.holdout, content.label),
        bins=words.bin_rows(content.label, content.scores),
        groups=words.groups_in_words(content.label, content.scores),
        threshold=words.threshold_rows(content.label, content.scores, content.costs),
        slices=words.slice_rows(content.decision.slices, content.slice_floor),
        drift=words.drift_rows(content.drift, content.drift_warn, content.drift_fail),
    )


def _drawings(content: ReportContent) -> dict[str, plots.Draw]:
    label, scores = np.asarray(content.label, dtype="float64"), content.scores
    drawn: dict[str, plots.Draw] = {}
    if scores:
        of_scores: dict[str, Callable[..., None]] = {
            "roc": plots.roc,
            "precision_recall": plots.precision_recall,
            "calibration": plots.calibration,
            "gain": plots.gain,
            "lift": plots.lift,
            "profit": partial(plots.profit, costs=content.costs),
        }
        drawn = {name: partial(draw, label=label, scores=scores) for name, draw in of_scores.items()}
    if content.importances:
        drawn["importances"] = partial(plots.importances, by_feature=content.importances)
    return drawn


def _figures(content: ReportContent) -> dict[str, str]:
    from markupsafe import Markup

    figures = {}
    for name, draw in _drawings(content).items():
        try:
            figures[name] = Markup(plots.svg(name, TITLES[name], draw))  # noqa: S704 - drawn here, of names that we chose
        except Exception as error:  # noqa: BLE001 - a report without one picture is better than none
            figures[name] = Markup(f"<p>Cannot be drawn: {html.escape(str(error))}</p>")  # noqa: S704 - escaped
    return figures
