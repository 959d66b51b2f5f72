"""What a release does with a lake of an earlier one, in a process that finds the release's package.

Settings are those of the environment. Prints what it found, as JSON in the last line.
"""

import datetime as dt
import json
import sys
from typing import Any

from pyspark.sql import functions as F

from churn_assets import settings as settings_module
from churn_assets.assets.endpoint import AGREES_WITH_BATCH
from churn_assets.automation.history.instance import dagster_instance
from churn_assets.automation.runs.pipeline import Pipeline
from churn_assets.automation.staleness.migration import changes
from churn_assets.commands.model import reproduce
from churn_assets.graph import build_defs
from churn_assets.lakehouse.lake import Lakehouse
from churn_assets.model.registry import registry
from churn_assets.resources import lakehouse
from churn_assets.tables import CHURN_PREDICTIONS, USER_FEATURES

VERSIONS = (1, 2)


def main() -> None:
    """Everything but a training, and the versions of then made again."""
    settings = settings_module.load()
    lake, definitions, now = lakehouse(settings), build_defs(settings), dt.datetime.now(dt.UTC)
    with dagster_instance(settings) as instance:
        before = _in_words(changes(lake, instance, definitions, now))
        pipeline = Pipeline(definitions, lake, instance, lambda _: None)
        for stage in ("ingest", "featurize", "score", "deploy"):
            pipeline.run_stage(stage, now)
        after = _in_words(changes(lake, instance, definitions, now))
        checks = instance.event_log_storage.get_latest_asset_check_execution_by_key([AGREES_WITH_BATCH])
        agrees = checks[AGREES_WITH_BATCH].status.value
    rescored = {version: _largest_difference(lake, version) for version in VERSIONS}
    for version in VERSIONS:
        # Raises where it comes out differently.
        reproduce(version)
    found = {"before": before, "after": after, "computed": pipeline.report.computed}
    print(json.dumps({**found, "agrees": agrees, "rescored": rescored}))


def _rebuild() -> None:
    """A lake that no other release has seen, up to what a training would read."""
    settings, now = settings_module.load(), dt.datetime.now(dt.UTC)
    with dagster_instance(settings) as instance:
        pipeline = Pipeline(build_defs(settings), lakehouse(settings), instance, lambda _: None)
        for stage in ("ingest", "featurize"):
            pipeline.run_stage(stage, now)


def _in_words(found: Any) -> dict[str, list[str]]:
    return {
        change.table.name: [
            *(["is new"] if change.is_new else []),
            *(column.name for column in change.columns),
            *change.dates,
        ]
        for change in found
    }


def _largest_difference(lake: Lakehouse, version: int) -> float:
    """Between what the version said of its dates then, and what it says now of their features as they were.

    A version's number is that of the run that trained it, and so of the features that the run wrote.
    """
    score = registry.scorer(lake.spark, registry.model_uri(lake.settings, str(version)))
    then = lake.read(CHURN_PREDICTIONS).where(F.col("model_version") == version)
    now = lake.read(USER_FEATURES, version=version).select("user_id", "feature_date", score().alias("now"))
    both = then.join(now, ["user_id", "feature_date"], "left")
    difference = F.abs(F.coalesce("now", F.lit(9.0)) - F.col("churn_probability"))
    return both.agg(F.max(difference)).collect()[0][0]


if __name__ == "__main__":
    _rebuild() if "--rebuild" in sys.argv else main()
