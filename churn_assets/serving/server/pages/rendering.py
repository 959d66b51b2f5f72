"""Templates and words of the pages; all text is escaped."""

import datetime as dt
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from churn_assets import html_templates
from churn_assets.dates import ONE_DAY
from churn_assets.retention import charts
from churn_assets.retention.charts import Interval, Line, Point
from churn_assets.retention.overview import Curve, Overview
from churn_assets.retention.survival import median_days

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

    from churn_assets.serving.page.store import About, Found

FOLDER = Path(__file__).parent

# What stands for a value that is not known.
UNKNOWN = "\N{EN DASH}"


def render(template: str, **values: Any) -> str:
    """Return a page as HTML."""
    return _environment().get_template(template).render(**values)


def main_of(template: str, **values: Any) -> "Markup":
    """Return what is between the header and the end of a page, for a page of several."""
    found = _environment().get_template(template)
    return _markup("".join(found.blocks["main"](found.new_context(values))))


def stylesheet() -> bytes:
    """Return the one stylesheet of all pages, with that of the charts."""
    return charts.STYLESHEET.read_bytes() + (FOLDER / "page.css").read_bytes()


def inline_stylesheet() -> "Markup":
    """Return the same for a page that holds it."""
    return _markup(stylesheet().decode())


@cache
def _environment() -> "Environment":
    filters = {
        "share": _share,
        "points": _points,
        "amount": _amount,
        "count": _count,
        "long_date": _long_date,
    }
    return html_templates.environment(FOLDER, filters)


def _share(value: float | None) -> str:
    return UNKNOWN if value is None else f"{100 * value:.0f} %"


def _points(value: float | None) -> str:
    """Return a change of a share in percentage points; one that rounds to none has no sign."""
    if value is None:
        return UNKNOWN
    points = round(100 * value)
    return f"{points:+d}" if points else "0"


def _amount(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:,.2f}"


def _count(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:,.0f}"


def _long_date(value: dt.date | str | None) -> str:
    day = dt.date.fromisoformat(value) if isinstance(value, str) else value
    return UNKNOWN if day is None else f"{day.day} {day:%B %Y}"


def list_values(about: "About", found: "Found", rows: list[dict[str, Any]], start: int = 0) -> dict[str, Any]:
    """Return what the page of the list shows of contacts, from the one at ``start`` of all found on."""
    return {
        "found": found,
        "total": len(found.ranks),
        "rows": [{**row, "place": start + place} for place, row in enumerate(rows, start=1)],
        # The list of a day is known at its end.
        "age": (dt.datetime.now(dt.UTC).date() - ONE_DAY - about.overview.feature_date).days,
    }


def trend_values(overview: Overview) -> dict[str, Any]:
    """Return what the page of trend and retention shows."""
    return {
        "overview": overview,
        "trend": trend_chart(overview),
        "survival_of_all": survival_chart(overview.curves[:1]),
        "survival_by_quarter": survival_chart(overview.curves[1:]),
        "median": median_in_words,
        "heat": charts.heat,
    }


def outcome_values(overview: Overview) -> dict[str, Any]:
    """Return what the page of what contacting brought shows."""
    return {
        "outcomes": overview.outcomes,
        "horizon_days": overview.horizon_days,
        "chart": outcome_chart(overview.outcomes.rows),
    }


def trend_chart(overview: Overview) -> "Markup":
    """Draw the churners that were expected of each date, and those who then did churn."""
    days = [(float(one.feature_date.toordinal()), one) for one in overview.trend]
    lines = [
        Line("expected to churn", [Point(x, one.expected_churners) for x, one in days]),
        Line("did churn", [Point(x, one.churners) for x, one in days if one.churners is not None]),
    ]
    title = f"Users expected to churn in the {overview.horizon_days} days after each date"
    return _markup(charts.line_chart("trend", title, lines, x_says=charts.on_date, y_says=charts.count))


def survival_chart(curves: tuple[Curve, ...]) -> "Markup":
    """Draw which share of users is still there by the days since their first event."""
    with_interval = len(curves) == 1
    lines = [
        Line(
            f"{curve.name}, {curve.users:,} users",
            [Point(*step) if with_interval else Point(step.day, step.share) for step in curve.steps],
            is_steps=True,
        )
        for curve in curves
    ]
    return _markup(
        charts.line_chart(
            "survival-of-all" if with_interval else "survival",
            "Share of users still there, by days since their first event",
            lines,
            x_says=charts.count,
            y_says=charts.share,
            x_name="days since the first event",
            top=1.0,
        )
    )


def median_in_words(curve: Curve) -> str:
    """Return how long half of the users stay, in words."""
    days = median_days(curve.steps)
    if days is not None:
        return f"half are gone after {days} days"
    last = curve.steps[-1]
    return f"{100 * last.share:.0f} % are still there after {last.day} days, as far as is known"


def outcome_chart(rows: tuple[dict[str, Any], ...]) -> "Markup":
    """Draw the save rate of all and by segment, with its interval."""
    intervals = [
        Interval(
            "all users" if row["dimension"] == "all" else row["segment"],
            row["save_rate"],
            row["save_rate_low"],
            row["save_rate_high"],
        )
        for row in rows
    ]
    title = "Share of would-be churners whom a contact saves, with 95 % intervals"
    return _markup(charts.interval_chart("saved", title, intervals, says=charts.share))


def probability_chart(probabilities: tuple[tuple[dt.date, float], ...]) -> "Markup":
    """Draw a user's probability of churn by date."""
    points = [Point(day.toordinal(), value) for day, value in probabilities]
    return _markup(
        charts.line_chart(
            "probability",
            "Probability of churn over time",
            [Line("probability of churn", points)],
            x_says=charts.on_date,
            y_says=charts.share,
            top=1.0,
        )
    )


def activity_chart(events: tuple[tuple[dt.date, int], ...]) -> "Markup":
    """Draw a user's events by day."""
    bars = [Point(day.toordinal(), number) for day, number in events]
    return _markup(
        charts.bar_chart("activity", "Events a day", bars, x_says=charts.on_date, y_says=charts.count)
    )


def _markup(html: str) -> "Markup":
    from markupsafe import Markup

    # Every text in it is our own, or was escaped by charts or a template.
    return Markup(html)  # noqa: S704
