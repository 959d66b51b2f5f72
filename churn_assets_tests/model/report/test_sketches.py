"""Pictures that Dagster's UI shows where they stand: small, with a line a model, and without a server."""

import re
import xml.etree.ElementTree as ET
from urllib.parse import unquote

import numpy as np
import pytest

from churn_assets.model.metrics.evaluation import DEFAULT_COSTS
from churn_assets.model.report.sketches import SHOWN_INLINE, sketches

RANDOM = np.random.default_rng(0)
PROBABILITY = RANDOM.beta(1, 4, 5_000)
LABEL = (RANDOM.random(5_000) < PROBABILITY).astype("float64")
SCORES = {"challenger": PROBABILITY, "champion": PROBABILITY**2, "recency": np.round(PROBABILITY, 1)}
NAMES = ("roc", "calibration", "profit")


@pytest.fixture(scope="module")
def drawn() -> dict[str, str]:
    return sketches(LABEL, SCORES, DEFAULT_COSTS)


def svg(markdown: str) -> ET.Element:
    found = re.fullmatch(r"[^\n]+\n\n!\[[^\]]+\]\(<data:image/svg\+xml,([^<>\n]+)>\)", markdown)
    assert found is not None
    return ET.fromstring(unquote(found[1]))


def test_three_models_are_drawn_in_less_than_what_the_ui_puts_behind_a_link(drawn: dict[str, str]) -> None:
    assert tuple(drawn) == NAMES
    assert max(map(len, drawn.values())) < SHOWN_INLINE


def test_long_figures_still_fit(drawn: dict[str, str]) -> None:
    dear = DEFAULT_COSTS._replace(contact_cost=1e4, saved_value=1e6)

    assert len(sketches(LABEL, SCORES, dear)["profit"]) < SHOWN_INLINE


@pytest.mark.parametrize("name", NAMES)
def test_each_model_has_a_line_within_the_picture_and_its_figure(drawn: dict[str, str], name: str) -> None:
    picture = svg(drawn[name])
    width, height = (int(picture.attrib[side]) for side in ("width", "height"))
    texts = [text.text or "" for text in picture.iter("{http://www.w3.org/2000/svg}text")]
    lines = [
        path.attrib["d"]
        for path in picture.iter("{http://www.w3.org/2000/svg}path")
        if path.attrib.get("stroke-width")
    ]

    assert [text.split()[0] for text in texts] == list(SCORES)
    assert len(lines) == len(SCORES)
    for line in lines:
        numbers = [float(number) for number in re.findall(r"-?\d+", line)]
        assert all(0 <= x <= width for x in numbers[::2])
        assert all(0 <= y <= height for y in numbers[1::2])


def test_the_best_ranking_lies_above_the_others(drawn: dict[str, str]) -> None:
    perfect = sketches(LABEL, {"challenger": LABEL * 0.8 + 0.1}, DEFAULT_COSTS)["roc"]

    # Of no stayer flagged, all churners are found.
    assert "M0 0 " in unquote(perfect) or " 0 0 " in unquote(perfect)
    assert "challenger 1.000" in perfect


def test_without_scores_nothing_is_drawn() -> None:
    assert sketches(LABEL, {}, DEFAULT_COSTS) == {}
