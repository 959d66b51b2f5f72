"""``churn rollback`` and ``churn reproduce``: put an earlier version back, or train a version again."""

from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from churn_assets import console
from churn_assets.commands.current import current_settings
from churn_assets.console import out
from churn_assets.errors import LakeError, ModelError, one_line

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from churn_assets.lakehouse.lake import Lakehouse
    from churn_assets.model.reproduce import Recipe
    from churn_assets.tables import Table


def rollback(
    to: Annotated[
        int | None, typer.Option("--to", min=1, help="A version that was Production; else the previous one.")
    ] = None,
) -> None:
    """Put the previous champion back: move the alias, score the last date with it, deploy it."""
    from churn_assets.assets.endpoint import CHURN_PREDICTION_ENDPOINT
    from churn_assets.assets.promotions import recorded_promotions
    from churn_assets.automation.history.instance import dagster_instance
    from churn_assets.automation.history.lake_lock import is_locked
    from churn_assets.automation.runs.pipeline import Pipeline
    from churn_assets.deployed_lake import lakehouse
    from churn_assets.graph import build_defs
    from churn_assets.model.registry.rollback import roll_back

    settings = current_settings()
    lake = lakehouse(settings)
    with console.steps() as step, dagster_instance(settings) as instance:
        # Checked before the alias moves: a run at work scores and deploys the version that it began with.
        if is_locked(settings, instance):
            raise LakeError("Another churn run is at work on this lake. Wait for it, then roll back.")
        step("alias")
        moved = roll_back(settings, recorded_promotions(lake), str(to) if to else None)
        report = Pipeline(build_defs(settings), lake, instance, step).follow_the_model()
    scored = f"{report.covered} is scored with it" if report.covered else "no date has scores"
    deployed = ".".join(CHURN_PREDICTION_ENDPOINT.path) in report.computed
    out.print(
        f"Production: from version {moved.replaced or 'none'} to {moved.version}; {scored}; the endpoint "
        f"{'is deployed with it' if deployed else 'was left as it is'}.",
        soft_wrap=True,
    )
    for note in report.notes:
        out.print(note)


def reproduce(version: Annotated[int, typer.Argument(min=1, help="The version to make again.")]) -> None:
    """Train a version again on the tables as they were, and compare its predictions of the holdout."""
    from churn_assets.deployed_lake import lakehouse
    from churn_assets.model import reproduce as model
    from churn_assets.model.data import dataset
    from churn_assets.tables import CHURN_LABELS, USER_FEATURES

    settings = current_settings()
    lake = lakehouse(settings)
    with console.steps() as step:
        step("what its training noted")
        recipe = model.recipe(settings, str(version))
        step("tables as they were")
        erased = _erased(lake, version)
        try:
            features, labels = (_as_it_was(lake, table, recipe) for table in (USER_FEATURES, CHURN_LABELS))
        except ModelError:
            if not erased.users:
                raise
            out.print(
                f"Version {version}: {erased.says}, and the tables' past with them: it cannot be made again.",
                soft_wrap=True,
            )
            return
        labelled = dataset.labelled_rows(features, labels, recipe.features)
        rows = dataset.frames(labelled, recipe.split, recipe.training_rows)
        step("training and predictions")
        comparison = model.compare(settings, recipe, rows)
    out.print(
        f"Version {version}: {recipe.spec['estimator']}, {recipe.definition}, trained on "
        f"{recipe.split.train} ({len(rows.train):,} rows), held out {recipe.split.holdout} "
        f"({comparison.rows:,} rows); {_versions(lake, recipe)}.",
        soft_wrap=True,
    )
    if others := model.code_differences(recipe):
        out.print(f"The code is not that of then: {'; '.join(others)}.", soft_wrap=True)
    if not comparison.is_equal and erased.of_version:
        out.print(
            f"{erased.says}, whom it may have been trained with: it cannot be equal; the largest difference "
            f"is {comparison.largest_difference:.3g}.",
            soft_wrap=True,
        )
        return
    if not comparison.is_equal:
        raise ModelError(
            f"Version {version} comes out differently: largest difference "
            f"{comparison.largest_difference:.3g}, of user {comparison.user_id} on "
            f"{comparison.feature_date}. {_why(others)}"
        )
    out.print(f"equal: the largest difference is {comparison.largest_difference:.3g}.")


class _Erased(NamedTuple):
    """How many users were erased from the lake, and how many of them a version may have been trained with."""

    users: int
    of_version: int

    @property
    def says(self) -> str:
        users = self.of_version or self.users
        return f"{users} user{' has' if users == 1 else 's have'} been erased since"


def _erased(lake: "Lakehouse", version: int) -> _Erased:
    from churn_assets.lakehouse.erased_users import receipts

    if lake.is_remote:
        return _Erased(0, 0)
    found = list(receipts(lake.settings))
    of_version = sum(receipt.users for receipt in found if version in receipt.model_versions)
    return _Erased(sum(receipt.users for receipt in found), of_version)


def _as_it_was(lake: "Lakehouse", table: "Table", recipe: "Recipe") -> "DataFrame":
    from deltalake.exceptions import DeltaError
    from pyspark.errors import PySparkException

    version = recipe.delta_versions.get(str(table))
    if version is None:
        raise ModelError(f"The training of version {recipe.version} noted no Delta version of {table}.")
    try:
        return lake.read(table, recipe.dates, version=version)
    except (DeltaError, OSError, PySparkException) as error:
        raise ModelError(
            f"Delta version {version} of {table} is gone ({one_line(error, max_length=150)}), "
            f"so version {recipe.version} cannot be made again: only a backup brings it back. "
            "Clean up with churn maintain alone, which keeps what registered versions need."
        ) from error


def _versions(lake: "Lakehouse", recipe: "Recipe") -> str:
    from churn_assets.tables import CHURN_LABELS, USER_FEATURES

    tables = (USER_FEATURES, CHURN_LABELS)
    return ", ".join(
        f"{table.name} at Delta version {recipe.delta_versions[str(table)]} of {lake.version(table)}"
        for table in tables
    )


def _why(others: list[str]) -> str:
    if others:
        return "Check out that commit and install those packages, then try again."
    return "By the same code, so the tables or what was noted of the training are not what they were."
