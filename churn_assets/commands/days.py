"""Days as people type them."""

import datetime as dt
from typing import Annotated

import typer

Day = Annotated[dt.datetime | None, typer.Option(formats=["%Y-%m-%d"])]


def today() -> dt.date:
    """The UTC day that it is."""
    return dt.datetime.now(dt.UTC).date()
