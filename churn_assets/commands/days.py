"""The option type of a day, and the day it is."""

import datetime as dt
from typing import Annotated

import typer

Day = Annotated[dt.datetime | None, typer.Option(formats=["%Y-%m-%d"])]


def today() -> dt.date:
    """Return today's date in UTC."""
    return dt.datetime.now(dt.UTC).date()
