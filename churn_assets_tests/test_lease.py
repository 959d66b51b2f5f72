"""One holder of a lease on all machines, until it gives it back or has died."""

import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from churn_assets import bucket
from churn_assets.errors import BusyError
from churn_assets.lease import Lease, held
from churn_assets_tests.buckets import BucketServer, Fault

SHORT = 1.0


@pytest.fixture
def place(bucket_uri: str) -> Path:
    return bucket.path(f"{bucket_uri}/lake/.locks/run.lease")


def test_who_holds_a_lease_is_said_to_the_next(place: Path) -> None:
    with held(Lease(place), patience=0), pytest.raises(BusyError) as caught:
        Lease(place).acquire(patience=0)
    line = str(caught.value)
    assert "Another churn run is at work on this lake: process" in line
    assert "its lease ends after 60 s" in line
    assert "\n" not in line


def test_a_lease_that_was_given_back_is_free_at_once(place: Path) -> None:
    for _ in range(3):
        with held(Lease(place), patience=0) as lease:
            assert not lease.is_lost
    assert Lease(place).holder() is None


def test_a_lease_is_held_for_as_long_as_its_holder_is_at_work(place: Path) -> None:
    with held(Lease(place, SHORT), patience=0) as lease:
        time.sleep(3 * SHORT)
        assert not lease.is_lost
        with pytest.raises(BusyError):
            Lease(place, SHORT).acquire(patience=0)


def test_a_lease_of_a_machine_that_died_is_taken_over_once_it_has_expired(place: Path) -> None:
    holder = {"host": "other", "pid": 1, "machine": "of another boot", "expires": SHORT}
    place.write_bytes(json.dumps({"holder": holder, "nonce": "1"}).encode())
    with pytest.raises(BusyError, match="process 1 on other"):
        Lease(place).acquire(patience=0)
    with held(Lease(place), patience=10):
        assert json.loads(place.read_bytes())["holder"]["host"] != "other"


def test_a_lease_of_a_process_of_this_machine_that_died_is_free_at_once(place: Path) -> None:
    code = (
        "import sys, os; from churn_assets import bucket; from churn_assets.lease import Lease; "
        "Lease(bucket.path(sys.argv[1])).acquire(0); os._exit(9)"
    )
    died = subprocess.run([sys.executable, "-c", code, str(place)], check=False)
    assert died.returncode == 9
    assert json.loads(place.read_bytes())["holder"]["pid"]
    Lease(place).acquire(patience=0)


@pytest.mark.parametrize("status", [500, 412])
def test_a_lease_is_held_though_the_answer_to_its_write_was_lost(
    place: Path, bucket_server: BucketServer, status: int
) -> None:
    bucket_server.fail(Fault("PUT", "run.lease", status=status, is_lost=True))
    with held(Lease(place), patience=0) as lease:
        assert bucket_server.happened() == [1]
        assert not lease.is_lost


def test_who_lost_a_lease_to_another_knows_it_and_leaves_it_to_that_one(place: Path) -> None:
    first = Lease(place, SHORT)
    first.acquire(patience=0)
    theirs = json.dumps({"holder": {"host": "other", "machine": "m", "pid": 1, "expires": 60}}).encode()
    place.write_bytes(theirs)
    time.sleep(SHORT)
    assert first.is_lost
    first.release()
    assert place.read_bytes() == theirs


def test_of_many_who_reach_for_a_lease_at_once_one_at_a_time_has_it(place: Path) -> None:
    inside: list[int] = []
    most: list[int] = []

    def work(number: int) -> None:
        for _ in range(3):
            with held(Lease(place), patience=60):
                inside.append(number)
                most.append(len(inside))
                inside.remove(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 12
