"""A store of the page that can be counted by hand: 120 users to contact, one of control, one on no list."""

import datetime as dt
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from churn_assets.dates import ONE_DAY
from churn_assets.retention.overview import Cohort, Curve, Outcomes, Overview, TrendDay
from churn_assets.retention.survival import Lifetime, kaplan_meier
from churn_assets.serving import versions
from churn_assets.serving.page import build
from churn_assets.serving.page.store import FILE, NO_PREDICTION, About
from churn_assets.tables import TREATMENT_OUTCOMES

DATE = dt.date(2026, 11, 22)
CONTACTS = 120
CONTROL_USER, UNLISTED_USER = 500, 600
EVIL = "<script>alert('id')</script>"
EVIL_COUNTRY = '"><img src=x>'
DATES = (DATE - 7 * ONE_DAY, DATE)
DAYS = 3
NOTHING_MEASURED = Outcomes("save rate 0.1 assumed (CHURN_SAVE_RATE)", ())


def publish(folder: Path, version: str = "v1", **changes: Any) -> None:
    """Publish it. User n has rank n, value 1000 - n, and probability 0.9 for the first 20, 0.5 for others."""
    made = content(**changes)
    versions.add(folder, f"{DATE}-{version}", lambda target: build.build(made, target / FILE))


def content(
    contacts: int = CONTACTS,
    date: dt.date = DATE,
    outcomes: Outcomes = NOTHING_MEASURED,
    trend_days: int = 40,
    source: str = "one",
) -> build.Content:
    """Every fourth user is from FR, user 3 of an unknown country; each tenth is new."""
    users = list(range(1, contacts + 1))
    control = [CONTROL_USER] if contacts else []
    countries = [_country(user) for user in (*users, *control)]
    listed = {
        "rank": [*users, *(contacts + 1 for _ in control)],
        "user_id": [*users, *control],
        "source_user_id": [_source(user) for user in (*users, *control)],
        "assigned_group": ["contact"] * contacts + ["control"] * len(control),
        "churn_probability": [0.9 if user <= 20 else 0.5 for user in (*users, *control)],
        "probability_change": [None if user == 2 else 0.25 for user in (*users, *control)],
        "risk_band": ["high" if user <= 20 else "medium" for user in (*users, *control)],
        "value": [1000.0 - user for user in (*users, *control)],
        "expected_gain": [2.0] * (contacts + len(control)),
        "save_rate": [0.1] * (contacts + len(control)),
        "model_version": [1] * (contacts + len(control)),
        "country": countries,
        "is_new": [user % 10 == 0 for user in (*users, *control)],
        "reason_1": [EVIL if user == 1 else "Quiet for 22 days" for user in (*users, *control)],
        "reason_2": [None] * (contacts + len(control)),
        "reason_3": [None] * (contacts + len(control)),
        "uplift": [None] * (contacts + len(control)),
    }
    everybody = [*users, CONTROL_USER, UNLISTED_USER]
    people = {
        "user_id": everybody,
        "source_user_id": [_source(user) for user in everybody],
        "country": [_country(user) for user in everybody],
        "first_seen_date": [date - 100 * ONE_DAY] * len(everybody),
        "last_seen_date": [date - ONE_DAY] * len(everybody),
    }
    why = {
        "user_id": [1, 1, UNLISTED_USER],
        "rank": [1, 2, 1],
        "reason": ["Quiet for 22 days", "136 active days so far", "Active every day"],
        "contribution": [0.9, -0.2, -0.4],
    }
    probabilities = np.full((len(everybody), 2), 5000, dtype=np.uint16)
    probabilities[:, 0] = 1234
    probabilities[-1, 0] = NO_PREDICTION
    events = np.tile(np.array([0, 4, 7], dtype=np.uint16), (len(everybody), 1))
    about = About(
        overview=overview(date, outcomes, trend_days),
        source=source,
        published_at=dt.datetime(2026, 11, 23, 1, tzinfo=dt.UTC),
        contacts=contacts,
        control=len(control),
        contact_cost=1.0,
        probability_dates=(date - 7 * ONE_DAY, date),
        first_activity_date=date - (DAYS - 1) * ONE_DAY,
        countries=tuple(sorted(set(countries), key=lambda name: name or "")),
    )
    types = {
        "country": pa.string(),
        "reason_2": pa.string(),
        "reason_3": pa.string(),
        "rank": pa.int32(),
        "uplift": pa.float64(),
    }
    return build.Content(
        about,
        pa.table({name: pa.array(values, types.get(name)) for name, values in listed.items()}),
        pa.table(people),
        probabilities,
        events,
        pa.table(why),
    )


def overview(date: dt.date, outcomes: Outcomes, trend_days: int) -> Overview:
    """Of 1,000 users 250 are expected to churn on each date; 240 did where it is known."""
    trend = [
        TrendDay(date - back * ONE_DAY, 1000, 250.0, 240 if back >= 30 else None)
        for back in reversed(range(trend_days))
    ]
    steps = tuple(kaplan_meier([Lifetime(10, True, 500), Lifetime(60, False, 500)]))
    curves = tuple(Curve(name, 1000, steps) for name in ("All users", "2026 Q2", "2026 Q3"))
    cohorts = (Cohort("2026-09", 200, (1.0, 0.75)), Cohort("2026-10", 100, (1.0,)))
    return Overview(date, 30, tuple(trend), cohorts, curves, outcomes)


def measured() -> Outcomes:
    """A save rate that is known of all and of one band, and not of a channel."""
    row = dict.fromkeys(TREATMENT_OUTCOMES.column_names) | {
        "contact_users": 900, "contacted_users": 700, "contact_churners": 300, "contacted_churners": 200,
        "control_users": 100, "control_churners": 40, "contacted_control_users": 0,
    }  # fmt: skip
    known = {"save_rate": 0.25, "save_rate_low": 0.1, "save_rate_high": 0.4}
    few = "only 9 users contacted by phone"
    return Outcomes(
        "save rate 0.25 measured",
        (
            {**row, **known, "dimension": "all", "segment": "all"},
            {**row, **known, "dimension": "risk_band", "segment": "high"},
            {**row, "dimension": "channel", "segment": "phone", "reason": few},
        ),
        "ranked by risk x value, as uplift is not known: only 100 users in the control group",
    )


def _country(user: int) -> str | None:
    if user == 3:
        return None
    if user == 5:
        return EVIL_COUNTRY
    return "FR" if user % 4 == 0 else "DE"


def _source(user: int) -> str:
    return EVIL if user == 1 else "=1+1" if user == 2 else f"user-{user}@example.com"
