"""Charts of who is at risk, as SVG: numbers in, an ``<svg>`` element out, for the page and for the report.

They are drawn here and not by matplotlib, whose SVG has style attributes: a page that forbids these (a strict
Content-Security-Policy) would show it in black, and to import it takes a second, of which a page has a fifth.
``charts.css`` beside this module has the colours, light and dark.

Each chart has a title and a description that screen readers say. Values belong into a table next to it.
"""

import datetime as dt
import math
from collections.abc import Callable, Collection, Sequence
from html import escape
from pathlib import Path
from typing import NamedTuple

STYLESHEET = Path(__file__).with_name("charts.css")

WIDTH, HEIGHT = 440, 260
LEFT, RIGHT, TOP, BOTTOM = 52, 14, 12, 38
LEGEND_LINE = 17
# Beyond the sides of an interval's chart, where its names stand.
NAMES = 118
ROW = 26

# As many as charts.css has colours and dashes for.
MOST_LINES = 5


class Point(NamedTuple):
    """A value, with its 95 % interval where it has one."""

    x: float
    y: float
    low: float | None = None
    high: float | None = None


class Line(NamedTuple):
    """A line of a chart; ``is_steps`` keeps a value up to the next one."""

    name: str
    points: Sequence[Point]
    is_steps: bool = False


class Interval(NamedTuple):
    """A row of a chart of intervals; ``value`` is None where nothing is known."""

    name: str
    value: float | None
    low: float | None
    high: float | None


Words = Callable[[float], str]


def share(value: float) -> str:
    """Return 0.256 as 26 %."""
    return f"{100 * value:.0f} %"


def count(value: float) -> str:
    """Return 12000 as 12,000."""
    return f"{value:,.0f}"


def on_date(value: float) -> str:
    """Return the ordinal of a date as 29 Nov."""
    day = dt.date.fromordinal(round(value))
    return f"{day.day} {day:%b}"


def line_chart(  # noqa: PLR0913 - names of axes and how their values are said
    name: str,
    title: str,
    lines: Sequence[Line],
    *,
    x_says: Words,
    y_says: Words,
    x_name: str = "",
    top: float | None = None,
) -> str:
    """Draw lines over one axis that begins at 0; an empty text where there is no point.

    Args:
        name: of the chart within its page, for ids.
        title: what a screen reader says first.
        lines: the first ``MOST_LINES`` are drawn.
        x_says: how a value of the horizontal axis is written.
        y_says: how one of the vertical axis is.
        x_name: of the horizontal axis; none for dates.
        top: of the vertical axis; by default a round number above all values.
    """
    lines = [line for line in lines if line.points][:MOST_LINES]
    if not lines:
        return ""
    all_points = [point for line in lines for point in line.points]
    legend = LEGEND_LINE * len(lines) if len(lines) > 1 else 0
    frame = _Frame(
        (min(point.x for point in all_points), max(point.x for point in all_points)),
        top or _round_up(max(max(point.y, point.high or 0) for point in all_points)),
        HEIGHT + legend,
        TOP + legend,
    )
    parts = [*_axes(frame, all_points, x_says, y_says, x_name)]
    for number, line in enumerate(lines, start=1):
        parts += _band(frame, line, number)
        parts.append(f'<path class="line line-{number}" d="{_path(frame, line)}"/>')
        if len(line.points) == 1:
            [point] = line.points
            parts.append(
                f'<circle class="dot dot-{number}" cx="{frame.x(point.x)}" cy="{frame.y(point.y)}" r="4"/>'
            )
        if legend:
            y = TOP + LEGEND_LINE * (number - 1)
            parts.append(f'<path class="line line-{number}" d="M{LEFT} {y}h28"/>')
            parts.append(f'<text x="{LEFT + 36}" y="{y + 4}">{escape(line.name)}</text>')
    says = "; ".join(_in_words(line, x_says, y_says) for line in lines)
    return _svg(name, title, says, frame.height, parts)


def bar_chart(  # noqa: PLR0913 - as line_chart
    name: str, title: str, bars: Sequence[Point], *, x_says: Words, y_says: Words, x_name: str = ""
) -> str:
    """Draw a bar for each value, at equal distances on the axis; an empty text where there is none."""
    if not bars:
        return ""
    frame = _Frame((bars[0].x - 0.5, bars[-1].x + 0.5), _round_up(max(bar.y for bar in bars)), HEIGHT, TOP)
    width = max(1.0, 0.8 * (WIDTH - LEFT - RIGHT) / (bars[-1].x - bars[0].x + 1))
    parts = [*_axes(frame, bars, x_says, y_says, x_name)]
    for bar in bars:
        if bar.y > 0:
            y = frame.y(bar.y)
            parts.append(
                f'<rect class="bar" x="{frame.x(bar.x) - width / 2:.1f}" y="{y}" width="{width:.1f}" '
                f'height="{frame.y(0) - y:.1f}"/>'
            )
    return _svg(name, title, _in_words(Line(title, bars), x_says, y_says), frame.height, parts)


def interval_chart(name: str, title: str, rows: Sequence[Interval], *, says: Words) -> str:
    """Draw a value and its interval in a row each, around a line at 0; an empty text where none is known."""
    known = [row for row in rows if row.value is not None]
    if not known:
        return ""
    low = min(0.0, *(_or(row.low, row.value) for row in known))
    high = max(0.0, *(_or(row.high, row.value) for row in known))
    step = _step(high - low)
    low, high = math.floor(low / step) * step, math.ceil(high / step) * step
    height = TOP + ROW * len(rows) + BOTTOM

    def x(value: float) -> float:
        return round(NAMES + (WIDTH - NAMES - RIGHT) * (value - low) / (high - low), 1)

    bottom = height - BOTTOM
    parts = []
    for number in range(round((high - low) / step) + 1):
        value = low + number * step
        parts.append(f'<path class="grid" d="M{x(value)} {TOP}V{bottom}"/>')
        parts.append(
            f'<text class="tick" text-anchor="middle" x="{x(value)}" y="{bottom + 18}">{says(value)}</text>'
        )
    parts.append(f'<path class="zero" d="M{x(0)} {TOP}V{bottom}"/>')
    for number, row in enumerate(rows):
        y = TOP + ROW * number + ROW // 2
        parts.append(f'<text text-anchor="end" x="{NAMES - 8}" y="{y + 4}">{escape(row.name[:18])}</text>')
        if row.value is None:
            parts.append(f'<text class="tick" x="{x(0) + 6}" y="{y + 4}">not known</text>')
            continue
        parts.append(
            f'<path class="line line-1" d="M{x(_or(row.low, row.value))} {y}H{x(_or(row.high, row.value))}"/>'
        )
        parts.append(f'<circle class="dot dot-1" cx="{x(row.value)}" cy="{y}" r="4.5"/>')
    words = "; ".join(
        f"{row.name} {says(row.value)}, {says(_or(row.low, row.value))} to {says(_or(row.high, row.value))}"
        for row in known
        if row.value is not None
    )
    return _svg(name, title, words, height, parts)


def heat(value: float) -> int:
    """Return the step of the colours ``heat-0`` to ``heat-9`` of charts.css for a share."""
    return min(9, max(0, int(10 * value)))


class _Frame(NamedTuple):
    """The place of values on the drawing."""

    span: tuple[float, float]
    top_value: float
    height: int
    top: int

    def x(self, value: float) -> float:
        first, last = self.span
        # A single value stands in the middle.
        part = (value - first) / (last - first) if last > first else 0.5
        return round(LEFT + (WIDTH - LEFT - RIGHT) * part, 1)

    def y(self, value: float) -> float:
        bottom = self.height - BOTTOM
        return round(bottom - (bottom - self.top) * value / self.top_value, 1)


def _axes(frame: _Frame, points: Sequence[Point], x_says: Words, y_says: Words, x_name: str) -> list[str]:
    bottom, parts = frame.height - BOTTOM, []
    step = _step(frame.top_value)
    for number in range(round(frame.top_value / step) + 1):
        value = number * step
        y = frame.y(value)
        parts.append(f'<path class="grid" d="M{LEFT} {y}H{WIDTH - RIGHT}"/>')
        parts.append(
            f'<text class="tick" text-anchor="end" x="{LEFT - 6}" y="{y + 4:.1f}">{y_says(value)}</text>'
        )
    for value in _ticks(frame.span, {point.x for point in points}, are_dates=not x_name):
        x = frame.x(value)
        anchor = "end" if x > WIDTH - RIGHT - 20 else "middle"
        parts.append(
            f'<text class="tick" text-anchor="{anchor}" x="{x}" y="{bottom + 16}">{x_says(value)}</text>'
        )
    if x_name:
        middle = (LEFT + WIDTH - RIGHT) / 2
        parts.append(
            f'<text class="tick" text-anchor="middle" x="{middle}" y="{bottom + 32}">{escape(x_name)}</text>'
        )
    return parts


def _ticks(span: tuple[float, float], values: Collection[float], *, are_dates: bool) -> list[float]:
    """Return the values that are written below the axis: round ones; of dates first, last and between."""
    if len(values) <= 1:
        return list(values)
    first, last = min(values), max(values)
    if are_dates:
        steps = min(4, round(last - first))
        return [round(first + (last - first) * place / steps) for place in range(steps + 1)]
    step = _step(span[1] - span[0])
    return [place * step for place in range(math.ceil(first / step), math.floor(last / step) + 1)]


def _band(frame: _Frame, line: Line, number: int) -> list[str]:
    points = [point for point in line.points if point.low is not None and point.high is not None]
    if len(points) < 2:
        return []
    up = Line("", [Point(point.x, point.high or 0) for point in points], line.is_steps)
    down = Line("", [Point(point.x, point.low or 0) for point in points], line.is_steps)
    back = _corners(frame, down)[::-1]
    edge = " ".join(f"L{x} {y}" for x, y in back)
    return [f'<path class="band band-{number}" d="{_path(frame, up)} {edge}Z"/>']


def _path(frame: _Frame, line: Line) -> str:
    return "M" + " L".join(f"{x} {y}" for x, y in _corners(frame, line))


def _corners(frame: _Frame, line: Line) -> list[tuple[float, float]]:
    corners: list[tuple[float, float]] = []
    for point in line.points:
        x, y = frame.x(point.x), frame.y(point.y)
        if line.is_steps and corners:
            corners.append((x, corners[-1][1]))
        corners.append((x, y))
    return corners


def _in_words(line: Line, x_says: Words, y_says: Words) -> str:
    first, last = line.points[0], line.points[-1]
    if first == last:
        return f"{line.name}: {y_says(first.y)} at {x_says(first.x)}"
    most = max(line.points, key=lambda point: point.y)
    return (
        f"{line.name}: {y_says(first.y)} at {x_says(first.x)}, {y_says(last.y)} at {x_says(last.x)}, "
        f"at most {y_says(most.y)} at {x_says(most.x)}"
    )


def _svg(name: str, title: str, says: str, height: int, parts: Sequence[str]) -> str:
    return (
        f'<svg class="chart" role="img" viewBox="0 0 {WIDTH} {height}" '
        f'aria-labelledby="{name}-title {name}-says"><title id="{name}-title">{escape(title)}</title>'
        f'<desc id="{name}-says">{escape(says)}.</desc>{"".join(parts)}</svg>'
    )


def _round_up(value: float) -> float:
    if value <= 0:
        return 1.0
    step = _step(value)
    return math.ceil(round(value / step, 9)) * step


def _step(span: float) -> float:
    """Return a round distance of ticks, of which three to six fit into a span."""
    if span <= 0:
        return 1.0
    size = 10 ** math.floor(math.log10(span / 4))
    return next(size * factor for factor in (1, 2, 5, 10) if span / (size * factor) <= 5.5)


def _or(value: float | None, other: float | None) -> float:
    return value if value is not None else other if other is not None else 0.0
