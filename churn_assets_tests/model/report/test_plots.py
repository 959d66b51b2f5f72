import re
from functools import partial

import numpy as np
import pytest

from churn_assets.model.metrics.evaluation import DEFAULT_COSTS
from churn_assets.model.report import plots

RANDOM = np.random.default_rng(0)
PROBABILITY = RANDOM.beta(1, 4, 5_000)
LABEL = (RANDOM.random(5_000) < PROBABILITY).astype("float64")
SCORES = {"challenger": PROBABILITY, "champion": PROBABILITY**2, "recency": np.round(PROBABILITY, 1)}

DRAWINGS = {
    "roc": partial(plots.roc, label=LABEL, scores=SCORES),
    "precision_recall": partial(plots.precision_recall, label=LABEL, scores=SCORES),
    "calibration": partial(plots.calibration, label=LABEL, scores=SCORES),
    "gain": partial(plots.gain, label=LABEL, scores=SCORES),
    "lift": partial(plots.lift, label=LABEL, scores=SCORES),
    "profit": partial(plots.profit, label=LABEL, scores=SCORES, costs=DEFAULT_COSTS),
    "importances": partial(
        plots.importances, by_feature={"account_age_days": 0.02, "rolling_7d_events": -0.001}
    ),
}


@pytest.fixture(scope="module")
def drawn() -> dict[str, str]:
    return {name: plots.svg(name, f"Picture of {name} & more", draw) for name, draw in DRAWINGS.items()}


def test_a_picture_takes_all_its_colours_from_the_page(drawn: dict[str, str]):
    for name, svg in drawn.items():
        assert re.findall(r"#[0-9a-f]{6}\b", svg) == [], name
    assert "var(--champion)" in drawn["roc"]


def test_pictures_in_one_page_share_no_id(drawn: dict[str, str]):
    ids = [one for svg in drawn.values() for one in set(re.findall(r'\bid="([^"]+)"', svg))]

    assert len(ids) == len(set(ids)) > 0
    for svg in drawn.values():
        assert set(re.findall(r'(?:url\(|href=")#([^)"]+)', svg)) <= set(ids)


def test_a_picture_asks_no_server(drawn: dict[str, str]):
    for svg in drawn.values():
        assert svg.startswith("<svg viewBox=")
        assert re.findall(r'(?:href|src)="(?!#)[^"]*"|url\((?!#)', svg) == []


def test_a_screen_reader_says_what_a_picture_is_and_its_numbers(drawn: dict[str, str]):
    for name, svg in drawn.items():
        opening, said = svg.split(">", 1)
        assert f'role="img" aria-labelledby="{name}-title {name}-says"' in opening
        assert said.startswith(f'<title id="{name}-title">Picture of {name} &amp; more</title>')
        assert re.search(rf'<desc id="{name}-says">[^<]*\d[^<]*\.</desc>', said), name
    assert re.search(
        r"<desc[^>]*>challenger, area 0\.\d{3}; champion, area 0\.\d{3}; recency, ", drawn["roc"]
    )
    assert "rolling_7d_events -0.0010; account_age_days 0.0200.</desc>" in drawn["importances"]


def test_a_legend_says_the_numbers_of_each_line(drawn: dict[str, str]):
    assert "threshold 0.2" in drawn["profit"]
    for name in SCORES:
        assert re.search(rf"{name}, area 0\.\d{{3}}", drawn["roc"])
        assert re.search(rf"{name}, mean error 0\.\d{{3}}", drawn["calibration"])


def test_a_profit_line_alone_is_drawn_where_there_is_no_champion():
    scores = {"challenger": PROBABILITY}

    svg = plots.svg("roc", "ROC curve", partial(plots.roc, label=LABEL, scores=scores))

    assert "challenger, area" in svg
    assert "champion" not in svg


def test_a_drawing_leaves_matplotlib_as_it_was():
    import matplotlib as mpl

    with mpl.rc_context({"font.size": 17.0}):
        plots.svg("roc", "ROC curve", DRAWINGS["roc"])

        assert mpl.rcParams["font.size"] == 17.0
