"""Features by user_id: what is published is what is found, whatever dies in between."""

import datetime as dt
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from churn_assets.errors import ContractError, EndpointError
from churn_assets.serving.features.online_store import (
    FEATURES,
    IDS,
    META,
    OnlineStore,
    publish,
)
from churn_assets.serving.versions import POINTER, current_version

DAY = dt.date(2026, 11, 22)
COLUMNS = ("events", "age")


def publish_users(
    folder: Path, features: dict[int, tuple[float, float]], day: dt.date = DAY, version: int = 7
):
    matrix = np.array(list(features.values())).reshape(len(features), 2)
    return publish(folder, list(features), matrix, COLUMNS, day, version)


def versions(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_dir())


def test_a_known_user_has_a_row_and_an_unknown_one_has_none(tmp_path: Path) -> None:
    published = publish_users(tmp_path, {42: (5, 300), 7: (1, 20)})

    snapshot = OnlineStore(tmp_path).snapshot()

    assert snapshot is not None
    rows, is_known = snapshot.lookup(np.array([7, 8, 42, 7]))
    assert is_known.tolist() == [True, False, True, True]
    assert rows.tolist() == [[1, 20], [0, 0], [5, 300], [1, 20]]
    assert (snapshot.columns, snapshot.feature_date, snapshot.source_version) == (COLUMNS, DAY, 7)
    assert (published.users, published.feature_date, published.source_version) == (2, DAY, 7)
    assert published.bytes == sum(f.stat().st_size for f in (tmp_path / published.version).iterdir())


def test_a_store_without_users_knows_nobody(tmp_path: Path) -> None:
    publish_users(tmp_path, {})

    snapshot = OnlineStore(tmp_path).snapshot()

    assert snapshot is not None
    rows, is_known = snapshot.lookup([1, 2])
    assert rows.shape == (2, 2)
    assert is_known.tolist() == [False, False]


def test_nothing_is_there_before_something_is_published(tmp_path: Path) -> None:
    store = OnlineStore(tmp_path / "online")

    assert store.snapshot() is None

    publish_users(tmp_path / "online", {1: (1, 1)})
    assert store.snapshot() is not None


USER_IDS = st.integers(min_value=-(2**63), max_value=2**63 - 1)
FINITE = st.floats(allow_nan=False, allow_infinity=False)


@settings(max_examples=60)
@given(
    features=st.dictionaries(USER_IDS, st.tuples(FINITE, FINITE), max_size=30),
    user_ids=st.lists(USER_IDS, max_size=10),
    data=st.data(),
)
def test_a_lookup_answers_as_a_dict_does(
    tmp_path_factory: pytest.TempPathFactory, features, user_ids, data
) -> None:
    folder = tmp_path_factory.mktemp("online")
    publish_users(folder, features)
    if features:
        user_ids = user_ids + data.draw(st.lists(st.sampled_from(sorted(features)), max_size=10))

    snapshot = OnlineStore(folder).snapshot()

    assert snapshot is not None
    rows, is_known = snapshot.lookup(np.array(user_ids, dtype=np.int64))
    assert is_known.tolist() == [user in features for user in user_ids]
    assert rows.tolist() == [list(features.get(user, (0.0, 0.0))) for user in user_ids]


def test_what_is_published_later_replaces_what_was_there(tmp_path: Path) -> None:
    store = OnlineStore(tmp_path)
    publish_users(tmp_path, {1: (1, 1)})
    first = store.snapshot()

    publish_users(tmp_path, {2: (2, 2)}, day=DAY + dt.timedelta(days=1), version=8)

    second = store.snapshot()
    assert first is not None
    assert second is not None
    assert second.lookup([1, 2])[1].tolist() == [False, True]
    assert second.feature_date == DAY + dt.timedelta(days=1)
    # Who looked before goes on reading what it had.
    assert first.lookup([1, 2])[1].tolist() == [True, False]


def test_an_unchanged_store_is_read_once(tmp_path: Path) -> None:
    store = OnlineStore(tmp_path)
    publish_users(tmp_path, {1: (1, 1)})

    assert store.snapshot() is store.snapshot()


def test_the_version_before_is_kept_and_older_ones_are_removed(tmp_path: Path) -> None:
    published = [publish_users(tmp_path, {user: (1, 1)}).version for user in range(4)]

    assert versions(tmp_path) == sorted(published[-2:])
    assert current_version(tmp_path) == published[-1]


def test_a_reader_that_maps_a_removed_version_still_reads_it(tmp_path: Path) -> None:
    publish_users(tmp_path, {1: (1, 1)})
    old = OnlineStore(tmp_path).snapshot()

    for user in (2, 3, 4):
        publish_users(tmp_path, {user: (user, user)})

    assert old is not None
    assert old.lookup([1])[0].tolist() == [[1, 1]]


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_a_number_that_is_none_is_refused_and_nothing_changes(tmp_path: Path, number: float) -> None:
    publish_users(tmp_path, {1: (1, 1)})
    before = current_version(tmp_path)

    with pytest.raises(ContractError, match=r"user_id 5 have age = -?(nan|inf); expected a finite number"):
        publish_users(tmp_path, {4: (1, 1), 5: (1, number)})

    assert current_version(tmp_path) == before


def test_what_may_be_null_is_published_as_nan_and_is_never_infinite(tmp_path: Path) -> None:
    def publish_age(*ages: float) -> None:
        matrix = [(1.0, age) for age in ages]
        publish(tmp_path, range(len(ages)), matrix, COLUMNS, DAY, 7, nullable={"age", "of another table"})

    publish_age(300, np.nan)

    snapshot = OnlineStore(tmp_path).snapshot()
    assert snapshot is not None
    rows, is_known = snapshot.lookup([1, 0])
    assert np.array_equal(rows, [[1, np.nan], [1, 300]], equal_nan=True)
    assert is_known.all()
    with pytest.raises(ContractError, match="user_id 1 have age = inf; expected a finite number or none"):
        publish_age(300, np.inf)
    with pytest.raises(ContractError, match="user_id 0 have events = nan; expected a finite number\\."):
        publish(tmp_path, [0], [(np.nan, 1)], COLUMNS, DAY, 7, nullable={"age"})


def test_a_user_given_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="user_id 3 twice"):
        publish(tmp_path, [3, 1, 3], np.ones((3, 2)), COLUMNS, DAY, 1)


def test_features_that_do_not_fit_their_columns_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match=r"2 users, 2 columns, have the shape \(2, 3\)"):
        publish(tmp_path, [3, 1], np.ones((2, 3)), COLUMNS, DAY, 1)


@pytest.mark.parametrize("name", [IDS, FEATURES, META])
def test_damaged_files_are_named_with_what_to_do(tmp_path: Path, name: str) -> None:
    version = publish_users(tmp_path, {1: (1, 1)}).version
    (tmp_path / version / name).write_bytes(b"")

    with pytest.raises(EndpointError, match=rf"{version} are damaged.*materialise online_user_features"):
        OnlineStore(tmp_path).snapshot()


def test_a_version_whose_folder_is_gone_is_named(tmp_path: Path) -> None:
    (tmp_path / POINTER).write_text("2026-11-22-v1-gone")

    with pytest.raises(EndpointError, match="2026-11-22-v1-gone are damaged"):
        OnlineStore(tmp_path).snapshot()


KILLED_AT_EACH_STEP = """
import json, os, signal, sys, tempfile
from pathlib import Path
import numpy as np
import filelock
from churn_assets.serving.features.online_store import OnlineStore, publish
import datetime as dt

CHANGES = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree"}

def users(folder):
    snapshot = OnlineStore(folder).snapshot()
    assert snapshot.lookup(snapshot.user_ids)[0][:, 0].tolist() == snapshot.user_ids.tolist()
    return snapshot.user_ids.tolist()

def put(folder, *ids):
    publish(folder, ids, [[float(id_)] for id_ in ids], ["x"], dt.date(2026, 11, 22), 1)

seen, clean = [], []
for step in range(1, 100):
    folder = Path(tempfile.mkdtemp(dir=sys.argv[1]))
    put(folder, 1)
    put(folder, 2)
    child = os.fork()
    if child == 0:
        left = step
        def kill(event, arguments):
            global left
            if event in CHANGES:
                left -= 1
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
        sys.addaudithook(kill)
        put(folder, 3, 4)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    seen.append(users(folder))
    put(folder, 5)
    folders, drafts = [p for p in folder.iterdir() if p.is_dir()], list(folder.glob(".CURRENT-*"))
    clean.append([users(folder), len(folders), len(drafts)])
    if status == 0:
        break
print(json.dumps({"seen": seen, "clean": clean}))
"""


def test_a_death_at_any_step_leaves_the_old_version_or_the_new_one(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", KILLED_AT_EACH_STEP, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    found = json.loads(ran.stdout)

    # Killed before each change on disk in turn; the last one lived.
    assert len(found["seen"]) > 10
    assert found["seen"][0] == [2]
    assert found["seen"][-1] == [3, 4]
    turn = found["seen"].index([3, 4])
    assert found["seen"] == [[2]] * turn + [[3, 4]] * (len(found["seen"]) - turn)
    # The next publication works, and clears away what the dead one left.
    assert found["clean"] == [[[5], 2, 0]] * len(found["clean"])


def test_a_worker_that_looks_features_up_loads_nothing_heavy() -> None:
    look = (
        "import sys, churn_assets.serving.features.online_store\n"
        "heavy = {'pandas', 'pyspark', 'dagster', 'mlflow', 'databricks', 'filelock'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )

    found = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)

    assert found.stdout.strip() == "[]"
