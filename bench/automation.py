"""What the automation costs at 730 to 10,000 dates: loading the definitions, a tick, an evaluation."""

import datetime as dt
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import dagster as dg

from bench.lakes import HORIZON, settings_of
from churn_assets.asset_keys import asset_key
from churn_assets.dates import ONE_DAY, DateRange
from churn_assets.lakehouse.computed_dates.checked_ledger import CheckedLedger
from churn_assets.lakehouse.computed_dates.rows import LedgerRows, Row, ledger_name, parameters_text
from churn_assets.settings import Settings
from churn_assets.tables import CHURN_LABELS, DATED, EVENTS, LANDED_EVENTS, PREDICTION_OUTCOMES, USERS

DATES = 730
MANY_DATES = (2_000, 10_000)
FILES = 10_000


def last_dates(count: int) -> DateRange:
    """So many dates up to yesterday."""
    today = dt.datetime.now(dt.UTC).date()
    return DateRange(today - count * ONE_DAY, today - ONE_DAY)


WHOLE = last_dates(DATES)
START = WHOLE.start


def main() -> None:
    """Prints seconds and targets."""
    for count in (DATES, *MANY_DATES):
        print(f"definitions load with {count:,} partitions: {definitions_load(count):.2f} s (target 6)")
    for count in MANY_DATES:
        measure_tick(count)
    with tempfile.TemporaryDirectory() as temporary:
        settings = settings_of(Path(temporary), START)
        from churn_assets.automation.history.instance import dagster_instance

        with dagster_instance(settings) as instance:
            write_history(instance)
            measure(settings, instance)


def definitions_load(dates: int) -> float:
    """Seconds of a process that loads the code location and resolves its graph; the median of three."""
    look = (
        "from churn_assets.definitions import defs\n"
        "graph = defs.resolve_asset_graph()\n"
        "defs.get_repository_def().load_all_definitions()\n"
        "print(max(len(graph.get(k).partitions_def.get_partition_keys()) "
        "for k in graph.get_all_asset_keys() if graph.get(k).partitions_def))\n"
    )
    found = []
    for _ in range(3):
        started = time.perf_counter()
        done = subprocess.run(  # noqa: S603 - ourselves
            [sys.executable, "-c", look],
            check=True,
            capture_output=True,
            text=True,
            env={"CHURN_START_DATE": str(last_dates(dates).start), "HOME": "/nowhere"},
        )
        found.append(time.perf_counter() - started)
        if int(done.stdout) != dates:
            raise SystemExit(f"{done.stdout.strip()} partitions instead of {dates}")
    return median(found)


def write_history(instance: dg.DagsterInstance) -> None:
    """Every date of every table as runs leave it, and late events on 24 dates."""

    def wrote(key: dg.AssetKey, partition: str | None = None, metadata: Any = None) -> None:
        tags = {"dagster/data_version": "1"}
        found = dg.AssetMaterialization(key, partition=partition, tags=tags, metadata=metadata)
        instance.report_runless_asset_event(found)

    for table in (LANDED_EVENTS, EVENTS):
        wrote(asset_key(table))
    for table in DATED:
        ripe = DATES - (HORIZON if table in (CHURN_LABELS, PREDICTION_OUTCOMES) else 0)
        for day in list(WHOLE.days())[:ripe]:
            wrote(asset_key(table), day.isoformat(), {"dagster/partition_row_count": 1_000})
    wrote(asset_key(USERS))
    wrote(dg.AssetKey("churn_prediction_model"))


def ledger(settings: Settings, whole: DateRange = WHOLE) -> CheckedLedger:
    """What those runs note, and then events of the first of each month."""
    rows = []
    dates = list(whole.days())
    for table in (EVENTS, *DATED):
        ripe = len(dates) - (HORIZON if table in (CHURN_LABELS, PREDICTION_OUTCOMES) else 0)
        row = Row(ledger_name(table), None, rows=1_000, read=1, parameters=parameters_text(table, settings))
        rows += [row._replace(computed_date=day).numbered(1) for day in dates[:ripe]]
    late = [day for day in dates if day.day == 1]
    rows += [Row(ledger_name(EVENTS), day, rows=1_001).numbered(2) for day in late]
    return CheckedLedger(LedgerRows(rows))


def measure_tick(dates: int) -> None:
    """A tick of ``stale_dates`` over many dates of which most are stale, in a history without events."""
    from churn_assets.automation.history.instance import dagster_instance
    from churn_assets.automation.triggers.stale_dates import decide
    from churn_assets.graph import build_defs

    whole = last_dates(dates)
    with tempfile.TemporaryDirectory() as temporary:
        settings = settings_of(Path(temporary), whole.start)
        found, now = ledger(settings, whole), dt.datetime.now(dt.UTC)
        graph = build_defs(settings).resolve_asset_graph()
        with dagster_instance(settings) as instance:
            said(
                f"tick of stale_dates, {dates:,} partitions",
                5,
                lambda: decide(lambda: found, instance, settings, now, graph),
            )


def measure(settings: Settings, instance: dg.DagsterInstance) -> None:
    """Ticks and evaluations, each as often as a median needs."""
    from churn_assets.automation.triggers.sensors import landing_sensor
    from churn_assets.automation.triggers.stale_dates import decide
    from churn_assets.graph import build_defs

    landing = Path(settings.landing_root)
    landing.mkdir()
    for number in range(FILES):
        (landing / f"events-{number:05}.json").touch()
    sensor = landing_sensor(settings)
    context = dg.build_sensor_context(instance=instance)
    said(f"tick of landing_zone with {FILES:,} files", 1, lambda: sensor(context))
    now, found = dt.datetime.now(dt.UTC), ledger(settings)
    said(
        f"tick of stale_dates, {DATES} partitions, 24 late dates",
        1,
        lambda: decide(lambda: found, instance, settings, now),
    )

    definitions = build_defs(settings)
    cursors: list[Any] = [None]

    def evaluate() -> None:
        found = dg.evaluate_automation_conditions(
            definitions,
            instance,
            asset_selection=dg.AssetSelection.all(),
            cursor=cursors[-1],
        )
        cursors.append(found.cursor)

    said(f"evaluation of all conditions, {DATES} partitions", 5, evaluate)


def said(what: str, target: float, work: Callable[[], object]) -> None:
    """Print the first and the median of five."""
    found = []
    for _ in range(5):
        started = time.perf_counter()
        work()
        found.append(time.perf_counter() - started)
    print(f"{what}: {median(found):.3f} s, the first {found[0]:.3f} s (target {target})")


if __name__ == "__main__":
    main()
