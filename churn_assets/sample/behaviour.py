"""The behaviour of a population on one day: visits, and the funnel of events in each."""

import datetime as dt
import math
from dataclasses import dataclass

import numpy as np

from churn_assets.errors import SettingsError
from churn_assets.sample.population import Floats, Ints, Population

EVENT_TYPES = ("page_view", "click", "add_to_cart", "purchase", "support_ticket")
PAGE_VIEW, CLICK, ADD_TO_CART, PURCHASE, SUPPORT_TICKET = range(5)

# Monday to Sunday, mean 1.
WEEKLY_SEASON = (1.05, 1.05, 1.0, 1.0, 1.1, 0.85, 0.95)
# Relative activity by UTC hour: quiet nights, a peak at lunch and a higher one in the evening.
HOURLY_CURVE = (2, 1, 1, 1, 1, 2, 4, 7, 9, 10, 11, 12, 13, 12, 10, 10, 11, 12, 14, 16, 17, 14, 9, 5)

FURTHER_PAGE_VIEWS = 3.0
CLICK_PROBABILITY = 0.5
CART_PROBABILITY = 0.4
# Somebody about to leave complains first: one visit in seven, against one in a hundred.
TICKET_PROBABILITY = 0.01
TICKET_PROBABILITY_BEFORE_DROPOUT = 0.14
DAYS_OF_DISCONTENT = 14

MS_PER_HOUR = 3_600_000
MS_PER_DAY = 24 * MS_PER_HOUR


@dataclass(frozen=True)
class DayOfEvents:
    """The events of one day, in order of time: indices of users and event types, milliseconds since midnight.

    ``day`` counts from the first simulated one, ``date`` is the same in UTC.
    """

    day: int
    date: dt.date
    user: Ints
    event_type: Ints
    ms: Ints


@dataclass(frozen=True)
class RateChange:
    """From ``date`` on every user visits ``factor`` times as often as by his rate in the truth file.

    Raises:
        SettingsError: the factor is negative or no number.
    """

    date: dt.date
    factor: float

    def __post_init__(self) -> None:
        if not 0 <= self.factor < math.inf:
            raise SettingsError(
                f"The factor of the visit rates is {self.factor}: give 0 or more, 0.5 halves them."
            )


def events_of_day(
    population: Population,
    day: int,
    date: dt.date,
    rng: np.random.Generator,
    rates: RateChange | None = None,
) -> DayOfEvents:
    """Draw the events of all present users; a user who signs up on this day visits at least once."""
    present = population.present_on(day)
    factor = rates.factor if rates and date >= rates.date else 1.0
    visits = rng.poisson(population.visits_per_day[present] * WEEKLY_SEASON[date.weekday()] * factor)
    visits = np.maximum(visits, population.signup_day[present] == day)
    visitor = np.repeat(present, visits)
    visit, event_type = _funnel(population, day, visitor, rng)
    begin = _times_of_day(len(visitor), rng)
    # Steps of a visit are half a minute apart; a visit that would pass midnight ends with it.
    ms = begin[visit] + (event_type * 30_000 + rng.exponential(30_000.0, len(visit))).astype(np.int64)
    ms = np.minimum(ms, MS_PER_DAY - 1)
    order = np.argsort(ms, kind="stable")
    return DayOfEvents(day, date, visitor[visit][order], event_type[order], ms[order])


def _funnel(population: Population, day: int, visitor: Ints, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """For each event, the index of its visit and its type."""
    count = len(visitor)
    page_views = 1 + rng.poisson(FURTHER_PAGE_VIEWS, count)
    clicks = rng.random(count) < CLICK_PROBABILITY
    carts = clicks & (rng.random(count) < CART_PROBABILITY)
    purchases = carts & (rng.random(count) < population.purchase_probability[visitor])
    discontent = population.dropout_day[visitor] - day <= DAYS_OF_DISCONTENT
    tickets = rng.random(count) < np.where(discontent, TICKET_PROBABILITY_BEFORE_DROPOUT, TICKET_PROBABILITY)
    per_type = [page_views, clicks, carts, purchases, tickets]
    visit = np.concatenate([np.repeat(np.arange(count), number) for number in per_type])
    event_type = np.repeat(np.arange(len(per_type)), [int(number.sum()) for number in per_type])
    return visit, event_type


def _times_of_day(count: int, rng: np.random.Generator) -> Ints:
    curve: Floats = np.cumsum(HOURLY_CURVE) / sum(HOURLY_CURVE)
    hours = np.searchsorted(curve, rng.random(count), side="right")
    return hours * MS_PER_HOUR + rng.integers(0, MS_PER_HOUR, count)
