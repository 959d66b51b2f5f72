"""The pages but a user's as one HTML file, which needs no server."""

from churn_assets.serving.page.store import Filter, Snapshot
from churn_assets.serving.server.pages import rendering


def one_file(snapshot: Snapshot, most_users: int) -> str:
    """Return the file, with the first so many users of the list."""
    about = snapshot.about
    found = snapshot.find(Filter())
    rows = snapshot.rows(found.ranks[:most_users])
    return rendering.render(
        "one_file.html.jinja",
        about=about,
        shown=len(rows),
        style=rendering.inline_stylesheet(),
        list=rendering.main_of(
            "list.html.jinja", about=about, query=None, pages=1, **rendering.list_values(about, found, rows)
        ),
        trend=rendering.main_of("trend.html.jinja", **rendering.trend_values(about.overview)),
        outcomes=rendering.main_of("outcomes.html.jinja", **rendering.outcome_values(about.overview)),
    )
