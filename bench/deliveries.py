"""Kills the delivery of lists again and again: each list must arrive, and none twice under another key.

    .venv/bin/python -m bench.deliveries --kills 50

A webhook's receiver and a folder get a list a day, from a process that is killed (SIGKILL) at a seeded
moment: before or after the receiver has stored the list, or while the record, the file or the answer is being
written. Exit 1 if a list is lost, or has come under two keys or with two contents.
"""

import argparse
import datetime as dt
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import dagster as dg

from churn_assets import settings as settings_module
from churn_assets.asset_keys import asset_key
from churn_assets.assets.retention import retention_assets
from churn_assets.dates import ONE_DAY, DateRange
from churn_assets.deployed_lake import lakehouse
from churn_assets.lakehouse.io_manager import LakeIOManager
from churn_assets.lakehouse.lake import Lakehouse
from churn_assets.retention.deliveries import deliveries, handover, records
from churn_assets.retention.targets import KEY_HEADER, SIGNATURE_HEADER, signature
from churn_assets.settings import Settings
from churn_assets.tables import DELIVERIES, RETENTION_LIST

FIRST = dt.date(2026, 1, 1)
SECRET = "of the bench"  # noqa: S105 - nobody's
PATIENCE_SECONDS = 180

# The engine starts first, so that the moments of a kill are those of the delivery.
ONE_DELIVERY = "import sys; from bench.deliveries import deliver_once; deliver_once(*sys.argv[1:])"


def deliver_once(folder: str, url: str) -> None:
    """Materialise the deliveries as Dagster does, in this process."""
    settings = settings_in(Path(folder), url)
    lake = lakehouse(settings)
    print(f"started {type(lake.spark).__name__}", flush=True)
    asset = next(one for one in retention_assets(settings) if one.key == asset_key(DELIVERIES))
    with dg.DagsterInstance.ephemeral() as instance:
        dg.materialize(
            [asset, dg.AssetSpec(asset_key(RETENTION_LIST))],
            selection=[asset.key],
            resources={
                "lakehouse": lake,
                "lake_io": LakeIOManager(lake),
                "pyspark": None,
                "pyspark_step_launcher": None,
            },
            instance=instance,
        )


def settings_in(folder: Path, url: str) -> Settings:
    """Return the settings of the lake in a folder, which delivers to a webhook and a folder."""
    return settings_module.load(
        _env_file=None,
        lake_root=folder / "lake",
        delivery_webhook=url,
        delivery_secret=SECRET,
        delivery_folder=str(folder / "delivered"),
    )


@dataclass
class Received:
    """What the receiver has stored, by key; ``pauses`` are for a kill, before and after it stores."""

    digests: dict[str, set[str]] = field(default_factory=dict)
    requests: int = 0
    stored: int = 0
    unsigned: int = 0
    pauses: tuple[float, float] = (0.0, 0.0)


def receiver(received: Received) -> ThreadingHTTPServer:
    """Return a server that stores each list once by its key, and refuses what is not signed."""

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            sent = self.headers[SIGNATURE_HEADER]
            timestamp = int(sent.partition(",")[0].removeprefix("t="))
            if sent != signature(SECRET, timestamp, body):
                received.unsigned += 1
                self.send_response(401)
                self.end_headers()
                return
            received.requests += 1
            time.sleep(received.pauses[0])
            received.digests.setdefault(self.headers[KEY_HEADER], set()).add(json.loads(body)["digest"])
            received.stored += 1
            time.sleep(received.pauses[1])
            try:
                self.send_response(200)
                self.end_headers()
            except OSError:
                pass  # The sender is dead.

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server's name
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    Thread(target=server.serve_forever, daemon=True).start()
    return server


def write_list(lake: Lakehouse, day: dt.date) -> None:
    """Write a list of three users to contact and one of the control group."""
    rows = [
        (
            *(user, day, f"={user}", rank, "control" if rank == 2 else "contact", 0.5, None, "medium", 50.0),
            *(4.0 - rank / 8, 0.1, "Quiet for 9 days, usually active every day", None, None, 1),
        )
        for rank, user in enumerate((day.toordinal() % 97, 200, 300, 400), start=1)
    ]
    schema = ", ".join(f"{column.name} {column.type}" for column in RETENTION_LIST.columns)
    lake.write(RETENTION_LIST, lake.spark.createDataFrame(rows, schema), DateRange(day, day))


def deliver(folder: Path, url: str) -> "subprocess.Popen[str]":
    """Start the asset in a process of its own, and return once its engine has started."""
    process = subprocess.Popen(  # noqa: S603 - ourselves
        [sys.executable, "-c", ONE_DELIVERY, str(folder), url],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={key: value for key, value in os.environ.items() if not key.startswith("CHURN_")},
    )
    if process.stdout:
        process.stdout.readline()
    return process


def moments(
    lake: Lakehouse, received: Received, folder: Path, day: dt.date
) -> dict[str, tuple[Callable[[], bool], float]]:
    """Return what to wait for before a kill, and up to how many seconds later it comes."""
    version, requests, stored = lake.version(DELIVERIES), received.requests, received.stored
    file = folder / "delivered" / f"retention_list-{day}.csv"
    draft = file.with_name(f".{file.name}.draft")
    return {
        "before the record of the attempt": (lambda: True, 0.4),
        "once the attempt is on record": (lambda: lake.version(DELIVERIES) > version, 0.05),
        "before the receiver stores": (lambda: received.requests > requests, 0.0),
        "after the receiver has stored": (lambda: received.stored > stored, 0.0),
        "after the answer": (lambda: received.stored > stored, 0.2),
        "while the file is written": (lambda: draft.exists() or file.exists(), 0.0),
        "after the file": (file.exists, 0.2),
        "at the record of the outcome": (lambda: lake.version(DELIVERIES) > version + 1, 0.02),
    }


def kill_at(process: "subprocess.Popen[str]", reached: Callable[[], bool], delay: float) -> bool:
    """Kill the process so long after the moment; whether it was still alive."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not reached() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.0005)
    time.sleep(delay)
    was_alive = process.poll() is None
    if was_alive:
        process.send_signal(signal.SIGKILL)
    process.wait()
    return was_alive


def problems(lake: Lakehouse, received: Received, folder: Path, days: list[dt.date]) -> list[str]:
    """Return what is lost, doubled, or not on record."""
    found = []
    known = deliveries(records(lake))
    for day in days:
        expected = handover(lake, day)
        digests = received.digests.get(expected.key, set())
        if digests != {expected.digest}:
            found.append(f"{day}: the webhook holds {len(digests)} contents")
        file = folder / "delivered" / f"retention_list-{day}.csv"
        if not file.exists() or file.read_bytes() != expected.csv:
            found.append(f"{day}: the folder's file is not the list")
        for target in ("webhook", "folder"):
            one = known.get((day, target))
            if one is None or not one.is_delivered:
                found.append(f"{day}: not on record as delivered to the {target}")
    strangers = len(received.digests) - len(days)
    drafts = list((folder / "delivered").glob(".*"))
    return [
        *found,
        *([f"{strangers} keys of no list"] if strangers else []),
        *([f"{received.unsigned} posts were not signed"] if received.unsigned else []),
        *([f"{len(drafts)} drafts are left"] if drafts else []),
    ]


def main() -> None:
    """Kill so often, and say what arrived."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    chance, received = random.Random(arguments.seed), Received()  # noqa: S311 - no secret
    server = receiver(received)
    url = f"http://127.0.0.1:{server.server_port}/lists"
    with tempfile.TemporaryDirectory() as name:
        folder, days, alive = Path(name), list[dt.date](), Counter[str]()
        lake = lakehouse(settings_in(folder, url))
        # A target gets each list from its first one on.
        days.append(FIRST)
        write_list(lake, FIRST)
        deliver(folder, url).wait()
        for number in range(1, arguments.kills + 1):
            days.append(FIRST + number * ONE_DAY)
            write_list(lake, days[-1])
            process = deliver(folder, url)
            all_moments = moments(lake, received, folder, days[-1])
            moment = chance.choice(list(all_moments))
            reached, most = all_moments[moment]
            # Held back, so that the kill comes before or after the list is stored.
            received.pauses = {
                "before the receiver stores": (0.3, 0.0),
                "after the receiver has stored": (0.0, 0.3),
            }.get(moment, (0.0, 0.0))
            was_alive = kill_at(process, reached, chance.uniform(0, most))
            alive[f"{moment}: {'killed' if was_alive else 'was over'}"] += 1
            print(f"{number}. {moment}: {'killed' if was_alive else 'was over'}", flush=True)
        received.pauses = (0.0, 0.0)
        time.sleep(0.5)
        deliver(folder, url).wait()
        wrong = problems(lake, received, folder, days)
    for line, count in sorted(alive.items()):
        print(f"{count:3} x {line}")
    print(
        f"{len(days)} lists, {received.requests} posts under {len(received.digests)} keys, "
        f"{received.requests - len(received.digests)} of them repeats that the key tells; "
        f"{len(wrong)} problems"
    )
    print("\n".join(wrong))
    server.shutdown()
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
