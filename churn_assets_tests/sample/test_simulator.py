"""What a simulation lands agrees with its report and with the truth kept aside."""

import datetime as dt
import hashlib
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import orjson
import pandas as pd
import pytest
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.metrics import roc_auc_score

from churn_assets.dates import DateRange
from churn_assets.errors import LandingError, SettingsError
from churn_assets.sample.behaviour import RateChange
from churn_assets.sample.delivery import MOST_DAYS_LATE
from churn_assets.sample.follow import follow
from churn_assets.sample.simulator import SimulationReport, simulate

START = dt.date(2026, 1, 1)
MISHAPS = {"late_share": 0.1, "duplicate_share": 0.05, "corrupt_share": 0.05}
NO_MISHAPS = {"late_share": 0.0, "duplicate_share": 0.0, "corrupt_share": 0.0}


def simulate_into(folder: Path, **options) -> SimulationReport:
    arguments = {"users": 200, "days": 20, "start": START, "seed": 7, **MISHAPS, **options}
    return simulate(str(folder / "landing"), arguments.pop("truth_file", folder / "truth.csv"), **arguments)


@pytest.fixture(scope="module")
def simulated(tmp_path_factory) -> tuple[Path, SimulationReport]:
    folder = tmp_path_factory.mktemp("simulated")
    return folder, simulate_into(folder)


def landed_lines(folder: Path) -> list[tuple[dt.date, bytes]]:
    """Arrival date and content of each line."""
    return [
        (dt.date.fromisoformat(file.stem.removeprefix("events-")), line)
        for file in sorted((folder / "landing").iterdir())
        for line in file.read_bytes().splitlines()
    ]


def parsed(line: bytes) -> dict | None:
    try:
        event = orjson.loads(line)
        dt.datetime.fromisoformat(event["event_ts"])
    except ValueError:
        return None
    return event if "user_id" in event and "event_id" in event else None


def intact_events(folder: Path) -> pd.DataFrame:
    """One row an event: user_id, event_type and day, counted from the start."""
    events = {e["event_id"]: e for _, line in landed_lines(folder) if (e := parsed(line))}
    frame = pd.DataFrame(events.values())
    frame["day"] = (pd.to_datetime(frame["event_ts"]).dt.tz_localize(None) - pd.Timestamp(START)).dt.days
    return frame


def truth_of(folder: Path) -> pd.DataFrame:
    """The truth by user_id, dates as days from the start; a user who is still there has no dropout_day."""
    truth = pd.read_csv(
        folder / "truth.csv", index_col="user_id", parse_dates=["signup_date", "dropout_date"]
    )
    truth["signup_day"] = (truth["signup_date"] - pd.Timestamp(START)).dt.days
    truth["dropout_day"] = (truth["dropout_date"] - pd.Timestamp(START)).dt.days
    return truth


def test_the_same_arguments_give_the_same_bytes_on_every_machine(simulated):
    folder, _ = simulated
    digest = hashlib.sha256((folder / "truth.csv").read_bytes())
    for file in sorted((folder / "landing").iterdir()):
        digest.update(file.name.encode() + file.read_bytes())
    assert digest.hexdigest() == "ed9cb6bfc07b349065c40bcc398b1b3785fbe9dcf149cd2e0e5a1505cc314319"


def test_another_seed_gives_other_users_and_events(simulated, tmp_path):
    folder, _ = simulated
    simulate_into(tmp_path, seed=8)
    assert (tmp_path / "truth.csv").read_bytes() != (folder / "truth.csv").read_bytes()
    ids, other_ids = ({*intact_events(each)["event_id"]} for each in (folder, tmp_path))
    assert ids.isdisjoint(other_ids)


def test_there_is_one_file_a_day(simulated):
    folder, report = simulated
    names = sorted(file.name for file in (folder / "landing").iterdir())
    assert names == [f"events-{START + dt.timedelta(day)}.json" for day in range(20)]
    assert (report.files, report.first_day, report.last_day) == (20, START, dt.date(2026, 1, 20))


def test_a_line_has_the_five_fields(simulated):
    folder, _ = simulated
    event = next(event for _, line in landed_lines(folder) if (event := parsed(line)))
    fields = ["event_id", "user_id", "event_ts", "event_type", "country"]
    assert list(event) == fields + ["amount"] * (event["event_type"] == "purchase")
    assert isinstance(event["user_id"], int)
    assert [len(part) for part in event["event_id"].split("-")] == [8, 4, 4, 4, 12]
    assert event["event_ts"].startswith("2026-01-01T")
    assert len(event["event_ts"]) == len("2026-01-01T00:00:00.000Z")


def test_the_report_counts_what_has_landed(simulated):
    folder, report = simulated
    lines = [line for _, line in landed_lines(folder)]
    ids = Counter(event["event_id"] for line in lines if (event := parsed(line)))
    broken = [line for line in lines if not parsed(line)]
    assert report.lines == len(lines)
    assert report.duplicates == sum(ids.values()) - len(ids) > 0
    assert report.corrupt.total() == len(broken) > 0
    assert report.events == len(ids) + len(broken) == report.lines - report.duplicates


def test_each_kind_of_corrupt_line_is_counted(simulated):
    folder, report = simulated
    kinds = Counter(damage(line) for _, line in landed_lines(folder) if not parsed(line))
    assert kinds == report.corrupt
    assert len(kinds) == 5


def damage(line: bytes) -> str:
    if not line.startswith(b"{"):
        return "not_json"
    try:
        event = orjson.loads(line)
    except ValueError:
        return "truncated"
    missing = {"user_id", "event_id"} - set(event)
    return f"missing_{missing.pop()}" if missing else "bad_event_ts"


def test_a_second_copy_is_exact_and_never_comes_first(simulated):
    folder, _ = simulated
    copies = defaultdict(list)
    for arrival, line in landed_lines(folder):
        if event := parsed(line):
            copies[event["event_id"]].append((arrival, line))
    twice = [pair for pair in copies.values() if len(pair) > 1]
    assert {len(pair) for pair in twice} == {2}
    assert all(first[1] == second[1] for first, second in twice)
    assert {second[0] > first[0] for first, second in twice} == {True, False}


def test_a_late_event_arrives_up_to_five_days_later_and_the_others_on_their_day(tmp_path):
    report = simulate_into(tmp_path, **{**NO_MISHAPS, "late_share": 0.1})
    delays = Counter(
        (arrival - dt.date.fromisoformat(orjson.loads(line)["event_ts"][:10])).days
        for arrival, line in landed_lines(tmp_path)
    )
    assert set(delays) == set(range(MOST_DAYS_LATE + 1))
    assert report.late == delays.total() - delays[0]
    assert 0.05 < report.late / report.events < 0.1  # those of the last day are not late


def test_nothing_is_late_doubled_or_broken_unless_asked_for(tmp_path):
    report = simulate_into(tmp_path, **NO_MISHAPS)
    assert (report.late, report.duplicates, report.corrupt.total()) == (0, 0, 0)
    days = [(arrival.isoformat(), orjson.loads(line)["event_ts"]) for arrival, line in landed_lines(tmp_path)]
    assert all(time.startswith(day) for day, time in days)
    assert days == sorted(days)


def test_nobody_is_heard_of_before_sign_up_or_after_dropout(simulated):
    folder, _ = simulated
    events = intact_events(folder).join(truth_of(folder), on="user_id")
    assert (events["day"] >= events["signup_day"]).all()
    left = events.dropna(subset="dropout_day")
    assert len(left) > 0
    assert (left["day"] < left["dropout_day"]).all()


def test_who_signs_up_in_the_period_has_an_event_on_that_day(tmp_path):
    simulate_into(tmp_path, **NO_MISHAPS)
    truth = truth_of(tmp_path)
    first = intact_events(tmp_path).groupby("user_id")["day"].min()
    new = truth[truth["signup_day"] >= 0]
    assert 50 < len(new) < 150
    assert first.reindex(new.index).astype(int).equals(new["signup_day"])


def test_the_first_day_is_not_empty(simulated):
    folder, _ = simulated
    assert intact_events(folder).query("day == 0")["user_id"].nunique() >= 20


@pytest.fixture(scope="module")
def half_a_year(tmp_path_factory) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Events and truth of the demo's size."""
    folder = tmp_path_factory.mktemp("half_a_year")
    report = simulate_into(folder, users=2000, days=180, seed=1, **NO_MISHAPS)
    assert 300_000 < report.events < 500_000
    return intact_events(folder), truth_of(folder)


def test_a_user_about_to_leave_is_likelier_to_ask_for_support(half_a_year):
    events, truth = half_a_year
    days_left = events["user_id"].map(truth["dropout_day"]) - events["day"]
    is_ticket = events["event_type"] == "support_ticket"
    assert is_ticket[days_left <= 14].mean() > 5 * is_ticket[~(days_left <= 14)].mean() > 0


def test_gradient_boosting_beats_recency_alone_out_of_time(half_a_year):
    events, _ = half_a_year
    days = int(events["day"].max()) + 1
    counts = np.zeros((events["user_id"].max() + 1, days))
    np.add.at(counts, (events["user_id"], events["day"]), 1)
    # Every seventh day is enough to see it: training up to day 119, a gap of the horizon, one test day.
    train = [features_and_labels(counts, day) for day in range(29, 120, 7)]
    features, labels = (np.concatenate(parts) for parts in zip(*train, strict=True))
    holdout, answers = features_and_labels(counts, days - 31)
    model = GradientBoostingClassifier(max_depth=4, random_state=42).fit(features, labels)
    recency_alone = roc_auc_score(answers, holdout[:, 0])
    assert 0.75 < recency_alone < 0.86
    assert roc_auc_score(answers, model.predict_proba(holdout)[:, 1]) > recency_alone + 0.03


def features_and_labels(counts: np.ndarray, day: int) -> tuple[np.ndarray, np.ndarray]:
    """days_since_last_event, event_count_30d, active_days_30d and rolling_7d_events, with the label."""
    month = counts[:, day - 29 : day + 1]
    active = month.any(axis=1)
    month, future = month[active], counts[active, day + 1 : day + 31]
    recency = (month[:, ::-1] > 0).argmax(axis=1)
    columns = [recency, month.sum(axis=1), (month > 0).sum(axis=1), month[:, -7:].sum(axis=1)]
    return np.column_stack(columns), future.sum(axis=1) == 0


def test_from_the_day_on_which_rates_halve_there_are_half_the_visits_and_before_it_nothing_differs(tmp_path):
    change = START + dt.timedelta(days=10)
    for name, rates in {"as_ever": None, "halved": RateChange(change, 0.5)}.items():
        simulate_into(tmp_path / name, users=500, rates=rates, **NO_MISHAPS)
    as_ever, halved = (tmp_path / name / "landing" for name in ("as_ever", "halved"))
    for day in range(10):
        file = f"events-{START + dt.timedelta(days=day)}.json"
        assert (as_ever / file).read_bytes() == (halved / file).read_bytes()
    events = {path.parent.name: intact_events(path.parent) for path in (as_ever, halved)}
    lines = {name: (rows["day"] >= 10).sum() for name, rows in events.items()}
    assert 0.4 < lines["halved"] / lines["as_ever"] < 0.6


def test_the_users_of_a_simulation_are_the_same_however_often_they_visit(tmp_path):
    simulate_into(tmp_path, days=3)
    simulate_into(tmp_path / "rates", days=3, rates=RateChange(START, 3.0))
    assert (tmp_path / "truth.csv").read_bytes() == (tmp_path / "rates" / "truth.csv").read_bytes()


def test_a_sample_that_goes_on_keeps_to_the_changed_rates(tmp_path):
    simulate_into(tmp_path, days=3)
    after = [START + dt.timedelta(days=day) for day in (3, 4, 5)]
    noon = dt.datetime.combine(after[2], dt.time(12), dt.UTC)
    files = follow(
        str(tmp_path / "landing"),
        DateRange(START, START + dt.timedelta(days=2)),
        users=200,
        seed=7,
        clock=lambda: noon,
        rates=RateChange(after[1], 0.0),
        **NO_MISHAPS,
    )
    landed = {file.name: file.lines for file in (next(files), next(files))}
    assert landed[f"events-{after[0]}.json"] > 0
    assert landed[f"events-{after[1]}.json"] == 0


@pytest.mark.parametrize("factor", [-0.1, float("nan"), float("inf")])
def test_rates_change_by_a_factor_that_is_a_number(factor):
    with pytest.raises(SettingsError, match=f"The factor of the visit rates is {factor}"):
        RateChange(START, factor)


def test_simulating_again_leaves_identical_files_alone(tmp_path):
    simulate_into(tmp_path, days=3)
    before = [file.stat().st_mtime_ns for file in sorted((tmp_path / "landing").iterdir())]
    report = simulate_into(tmp_path, days=3)
    assert report.already_landed == report.files == 3
    assert [file.stat().st_mtime_ns for file in sorted((tmp_path / "landing").iterdir())] == before


def test_an_interrupted_simulation_can_be_repeated(tmp_path):
    simulate_into(tmp_path, days=3)
    (tmp_path / "landing" / "events-2026-01-02.json").unlink()
    report = simulate_into(tmp_path, days=3)
    assert (report.files, report.already_landed) == (3, 2)


def test_another_simulation_is_refused_before_it_mixes_with_what_has_landed(tmp_path):
    simulate_into(tmp_path, days=3)
    with pytest.raises(LandingError, match=r"truth\.csv is there already with other content"):
        simulate_into(tmp_path, days=4)
    assert len(list((tmp_path / "landing").iterdir())) == 3


def test_a_landed_file_with_other_content_is_never_overwritten(tmp_path):
    file = tmp_path / "landing" / "events-2026-01-01.json"
    file.parent.mkdir()
    file.write_text("somebody else's\n")
    with pytest.raises(LandingError, match=r"events-2026-01-01\.json is there already with other content"):
        simulate_into(tmp_path, days=3)
    assert file.read_text() == "somebody else's\n"


def test_compressed_files_hold_the_same_lines_and_no_clock(tmp_path):
    simulate_into(tmp_path / "plain", days=2)
    simulate_into(tmp_path / "gz", days=2, compress=True)
    plain, gz = (sorted((tmp_path / kind / "landing").iterdir()) for kind in ("plain", "gz"))
    assert [file.name for file in gz] == [f"{file.name}.gz" for file in plain]
    assert gz[0].read_bytes()[4:8] == bytes(4)  # the header's modification time
    assert pd.read_csv(gz[0], sep="\0").equals(pd.read_csv(plain[0], sep="\0"))


def test_progress_counts_the_days(tmp_path):
    calls = []
    simulate_into(tmp_path, days=3, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(1, 3), (2, 3), (3, 3)]


def test_the_truth_is_kept_out_of_the_landing_zone(tmp_path):
    truth_file = tmp_path / "landing" / "truth.csv"
    with pytest.raises(LandingError, match="would lie in the landing zone"):
        simulate_into(tmp_path, truth_file=truth_file)
    assert not truth_file.exists()


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"users": 0}, "of 0 users is empty"),
        ({"days": -1}, "of -1 days is empty"),
        ({"seed": -1}, "The seed is -1"),
        ({"late_share": 1.5}, r"The late share is 1\.5"),
        ({"corrupt_share": float("nan")}, "The corrupt share is nan"),
    ],
)
def test_an_option_out_of_range_is_named(tmp_path, option, message):
    with pytest.raises(SettingsError, match=message):
        simulate_into(tmp_path, **option)
