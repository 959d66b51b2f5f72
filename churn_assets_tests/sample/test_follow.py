"""A sample that goes on: the same users, now, in files that land until Ctrl-C."""

import datetime as dt
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from churn_assets.dates import ONE_DAY, DateRange
from churn_assets.sample.follow import LandedFile, follow, simulated_days
from churn_assets.sample.population import draw_population
from churn_assets.sample.simulator import simulate

START = dt.date(2026, 1, 1)
DAYS, USERS, SEED = 40, 300, 3
SAMPLE = DateRange(START, START + (DAYS - 1) * ONE_DAY)
# Noon of the day after the sample's last one.
NOON = dt.datetime(2026, 2, 10, 12, tzinfo=dt.UTC)
EVERY = dt.timedelta(seconds=5)


def following(landing: Path, first: dt.datetime = NOON, **shares: float) -> Iterator[LandedFile]:
    """Files whose clock moves on by five seconds each time it is read."""
    ticks = (first + i * EVERY for i in range(10_000))
    return follow(
        str(landing),
        SAMPLE,
        users=USERS,
        seed=SEED,
        late_share=shares.get("late_share", 0.0),
        duplicate_share=shares.get("duplicate_share", 0.0),
        corrupt_share=shares.get("corrupt_share", 0.0),
        clock=lambda: next(ticks),
    )


def events_of(landing: Path, landed: LandedFile) -> list[dict]:
    return [orjson.loads(text) for text in (landing / landed.name).read_bytes().splitlines()]


def when(event: dict) -> dt.datetime:
    return dt.datetime.fromisoformat(event["event_ts"])


def test_each_file_holds_what_happened_since_the_last_one(tmp_path: Path) -> None:
    files = following(tmp_path)

    first, second = next(files), next(files)

    for number, landed in enumerate((first, second)):
        times = [when(event) for event in events_of(tmp_path, landed)]
        assert len(times) == landed.lines > 5
        assert all(NOON + number * EVERY <= at < NOON + (number + 1) * EVERY for at in times)
    assert sorted(path.name for path in tmp_path.iterdir()) == [first.name, second.name]


def test_only_users_who_have_not_left_do_something(tmp_path: Path) -> None:
    files = following(tmp_path)

    seen = {event["user_id"] for _ in range(20) for event in events_of(tmp_path, next(files))}

    population = draw_population(USERS, DAYS, SEED)
    present = set(population.user_id[population.present_on(DAYS)].tolist())
    assert len(seen) > 30
    assert seen <= present < set(range(1, USERS + 1))


def test_late_events_are_of_the_five_days_before_and_are_counted(tmp_path: Path) -> None:
    files = [landed for landed, _ in zip(following(tmp_path, late_share=0.5), range(20), strict=False)]

    back = Counter(
        (NOON.date() - when(event).date()).days for landed in files for event in events_of(tmp_path, landed)
    )

    assert set(back) == {0, 1, 2, 3, 4, 5}
    assert sum(landed.late for landed in files) == back.total() - back[0]
    assert 0.3 < 1 - back[0] / back.total() < 0.7


def test_nobody_did_anything_before_signing_up(tmp_path: Path) -> None:
    files = [landed for landed, _ in zip(following(tmp_path, late_share=1.0), range(20), strict=False)]
    population = draw_population(USERS, DAYS, SEED)
    signup = dict(zip(population.user_id.tolist(), population.signup_day.tolist(), strict=True))

    days = [
        (event["user_id"], (when(event).date() - START).days)
        for landed in files
        for event in events_of(tmp_path, landed)
    ]

    # Some have signed up in the last five days, so that it could have happened.
    assert any(signup[user] > DAYS - 5 for user, _ in days)
    assert [user for user, day in days if day < signup[user]] == []


def test_no_event_comes_twice_unless_it_is_asked_for(tmp_path: Path) -> None:
    files = following(tmp_path)
    once = [event["event_id"] for _ in range(10) for event in events_of(tmp_path, next(files))]

    files = following(tmp_path, NOON + ONE_DAY, duplicate_share=1.0)
    next(files)
    twice = [event["event_id"] for event in events_of(tmp_path, next(files))]

    assert len(set(once)) == len(once)
    assert set(Counter(twice).values()) == {2}


def test_days_since_the_sample_are_landed_first_and_whole(tmp_path: Path) -> None:
    files = following(tmp_path, NOON + 2 * ONE_DAY)

    names = [next(files).name for _ in range(3)]

    assert names[:2] == ["events-2026-02-10.json", "events-2026-02-11.json"]
    assert names[2].startswith("live-20260212T1200")
    hours = {when(orjson.loads(text)).hour for text in (tmp_path / names[0]).read_bytes().splitlines()}
    assert len(hours) > 15


def test_after_midnight_nothing_is_of_the_future_or_of_yesterday(tmp_path: Path) -> None:
    midnight = NOON.replace(hour=23, minute=59, second=58)
    files = following(tmp_path, midnight)

    landed = [next(files) for _ in range(2)]

    times = [when(event) for event in events_of(tmp_path, landed[0])]
    assert all(NOON.date() + ONE_DAY == at.date() and at < midnight + EVERY for at in times)


def test_the_days_of_a_sample_are_read_from_its_files(tmp_path: Path) -> None:
    simulate(
        str(tmp_path / "landing"),
        tmp_path / "truth.csv",
        users=5,
        days=3,
        start=START,
        seed=1,
        late_share=0,
        duplicate_share=0,
        corrupt_share=0,
        compress=True,
    )

    assert simulated_days(str(tmp_path / "landing")) == DateRange(START, START + 2 * ONE_DAY)
    assert [path.unlink() for path in (tmp_path / "landing").iterdir()]
    (tmp_path / "landing" / "orders.json").touch()
    assert simulated_days(str(tmp_path / "landing")) is None


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_lands_files_until_it_is_interrupted(tmp_path: Path, number: signal.Signals) -> None:
    yesterday = dt.datetime.now(dt.UTC).date() - ONE_DAY
    env = {
        **os.environ,
        "CHURN_DEPLOYMENT": "local",
        "CHURN_LAKE_ROOT": str(tmp_path / "lake"),
        "CHURN_START_DATE": str(yesterday - 2 * ONE_DAY),
        "PYTHONUNBUFFERED": "1",
    }
    command = [sys.executable, "-c", "from churn_assets.cli import main; main()", "simulate", "--follow"]
    with subprocess.Popen(
        [*command, "--every", "0.1", "--users", "50"],
        env=env,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr
        for text in process.stderr:
            if "live-" in text:
                break
        process.send_signal(number)
        out, _ = process.communicate(timeout=20)

    names = sorted(path.name for path in (tmp_path / "lake" / "landing" / "events").iterdir())
    assert process.returncode == 0
    assert out.splitlines()[-1].startswith("Landed ")
    assert [name for name in names if name.startswith("events-")] == [
        f"events-{yesterday - back * ONE_DAY}.json" for back in (2, 1, 0)
    ]
    assert not [name for name in names if name.startswith(".")]
    assert any(name.startswith("live-") for name in names)
