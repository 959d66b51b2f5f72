"""``churn import --treatments`` as its user meets it."""

import pytest
from typer.testing import CliRunner

from churn_assets import cli
from churn_assets import deployed_lake as deployed
from churn_assets.asset_keys import asset_key
from churn_assets.automation.history.instance import dagster_instance
from churn_assets.automation.history.log_reader import latest_metadata
from churn_assets.commands import imports
from churn_assets.tables import TREATMENTS, USERS
from churn_assets_tests.rows import D, frame

NEXT = "Next: churn run measures what the contacts changed, once the horizon of their lists is over."


@pytest.fixture
def churn(lake, spark, monkeypatch, tmp_path):
    """The output of a command on a lake with one user, in whose folder it is called."""
    lake.write(USERS, frame(spark, USERS, [(1, D, D, None, None)]))
    monkeypatch.chdir(tmp_path)
    # Set before the command exports it, so that it is gone after the test too.
    monkeypatch.setenv("DAGSTER_HOME", "")
    monkeypatch.setattr(imports, "current_settings", lambda: lake.settings)
    monkeypatch.setattr(deployed, "lakehouse", lambda _: lake)

    def run(*arguments: str):
        return CliRunner().invoke(cli.app, ["import", *arguments], env={"COLUMNS": "200"})

    return run


def test_an_import_says_what_it_added_and_dagster_shows_it(churn, lake, tmp_path) -> None:
    (tmp_path / "calls.csv").write_text("user_id,treated_at\n1,2026-03-02\n2,2026-03-02\n")
    arguments = ("--treatments", "calls.csv", "--channel", "=phone")

    first, second = churn(*arguments), churn(*arguments)

    assert first.output.splitlines() == [
        "2 rows of 1 files: 1 new treatments in main_catalog.gold.treatments, 0 were known before.",
        "1 rows are none in main_catalog.gold.quarantined_treatments: unknown_user 1.",
        NEXT,
    ]
    again = "0 new treatments in main_catalog.gold.treatments, 1 were known before."
    assert second.output.splitlines()[0].endswith(again)
    with dagster_instance(lake.settings) as instance:
        assert latest_metadata(instance, asset_key(TREATMENTS))["rows_known_before"].value == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--treatments"], "Give files."),
        (["--treatments", "a.csv", "--undo"], "--undo: of events, and these are treatments."),
        (["a.csv", "--channel", "=email"], "--channel: of treatments: say --treatments."),
    ],
)
def test_options_of_the_other_kind_are_refused(churn, arguments, says) -> None:
    result = churn(*arguments)

    assert result.exit_code == 2
    assert says in result.output
