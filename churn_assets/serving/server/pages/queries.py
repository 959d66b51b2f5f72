"""What the address of a page asks for: filters and the number of the page, as links and forms write them."""

import math
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlencode

from churn_assets.serving.page.store import HIGHEST_FIRST, Filter

ROWS = 50
# No page of a list lies beyond.
MOST_PAGES = 1_000_000
# What stands for no country in an address, where an empty text is any.
UNKNOWN = "unknown"


class Query(NamedTuple):
    """The filter and the page, 1 for the first."""

    filter: Filter
    page: int

    def address(self, path: str = "/", page: int = 1) -> str:
        """Return the address of a page with the same filter."""
        wanted = self.filter
        values = {
            "country": UNKNOWN if wanted.country == "" else wanted.country,
            "band": wanted.band,
            "value": None if wanted.least_value is None else f"{wanted.least_value:g}",
            "new": "1" if wanted.is_new else None,
            "page": str(page) if page > 1 else None,
        }
        given = urlencode({name: value for name, value in values.items() if value})
        return f"{path}?{given}" if given else path


def read_query(values: Mapping[str, str]) -> Query:
    """Return what is asked for; what cannot be understood is left out, as of a link that somebody cut."""
    country, band = values.get("country") or None, values.get("band")
    return Query(
        Filter(
            country="" if country == UNKNOWN else country,
            band=band if band in HIGHEST_FIRST else None,
            least_value=_value(values.get("value", "")),
            is_new=values.get("new") == "1",
        ),
        _page(values.get("page", "")),
    )


def _value(given: str) -> float | None:
    try:
        value = float(given.strip())
    except ValueError:
        return None
    return value if math.isfinite(value) and value > 0 else None


def _page(given: str) -> int:
    # isdigit() accepts digits of other scripts, some of which int() does not.
    if given.isascii() and given.isdigit() and len(given) < 10:
        return min(max(int(given), 1), MOST_PAGES)
    return 1
