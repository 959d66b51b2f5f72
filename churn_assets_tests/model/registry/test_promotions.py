"""How the alias moves, what is noted of it, and which version a rollback goes back to."""

import datetime as dt
from pathlib import Path
from typing import Any

import pytest

from churn_assets.errors import ModelError
from churn_assets.model.registry import promotions, registry, rollback
from churn_assets.settings import Settings
from churn_assets.tables import MODEL_PROMOTIONS
from churn_assets_tests.model.conftest import local_settings


def new_version(settings: Settings, roc_auc: float = 0.8) -> str:
    """The next version; nobody loads it, so that there is nothing behind it but a run with metrics."""
    from mlflow import MlflowClient

    registry.configure(settings)
    client, name = MlflowClient(), registry.registered_model_name(settings)
    if not client.search_registered_models(f"name='{name}'"):
        client.create_registered_model(name)
    experiment = client.get_experiment_by_name(registry.experiment_name(settings))
    assert experiment
    run = client.create_run(experiment.experiment_id)
    client.log_metric(run.info.run_id, "roc_auc", roc_auc)
    client.log_metric(run.info.run_id, "brier", 0.2)
    source = f"{run.info.artifact_uri}/model"
    return str(client.create_model_version(name, source, run.info.run_id).version)


def win(settings: Settings, replaces: str | None, roc_auc: float = 0.8) -> str:
    """A new version that the gate promotes."""
    version = new_version(settings, roc_auc)
    promotions.promote(settings, version, cause="gate", reason=f"{version} won.", replaces=replaces)
    return version


def champion(settings: Settings) -> str | None:
    production = registry.production_version(settings)
    return str(production.version) if production else None


def row(promotion: int, version: int, cause: str = "gate") -> dict[str, Any]:
    return {
        "promotion": promotion,
        "version": version,
        "cause": cause,
        "promoted_at": dt.datetime(2026, 1, promotion, tzinfo=dt.UTC),
    }


def shown(rows: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return [(r["promotion"], r["version"], r["previous_version"], r["cause"], r["reason"]) for r in rows]


def test_before_the_first_promotion_there_is_nothing_to_note(settings: Settings) -> None:
    assert promotions.new_rows(settings, []) == []
    new_version(settings)
    assert promotions.new_rows(settings, []) == []


def test_a_promotion_moves_the_alias_and_is_noted_once(settings: Settings) -> None:
    win(settings, replaces=None, roc_auc=0.75)
    assert champion(settings) == "1"

    rows = promotions.new_rows(settings, [])

    assert shown(rows) == [(1, 1, None, "gate", "1 won.")]
    assert (rows[0]["roc_auc"], rows[0]["brier"]) == (0.75, 0.2)
    assert set(rows[0]) == set(MODEL_PROMOTIONS.column_names)
    assert dt.datetime.now(dt.UTC) - rows[0]["promoted_at"] < dt.timedelta(minutes=1)
    assert promotions.new_rows(settings, rows) == []


def test_every_promotion_is_noted_even_where_nobody_looked_in_between(settings: Settings) -> None:
    win(settings, replaces=None)
    rows = promotions.new_rows(settings, [])
    new_version(settings)  # 2, refused
    win(settings, replaces="1")
    win(settings, replaces="3")
    promotions.promote(settings, "1", cause="rollback", reason="Back.", replaces="4")

    assert shown(promotions.new_rows(settings, rows)) == [
        (2, 3, 1, "gate", "3 won."),
        (3, 4, 3, "gate", "4 won."),
        (4, 1, 4, "rollback", "Back."),
    ]


def test_a_version_that_came_back_twice_is_noted_each_time_and_with_its_first_win(settings: Settings) -> None:
    win(settings, replaces=None)
    win(settings, replaces="1")
    promotions.promote(settings, "1", cause="rollback", reason="Back.", replaces="2")
    win(settings, replaces="1")
    promotions.promote(settings, "1", cause="rollback", reason="Back again.", replaces="3")

    assert [(row["version"], row["cause"], row["reason"]) for row in promotions.new_rows(settings, [])] == [
        (1, "gate", "1 won."),
        (2, "gate", "2 won."),
        (1, "rollback", "Back."),
        (3, "gate", "3 won."),
        (1, "rollback", "Back again."),
    ]


def test_a_move_by_hand_is_noted_as_such_and_not_by_what_the_version_once_won(settings: Settings) -> None:
    win(settings, replaces=None)
    win(settings, replaces="1")
    rows = promotions.new_rows(settings, [])
    registry.promote(settings, "1")

    rows += promotions.new_rows(settings, rows)

    assert shown(rows)[-1] == (3, 1, 2, "other", "The alias was moved in the registry.")
    assert promotions.new_rows(settings, rows) == []


def test_a_move_by_hand_after_a_promotion_that_nobody_noted_leaves_both(settings: Settings) -> None:
    win(settings, replaces=None)
    rows = promotions.new_rows(settings, [])
    win(settings, replaces="1")
    registry.promote(settings, "1")

    assert shown(promotions.new_rows(settings, rows)) == [
        (2, 2, 1, "gate", "2 won."),
        (3, 1, 2, "other", "The alias was moved in the registry."),
    ]


def test_a_version_whose_run_is_gone_is_noted_without_metrics(settings: Settings) -> None:
    from mlflow import MlflowClient

    new_version(settings)
    name = registry.registered_model_name(settings)
    MlflowClient().create_model_version(name, "file:///gone", run_id="0" * 32)
    promotions.promote(settings, "2", cause="gate", reason="2 won.", replaces=None)

    [noted] = promotions.new_rows(settings, [])
    assert (noted["version"], noted["roc_auc"], noted["brier"]) == (2, None, None)


@pytest.mark.parametrize("replaces", [None, "2"])
def test_a_decision_against_another_champion_than_there_is_changes_nothing(
    settings: Settings, replaces: str | None
) -> None:
    from mlflow import MlflowClient

    win(settings, replaces=None)
    challenger = new_version(settings)

    with pytest.raises(ModelError, match=r"version 1: somebody moved the alias meanwhile") as error:
        promotions.promote(settings, challenger, cause="gate", reason="It won.", replaces=replaces)

    assert "\n" not in str(error.value)
    assert champion(settings) == "1"
    tags = MlflowClient().get_model_version(registry.registered_model_name(settings), challenger).tags
    assert tags == {}


def test_an_alias_that_cannot_be_moved_leaves_no_trace_of_a_promotion(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    win(settings, replaces=None)
    challenger = new_version(settings)

    def refused(*_: Any) -> None:
        raise OSError("no answer")

    monkeypatch.setattr(MlflowClient, "set_registered_model_alias", refused)
    with pytest.raises(OSError, match="no answer"):
        promotions.promote(settings, challenger, cause="gate", reason="It won.", replaces="1")

    tags = MlflowClient().get_model_version(registry.registered_model_name(settings), challenger).tags
    assert (champion(settings), tags) == ("1", {})


def test_a_long_reason_is_cut_to_what_a_tag_holds(settings: Settings) -> None:
    version = new_version(settings)
    promotions.promote(settings, version, cause="gate", reason="x" * 2000, replaces=None)

    assert [len(one["reason"]) for one in promotions.new_rows(settings, [])] == [900]


@pytest.mark.parametrize(
    ("rows", "previous"),
    [
        ([], None),
        ([row(1, 1)], None),
        ([row(1, 1), row(2, 3)], "1"),
        # A second rollback goes one further back, and not to what the first one took away.
        ([row(1, 1), row(2, 2), row(3, 3), row(4, 2, "rollback")], "1"),
        ([row(1, 1), row(2, 2), row(3, 1, "rollback")], None),
        ([row(1, 1), row(2, 2), row(3, 1, "rollback"), row(4, 3)], "1"),
        ([row(1, 1), row(2, 2), row(3, 1, "other")], "2"),
    ],
)
def test_the_previous_champion_is_who_the_present_one_replaced(
    rows: list[dict[str, Any]], previous: str | None
) -> None:
    assert rollback.previous_champion(rows) == previous
    assert rollback.previous_champion(rows[::-1]) == previous


def test_all_registered_versions_are_listed_promoted_or_not(settings: Settings) -> None:
    assert promotions.registered_versions(settings) == {}
    win(settings, replaces=None)
    new_version(settings)

    found = promotions.registered_versions(settings)
    assert list(found) == [1, 2]
    assert all(found.values())


def test_asking_a_lake_without_models_for_versions_makes_nothing(tmp_path: Path) -> None:
    assert promotions.registered_versions(local_settings(tmp_path)) == {}
    assert list(tmp_path.iterdir()) == []
