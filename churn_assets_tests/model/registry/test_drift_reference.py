import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from churn_assets.errors import ModelError
from churn_assets.model.registry import registry
from churn_assets.model.registry.drift_reference import (
    ARTIFACT,
    drift,
    load_reference,
    make_reference,
    reference_of,
)
from churn_assets.settings import Settings
from churn_assets.tables import FEATURE_COLUMNS, SCORE
from churn_assets.transforms.drift import COMPARED, MAXIMUM_BINS, Distribution
from churn_assets_tests.model.conftest import settings_with_database


def rows(**values: Any) -> pd.DataFrame:
    """One row a user, or as ``user_id`` says; every feature is 1 unless it is given."""
    length = max(len(one) for one in values.values())
    return pd.DataFrame({"user_id": range(length), **dict.fromkeys(FEATURE_COLUMNS, 1), **values})


def reference_for(name: str, values: Any) -> Any:
    """Bins of one feature."""
    return reference_of(make_reference(rows(**{name: values}), [0.5]))[name]


def test_recency_has_bins_of_their_own_for_0_1_and_2_days():
    found = reference_for("days_since_last_event", [0] * 5 + [1] * 3 + [2] + list(range(3, 30)))

    assert found.edges == (0.5, 1.5, 2.5, 4.5, 6.5, 9.5, 13.5, 20.5)
    assert found.shares[:4] == (5 / 36, 3 / 36, 1 / 36, 2 / 36)


def test_bins_of_the_other_features_hold_about_a_tenth_each():
    found = reference_for("event_count_30d", range(1, 101))

    assert found.edges == tuple(ten + 0.5 for ten in range(10, 100, 10))
    assert found.shares == (0.1,) * 10


def test_a_bin_of_less_than_two_in_a_hundred_joins_its_neighbour():
    found = reference_for("purchase_count_30d", [0] * 50 + [1] * 30 + [2] * 19 + [40])

    assert found.edges == (0.5, 1.5)
    assert found.shares == (0.5, 0.3, 0.2)


def test_a_constant_feature_has_one_bin():
    assert reference_for("purchase_count_30d", [0, 0, 0]) == Distribution((), (1.0,), 3)


@given(
    st.sampled_from(["days_since_last_event", "rolling_7d_events"]),
    st.lists(st.integers(0, 60), min_size=1, max_size=60),
)
def test_no_bin_is_empty_and_no_edge_is_a_value(name: str, values: list[int]):
    edges, shares, *_ = reference_for(name, values)

    assert len(shares) == len(edges) + 1 <= MAXIMUM_BINS
    assert min(shares) >= 0.02
    assert sum(shares) == pytest.approx(1)
    assert not set(edges) & set(values)
    assert list(edges) == sorted(edges)


def test_the_last_bit_of_a_score_moves_nobody_to_another_bin():
    scores = np.repeat([0.1, 0.2, 0.3], 100)
    reference = reference_of(make_reference(rows(user_id=range(300)), scores))
    later = {
        one.feature: one.psi for one in drift(reference, rows(user_id=range(300)), np.nextafter(scores, 1))
    }

    assert len(reference[SCORE].shares) == 3
    assert later[SCORE] == 0


def test_the_rows_of_the_reference_do_not_drift_from_it():
    train = rows(event_count_30d=range(200), days_since_last_event=np.arange(200) % 30)
    scores = np.linspace(0, 1, 200)
    found = drift(reference_of(make_reference(train, scores)), train, scores)

    assert [one.feature for one in found] == list(COMPARED)
    assert [one.psi for one in found] == [0.0] * len(COMPARED)


def test_chance_is_counted_by_users_and_not_by_their_many_rows():
    train = rows(user_id=[1, 1, 1, 2, 2, 2], event_count_30d=[1, 2, 3, 4, 5, 6])
    reference = reference_of(make_reference(train, [0.1, 0.2, 0.3, 0.4], [7, 7, 8, 9]))

    assert (reference["event_count_30d"].users, reference[SCORE].users) == (2, 3)


@pytest.mark.parametrize(
    ("train", "scores", "message"),
    [
        (rows(user_id=[1]).head(0), [0.5], "0 training rows and 1 scores"),
        (rows(user_id=[1]), [], "1 training rows and 0 scores"),
        (rows(user_id=[1]), [0.5, float("nan")], "2 scores of the holdout, of which 1 are numbers"),
    ],
    ids=["no rows", "no scores", "a score that is none"],
)
def test_nothing_to_compare_with_is_refused(train: pd.DataFrame, scores: list[float], message: str):
    with pytest.raises(ModelError, match=message):
        make_reference(train, scores)


def registered(settings: Settings, reference: dict[str, Any] | None) -> int:
    """A version whose run left this reference, or none."""
    registry.configure(settings)
    from mlflow import MlflowClient

    client = MlflowClient()
    experiment = client.get_experiment_by_name(registry.experiment_name(settings))
    assert experiment
    run_id = client.create_run(experiment.experiment_id).info.run_id
    if reference:
        client.log_dict(run_id, reference, ARTIFACT)
    name = registry.registered_model_name(settings)
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name)
    source = f"{client.get_run(run_id).info.artifact_uri}/model"
    return int(client.create_model_version(name, source, run_id).version)


REFERENCE = make_reference(rows(event_count_30d=range(50)), np.linspace(0, 1, 50))


def test_a_versions_reference_comes_back_as_it_was_made_and_is_read_once(settings: Settings):
    version = registered(settings, REFERENCE)

    loaded = load_reference(settings, version)

    assert loaded == reference_of(json.loads(json.dumps(REFERENCE))) == reference_of(REFERENCE)
    for file in settings.lake_root.rglob(ARTIFACT):
        file.unlink()
    assert load_reference(settings, version) is loaded


def test_version_1_of_another_lake_has_a_reference_of_its_own(tmp_path: Path, new_database: Path):
    other = make_reference(rows(event_count_30d=range(100, 150)), np.linspace(0, 1, 50))
    found = []
    for name, reference in {"one": REFERENCE, "two": other}.items():
        settings = settings_with_database(tmp_path / name, new_database)
        assert registered(settings, reference) == 1
        found.append(load_reference(settings, 1))

    assert found == [reference_of(REFERENCE), reference_of(other)]


def test_a_version_without_a_reference_and_one_that_is_not_registered_say_so(settings: Settings):
    version = registered(settings, None)

    for missing in (version, version + 1):
        with pytest.raises(
            ModelError, match=f"Version {missing} of churn-prediction-model has no {ARTIFACT}"
        ):
            load_reference(settings, missing)


def test_what_is_missing_is_a_bin_of_its_own():
    found = reference_for("mean_gap_days", [1.0, 1.0, float("nan"), 9.0])

    assert (found.edges, found.shares, found.missing) == ((5.0,), (0.5, 0.25), 0.25)
    assert reference_for("amount_total", [float("nan")] * 3) == Distribution((), (), 3, 1.0)


def test_a_feature_that_becomes_missing_or_appears_drifts():
    known, unknown = rows(mean_gap_days=[1.0] * 50 + [2.0] * 50), rows(mean_gap_days=[float("nan")] * 100)
    of_known, of_unknown = (reference_of(make_reference(one, [0.5])) for one in (known, unknown))

    def psi(reference: Any, of: pd.DataFrame) -> float:
        return next(one.psi for one in drift(reference, of, [0.5]) if one.feature == "mean_gap_days")

    assert psi(of_known, known) == psi(of_unknown, unknown) == 0.0
    assert psi(of_known, unknown) > 1
    assert psi(of_unknown, known) > 1
