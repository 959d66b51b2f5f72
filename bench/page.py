"""The page of ``churn serve`` at a million users: the time of each of its pages over HTTP.

The store of the page is made here, with everybody on the list, which is the longest there can be; a worker
serves it in a process of its own, as ``churn serve`` starts it. Run: ``python -m bench.page``; ``--users N``.
"""

import argparse
import contextlib
import datetime as dt
import multiprocessing
import random
import socket
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import requests
import uvicorn
from rich.console import Console
from rich.table import Table

from churn_assets.dates import ONE_DAY
from churn_assets.retention.overview import Cohort, Curve, Outcomes, Overview, TrendDay
from churn_assets.retention.survival import Lifetime, kaplan_meier
from churn_assets.serving import versions
from churn_assets.serving.page import build
from churn_assets.serving.page.store import FILE, PROBABILITY_UNITS, About
from churn_assets.serving.server.app import make_app
from churn_assets.serving.server.connections import BoundedProtocol
from churn_assets.serving.server.options import Options

TOKEN = "bench-token"  # noqa: S105 - of a server that is there for this only
DAY = dt.date(2026, 11, 30)
DATES, DAYS = 19, 90
COUNTRIES = ("DE", "ES", "FR", "GB", "IE", "NL", "SE", "US", None)
TIMES = 50

console = Console(width=120)


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--users", type=int, default=1_000_000)
    users = parser.parse_args().users
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        _make(root, users)
        with _served(root) as (url, worker):
            before = worker.memory_info().rss
            _measure(url, users)
            grown = (worker.memory_info().rss - before) / 1e6
            console.print(f"the worker grew by {grown:.0f} MB")


def _make(root: Path, users: int) -> None:
    content, version = _content(users), f"{DAY}-v1-bench"
    began = time.process_time()
    versions.add(root / "page", version, lambda target: build.build(content, target / FILE))
    took, size = time.process_time() - began, (root / "page" / version / FILE).stat().st_size / 1e6
    console.print(f"{users:,} users are written in {took:.0f} CPU seconds, {size:.0f} MB")


def _measure(url: str, users: int) -> None:
    session = requests.Session()
    session.headers["authorization"] = f"Bearer {TOKEN}"
    draw = random.Random(1)  # noqa: S311 - no secret
    pages = {
        "the list": lambda: "/",
        "any page of it": lambda: f"/?page={draw.randint(1, users // 50)}",
        "of a country and a band": lambda: f"/?country=DE&band=high&page={draw.randint(1, 200)}",
        "of value and new": lambda: f"/?value={draw.randint(50, 900)}&new=1",
        "nobody passes": lambda: "/?value=99999999",
        "a user by user_id": lambda: f"/user?id={draw.randint(1, users)}",
        "a user by source_user_id": lambda: f"/user?id=user-{draw.randint(1, users)}@example.com",
        "trend and retention": lambda: "/trend",
        "outcomes": lambda: "/outcomes",
    }
    table = Table("page", "first ms", "p50 ms", "p95 ms", "most ms", "kB")
    for name, path in pages.items():
        seconds, size = [], 0
        for _ in range(TIMES):
            began = time.perf_counter()
            answer = session.get(url + path(), timeout=60)
            seconds.append(time.perf_counter() - began)
            answer.raise_for_status()
            size = len(answer.content)
        ordered = [1000 * one for one in seconds]
        figures = (ordered[0], statistics.median(ordered), np.quantile(ordered, 0.95), max(ordered))
        table.add_row(name, *(f"{one:.1f}" for one in figures), f"{size / 1000:.0f}")
    began = time.perf_counter()
    size = len(session.get(url + "/list.csv", timeout=600).content)
    seconds_of_all = time.perf_counter() - began
    console.print(table)
    console.print(f"CSV of all: {size / 1e6:.0f} MB in {seconds_of_all:.0f} s")


def _content(users: int) -> build.Content:
    draw = np.random.default_rng(1)
    ids = np.arange(1, users + 1)
    probability = draw.beta(1.2, 3.0, users)
    value = draw.lognormal(4, 1, users).round(2)
    order = np.argsort(-probability * value)
    country = draw.integers(0, len(COUNTRIES), users)
    names = np.array(COUNTRIES, dtype=object)
    source = np.char.add(np.char.add("user-", ids.astype(str)), "@example.com").astype(object)
    words = np.array([f"Quiet for {n} days, usually active every {n % 9 + 1} days" for n in range(3000)])
    reasons = [words[draw.integers(0, len(words), users)] for _ in range(3)]
    listed = pa.table(
        {
            "rank": np.arange(1, users + 1),
            "user_id": ids[order],
            "source_user_id": source[order],
            "assigned_group": np.where(draw.random(users) < 0.1, "control", "contact"),
            "churn_probability": probability[order],
            "probability_change": draw.normal(0, 0.1, users),
            "risk_band": np.select(
                [probability[order] > 0.6, probability[order] > 0.2], ["high", "medium"], "low"
            ),
            "value": value[order],
            "expected_gain": (0.1 * probability * value)[order],
            "save_rate": np.full(users, 0.1),
            "model_version": np.ones(users, dtype=np.int64),
            "country": names[country][order],
            "is_new": draw.random(users) < 0.1,
            **{f"reason_{place}": one[order] for place, one in enumerate(reasons, start=1)},
        }
    )
    people = pa.table(
        {
            "user_id": ids,
            "source_user_id": source,
            "country": names[country],
            "first_seen_date": pa.array(np.full(users, DAY - 300 * ONE_DAY)),
            "last_seen_date": pa.array(np.full(users, DAY)),
        }
    )
    ranks = np.repeat(np.arange(1, 4), users)
    why = pa.table(
        {
            "user_id": np.tile(ids, 3),
            "rank": ranks,
            "reason": np.concatenate(reasons),
            "contribution": draw.normal(0, 1, 3 * users),
        }
    )
    control = listed["assigned_group"].to_pylist().count("control")
    about = About(
        overview=_overview(users),
        source="bench",
        published_at=dt.datetime.now(dt.UTC),
        contacts=users - control,
        control=control,
        contact_cost=1.0,
        probability_dates=tuple(DAY - (DATES - 1 - back) * ONE_DAY for back in range(DATES)),
        first_activity_date=DAY - (DAYS - 1) * ONE_DAY,
        countries=COUNTRIES,
    )
    units = draw.integers(0, PROBABILITY_UNITS, (users, DATES), dtype=np.uint16)
    events = draw.poisson(0.4, (users, DAYS)).astype(np.uint16)
    return build.Content(about, listed, people, units, events, why)


def _overview(users: int) -> Overview:
    trend = [TrendDay(DAY - back * ONE_DAY, users, 0.28 * users, None) for back in reversed(range(90))]
    cohorts = [
        Cohort(f"2026-{n:02}", users // 12, tuple(0.9**k for k in range(12 - n))) for n in range(1, 12)
    ]
    lives = [Lifetime(day, day % 2 == 0, users // 400) for day in range(300)]
    curves = [Curve(name, users, tuple(kaplan_meier(lives))) for name in ("All users", "2026 Q1", "2026 Q2")]
    return Overview(DAY, 30, tuple(trend), tuple(cohorts), tuple(curves), Outcomes("nothing measured", ()))


def _serve(root: Path, listener: socket.socket) -> None:
    options = Options(root, root / "online", root / "page", TOKEN, "admin-token")
    config = uvicorn.Config(make_app(options), http=BoundedProtocol, ws="none", log_level="warning")
    uvicorn.Server(config).run(sockets=[listener])


@contextlib.contextmanager
def _served(root: Path) -> Iterator[tuple[str, psutil.Process]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        process = multiprocessing.get_context("fork").Process(target=_serve, args=(root, listener))
        process.start()
        try:
            url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            requests.get(f"{url}/ping", timeout=60).raise_for_status()
            yield url, psutil.Process(process.pid)
        finally:
            process.terminate()
            process.join()


if __name__ == "__main__":
    main()
