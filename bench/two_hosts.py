"""Two machines race for one lake in a bucket: python -m bench.two_hosts s3://bucket/prefix --rounds 200.

Each is a process with a state folder of its own: they share nothing but the bucket. In each round both reach
for the lake's lease, then both note into the ledger of dates at once. In some rounds both take the same file
into Bronze, without the table's lease, as after one of them has lost it. Exit 1 if any is lost or doubled.
The environment says where the bucket is (AWS_ENDPOINT_URL and so on).
"""

import argparse
import contextlib
import multiprocessing
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError

from churn_assets import bucket
from churn_assets import settings as settings_module
from churn_assets.errors import BusyError, LakeError
from churn_assets.lakehouse.computed_dates.rows import Row
from churn_assets.lakehouse.file_ledger import append_new_files
from churn_assets.lakehouse.folder_lake import FolderLakehouse
from churn_assets.lakehouse.landing_lines import read_rows
from churn_assets.lease import Lease
from churn_assets.sample.landing_writer import LandingWriter
from churn_assets.tables import LANDED_EVENTS, Table

LINES_A_FILE = 3
MACHINES = 2


class Unlocked(FolderLakehouse):
    """A lake whose writer has lost its lock without knowing it."""

    @contextmanager
    def lock(self, table: Table) -> Iterator[None]:  # noqa: ARG002 - whichever table's
        """Hold nothing."""
        yield


def lake_of(root: str, state: Path) -> Unlocked:
    """The lake, as one machine sees it."""
    from churn_assets.deployed_lake import spark_resource

    settings = settings_module.load(
        _env_file=None, deployment="local", lake_root=root, state_root=state, mlflow_tracking_uri=""
    )
    return Unlocked(settings, lambda: spark_resource(settings).spark_session)


def machine(  # noqa: PLR0913, PLR0917 - what a process is told
    number: int, root: str, rounds: int, ingestions: int, start: Any, results: Any
) -> None:
    """One machine: its part of every round."""
    counts = {"held": 0, "refused": 0, "at once": 0, "took in": 0, "told to try again": 0}
    with tempfile.TemporaryDirectory() as state:
        lake = lake_of(root, Path(state))
        inside = lake.settings.lake_root / "inside"
        for each in range(rounds):
            start.wait()
            lease = Lease(lake.settings.lake_root / ".locks" / "race.lease")
            try:
                lease.acquire(patience=0)
            except BusyError:
                counts["refused"] += 1
            else:
                counts["held"] += 1
                counts["at once"] += bucket.create(inside, uuid.uuid4().bytes) is None
                bucket.remove(inside)
                lease.release()
            lake.ledger.append([Row(f"machine {number}, round {each}", None)])
        for each in range(ingestions):
            start.wait()
            with contextlib.suppress(LakeError, CommitFailedError):
                done = append_new_files(
                    lake,
                    {f"{each:05}.json"},
                    lambda new: read_rows(lake.spark, lake.settings.landing_root, new),
                    lambda: datetime.now(UTC),
                )
                counts["took in"] += done.files
                continue
            counts["told to try again"] += 1
    results.put(counts)


def main() -> int:
    """Race, and say how it ended."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root")
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--ingestions", type=int, default=20)
    options = parser.parse_args()
    root = f"{options.root.rstrip('/')}/{uuid.uuid4().hex[:8]}"
    with tempfile.TemporaryDirectory() as state:
        lake = lake_of(root, Path(state))
        lake.read(LANDED_EVENTS)
        writer = LandingWriter(lake.settings.landing_root)
        for each in range(options.ingestions):
            writer.put(f"{each:05}.json", b'{"event_id": "e", "user_id": 1}\n' * LINES_A_FILE)

    spawned = multiprocessing.get_context("spawn")
    start, results = spawned.Barrier(MACHINES), spawned.Queue()
    arguments = (root, options.rounds, options.ingestions, start, results)
    machines = [spawned.Process(target=machine, args=(number, *arguments)) for number in range(MACHINES)]
    began = time.monotonic()
    for process in machines:
        process.start()
    counts = [results.get() for _ in machines]
    for process in machines:
        process.join()

    with tempfile.TemporaryDirectory() as state:
        lake = lake_of(root, Path(state))
        # The ingestions note into the ledger too.
        notes = [row for row in lake.ledger.read().all_rows() if row.table_name.startswith("machine ")]
        landed = DeltaTable(str(lake.location(LANDED_EVENTS))).to_pyarrow_table(columns=["_source_file"])
    # Not by the engine, whose session ends when a long race leaves it idle.
    lines = Counter(landed["_source_file"].to_pylist())
    wrong = {
        "leases held at once": sum(count["at once"] for count in counts),
        "notes lost": MACHINES * options.rounds - len(notes),
        "notes with another's number": len(notes) - len({row.noted for row in notes}),
        "files lost": options.ingestions - len(lines),
        "files doubled": sum(count != LINES_A_FILE for count in lines.values()),
    }
    print(f"{options.rounds} rounds, {options.ingestions} ingestions, {time.monotonic() - began:.0f} s")
    for number, count in enumerate(counts):
        print(f"machine {number}: {count}")
    print(wrong)
    bucket.remove(bucket.path(root))
    return int(any(wrong.values()))


if __name__ == "__main__":
    sys.exit(main())
