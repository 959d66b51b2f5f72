"""The day it is."""

import datetime as dt


def today() -> dt.date:
    """Return today's date in UTC."""
    return dt.datetime.now(dt.UTC).date()
