"""Charts as SVG: what is in them, for eyes and for screen readers, and that no text becomes markup."""

import xml.etree.ElementTree as ET

import pytest

from churn_assets.retention.charts import (
    STYLESHEET,
    Interval,
    Line,
    Point,
    bar_chart,
    count,
    heat,
    interval_chart,
    line_chart,
    share,
)

SVG = "{http://www.w3.org/2000/svg}"


def parsed(svg: str) -> ET.Element:
    # In HTML the namespace is understood.
    return ET.fromstring(svg.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1))


def drawn(*lines: Line) -> str:
    return line_chart("trend", "Expected churners", lines, x_says=count, y_says=count)


def test_a_line_goes_through_its_values_from_left_to_right_and_up_with_them() -> None:
    svg = parsed(drawn(Line("expected", [Point(0, 10), Point(1, 20), Point(2, 15)])))

    [path] = [one for one in svg.iter(f"{SVG}path") if one.get("class") == "line line-1"]
    corners = [tuple(map(float, one.split())) for one in str(path.get("d"))[1:].split(" L")]
    xs, ys = [x for x, _ in corners], [y for _, y in corners]
    assert xs == sorted(xs)
    assert xs[1] - xs[0] == pytest.approx(xs[2] - xs[1], abs=0.2)
    # Downwards in SVG; 0 is at 222, and 10 to 20 is as far as 0 to 10.
    assert ys[1] < ys[2] < ys[0] < 222
    assert ys[0] - ys[1] == pytest.approx(222 - ys[0], abs=0.2)


def test_a_screen_reader_is_told_title_first_last_and_most() -> None:
    svg = parsed(drawn(Line("expected", [Point(1, 10), Point(2, 2000), Point(3, 15)])))

    assert svg.get("role") == "img"
    title, says = svg.find(f"{SVG}title"), svg.find(f"{SVG}desc")
    assert title is not None
    assert says is not None
    assert title.text == "Expected churners"
    assert says.text == "expected: 10 at 1, 15 at 3, at most 2,000 at 2."
    assert svg.get("aria-labelledby") == f"{title.get('id')} {says.get('id')}"


def test_what_users_named_is_text_and_no_markup() -> None:
    evil = '"><script>alert(1)</script>'
    lines = drawn(Line(evil, [Point(0, 1), Point(1, 2)]), Line("b", [Point(0, 1), Point(1, 1)]))
    rows = interval_chart("saved", evil, [Interval(evil, 0.1, 0.0, 0.2)], says=share)

    for svg in (lines, rows):
        assert "<script" not in svg
        assert not [one for one in parsed(svg).iter() if one.tag.endswith("script")]


def test_no_chart_needs_a_style_attribute_or_a_script_which_a_strict_page_forbids() -> None:
    line = Line("a", [Point(0, 0.5, 0.4, 0.6), Point(9, 0.2, 0.1, 0.3)], is_steps=True)
    charts = [
        line_chart("a", "t", [line, line], x_says=count, y_says=share, x_name="days", top=1),
        bar_chart("b", "t", [Point(1, 3), Point(2, 0)], x_says=count, y_says=count),
        interval_chart(
            "c", "t", [Interval("all", 0.2, -0.1, 0.4), Interval("x", None, None, None)], says=share
        ),
    ]

    for svg in charts:
        for element in parsed(svg).iter():
            assert not {"style", "onload", "href"} & element.attrib.keys()
    classes = {
        name for svg in charts for one in parsed(svg).iter() for name in str(one.get("class", "")).split()
    }
    styled = STYLESHEET.read_text()
    assert all(f".{name}" in styled for name in classes)


def test_steps_hold_a_value_until_the_next() -> None:
    svg = drawn(Line("there", [Point(0, 2), Point(4, 1)], is_steps=True))

    [path] = [one for one in parsed(svg).iter(f"{SVG}path") if one.get("class") == "line line-1"]
    (x0, y0), (x1, y1), (x2, y2) = [one.split() for one in str(path.get("d"))[1:].split(" L")]
    assert (y0, x1) == (y1, x2)
    assert x0 != x1
    assert y1 != y2


def test_dates_are_written_at_equal_distances_and_numbers_where_they_are_round() -> None:
    # Eleven weeks and the last days, as of a user's history.
    days = [Point(day, 0.5) for day in (*range(0, 78, 7), 78, 79, 80)]
    dates = line_chart("a", "t", [Line("p", days)], x_says=count, y_says=share)
    numbers = line_chart("a", "t", [Line("p", days)], x_says=count, y_says=share, x_name="days")

    def ticks(svg: str) -> list[str]:
        found = [one for one in parsed(svg).iter(f"{SVG}text") if one.get("y") == "238"]
        return [str(one.text) for one in found]

    assert ticks(dates) == ["0", "20", "40", "60", "80"]
    assert ticks(numbers) == ["0", "20", "40", "60", "80"]


def test_one_value_is_a_dot_and_none_is_no_chart() -> None:
    assert 'class="dot dot-1"' in drawn(Line("expected", [Point(5, 10)]))
    assert drawn(Line("expected", [])) == ""
    assert bar_chart("b", "t", [], x_says=count, y_says=count) == ""
    assert interval_chart("c", "t", [Interval("all", None, None, None)], says=share) == ""


def test_all_zero_is_a_flat_line_and_no_failure() -> None:
    assert "<svg" in drawn(Line("expected", [Point(0, 0), Point(1, 0)]))
    assert "<svg" in bar_chart("b", "t", [Point(0, 0), Point(1, 0)], x_says=count, y_says=count)


@pytest.mark.parametrize(("value", "step"), [(0.0, 0), (0.09, 0), (0.55, 5), (0.999, 9), (1.0, 9)])
def test_a_share_has_one_of_ten_colours(value: float, step: int) -> None:
    assert heat(value) == step
    assert f".heat-{step} " in STYLESHEET.read_text()
