"""A simulated event log that lands file by file, with the truth about its users in a separate file."""

import datetime as dt
import gzip
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa

from churn_assets.dates import ONE_DAY
from churn_assets.errors import LandingError, SettingsError
from churn_assets.sample.behaviour import RateChange, events_of_day
from churn_assets.sample.delivery import Shares, deliver
from churn_assets.sample.landing_writer import LandingWriter
from churn_assets.sample.population import Ints, draw_population, random_stream, truth_csv
from churn_assets.sample.text_columns import end_to_end

Arrivals = dict[int, list[tuple[pa.StringArray, Ints]]]


@dataclass
class SimulationReport:
    """What was simulated. ``lines`` = ``events`` + ``duplicates``; of the events, ``corrupt`` arrived broken.

    ``late`` counts events that arrived after the day on which they happened, ``corrupt`` lines by kind of
    damage (see ``delivery.CORRUPTIONS``), ``already_landed`` files that were there with the same content.
    """

    users: int
    first_day: dt.date
    last_day: dt.date
    truth_file: Path
    files: int = 0
    already_landed: int = 0
    bytes: int = 0
    lines: int = 0
    events: int = 0
    late: int = 0
    duplicates: int = 0
    corrupt: Counter[str] = field(default_factory=Counter)


def simulate(  # noqa: PLR0913 - one option of the command line each
    landing: str,
    truth_file: Path,
    *,
    users: int,
    days: int,
    start: dt.date,
    seed: int,
    late_share: float,
    duplicate_share: float,
    corrupt_share: float,
    rates: RateChange | None = None,
    compress: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> SimulationReport:
    """Land one JSON-lines file a day, named by the day on which its lines arrived.

    The same arguments give the same bytes (compressed ones also need the same zlib); files that are already
    there with the same content are left alone, so an interrupted simulation can be repeated.

    Args:
        landing: folder or URI of the landing zone.
        truth_file: CSV outside the landing zone, see ``population.truth_csv``.
        users: user_ids 1 to ``users``.
        days: number of UTC days, hence of files.
        start: first day.
        seed: 0 or more.
        late_share: share of events that arrive 1 to 5 days late, but not after the last day.
        duplicate_share: share of events of which an exact second copy arrives, in the same or a later file.
        corrupt_share: share of events that arrive as a broken line.
        rates: how much more or less everybody visits from some day on; the truth file does not say it.
        compress: gzip the files.
        progress: called with the days done and ``days``.

    Raises:
        SettingsError: an argument is out of its range.
        LandingError: a file of the same name with other content is there, or a file cannot be written.
    """
    shares = Shares(late_share, duplicate_share, corrupt_share)
    _check(users, days, seed, shares)
    writer = LandingWriter(landing)
    population = draw_population(users, days, seed)
    _write_truth(truth_file, landing, truth_csv(population, start, days))
    report = SimulationReport(users, start, start + (days - 1) * ONE_DAY, truth_file)

    on_the_way: Arrivals = defaultdict(list)
    for day in range(days):
        date = start + day * ONE_DAY
        # A stream a day: a day's events do not depend on how many draws the days before it took.
        rng = random_stream(seed, day + 1)
        events = events_of_day(population, day, date, rng, rates)
        delivery = deliver(events, population, days - 1, shares, rng)
        for arrival_day in np.unique(delivery.arrival_day).tolist():
            on_the_way[arrival_day].append(delivery.arriving(arrival_day))
        content, lines = _content(on_the_way.pop(day, []))
        name = f"events-{date}.json"
        if compress:
            content, name = gzip.compress(content, compresslevel=6, mtime=0), f"{name}.gz"

        report.already_landed += not writer.put(name, content)
        report.files += 1
        report.bytes += len(content)
        report.lines += lines
        report.events += len(events.ms)
        report.late += delivery.late
        report.duplicates += delivery.duplicates
        report.corrupt += delivery.corrupt
        if progress:
            progress(day + 1, days)
    return report


def _content(arrivals: list[tuple[pa.StringArray, Ints]]) -> tuple[bytes, int]:
    """The lines in the order in which they arrived, end to end, and their number."""
    if not arrivals:
        return b"", 0
    lines = pa.concat_arrays([lines for lines, _ in arrivals])
    order = np.argsort(np.concatenate([keys for _, keys in arrivals]), kind="stable")
    return end_to_end(lines.take(pa.array(order))), len(lines)


def _check(users: int, days: int, seed: int, shares: Shares) -> None:
    for name, value in (("users", users), ("days", days)):
        if value < 1:
            raise SettingsError(f"A simulation of {value} {name} is empty: give at least 1.")
    if seed < 0:
        raise SettingsError(f"The seed is {seed}: give 0 or more.")
    for name, share in vars(shares).items():
        if not 0 <= share <= 1:
            raise SettingsError(f"The {name} share is {share}: give a share of the events, from 0 to 1.")


def _write_truth(truth_file: Path, landing: str, content: bytes) -> None:
    if "://" not in landing and Path(landing).absolute() in truth_file.absolute().parents:
        raise LandingError(
            f"The truth file {truth_file} would lie in the landing zone {landing} and be ingested. "
            "Put it somewhere else."
        )
    # Written before the events: other arguments are noticed here, before their files mix with landed ones.
    LandingWriter(str(truth_file.absolute().parent)).put(truth_file.name, content)
