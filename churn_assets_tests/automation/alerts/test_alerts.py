"""One alert when something breaks, none while it stays broken, one when it is well again."""

import datetime as dt
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import dagster as dg
import pytest
from dagster import AssetCheckEvaluation, AssetMaterialization
from dagster._core.definitions.freshness import FreshnessState, FreshnessStateChange

from churn_assets.asset_keys import asset_key
from churn_assets.assets.checks.contract import LATEST_DATE, VALUES
from churn_assets.assets.dagster_partitions import ONE_RUN_PER_RANGE
from churn_assets.automation.alerts.alerts import alert_sensors
from churn_assets.dates import ONE_DAY
from churn_assets.errors import ContractError
from churn_assets.settings import Settings
from churn_assets.tables import CHURN_PREDICTIONS, USER_FEATURES, USERS
from churn_assets_tests.automation.receivers import Mailbox, mail_server, webhook
from churn_assets_tests.conftest import MakeSettings

FEATURES, PREDICTIONS = asset_key(USER_FEATURES), asset_key(CHURN_PREDICTIONS)
DATES = dg.DailyPartitionsDefinition(start_date="2026-01-01", end_date="2026-02-01")


@dataclass
class Graph:
    """A small graph whose transform can be broken, its history, and the sensor that looks at both."""

    settings: Settings
    instance: dg.DagsterInstance
    errors: list[Exception] = field(default_factory=list)
    cursor: str | None = None
    said: str = ""

    @property
    def definitions(self) -> dg.Definitions:
        @dg.asset(key=FEATURES, partitions_def=DATES, backfill_policy=ONE_RUN_PER_RANGE)
        def user_features() -> None:
            self._break()

        @dg.asset(key=asset_key(USERS))
        def users() -> None:
            self._break()

        @dg.asset(key=PREDICTIONS, partitions_def=DATES, backfill_policy=ONE_RUN_PER_RANGE)
        def churn_predictions() -> None:
            pass

        @dg.multi_asset_check(
            specs=[
                dg.AssetCheckSpec(VALUES, asset=FEATURES, blocking=True),
                dg.AssetCheckSpec(LATEST_DATE, asset=PREDICTIONS),
            ]
        )
        def checks() -> Iterator[dg.AssetCheckResult]:
            yield dg.AssetCheckResult(
                passed=False, asset_key=FEATURES, check_name=VALUES, description="2 bad rows"
            )
            yield dg.AssetCheckResult(passed=True, asset_key=PREDICTIONS, check_name=LATEST_DATE)

        return dg.Definitions(
            assets=[user_features, churn_predictions, users],
            asset_checks=[checks],
            executor=dg.in_process_executor,
        )

    def run(self, key: dg.AssetKey, start: str = "", end: str = "", error: Exception | None = None) -> str:
        """One run of one asset, without its checks."""
        self.errors = [error] if error else []
        tags = {
            "dagster/asset_partition_range_start": start,
            "dagster/asset_partition_range_end": end or start,
        }
        job = self.definitions.resolve_implicit_global_asset_job_def().get_subset(
            asset_selection={key}, asset_check_selection=set()
        )
        return job.execute_in_process(
            instance=self.instance, raise_on_error=False, tags=tags if start else None
        ).run_id

    def tick(self) -> str:
        """The sensor, as the daemon calls it: all that it remembers is its cursor."""
        sensor = alert_sensors(self.settings)[0]
        context = dg.build_sensor_context(
            instance=self.instance,
            cursor=self.cursor,
            repository_def=self.definitions.get_repository_def(),
            sensor_name=sensor.name,
        )
        with context:
            reason = sensor(context)
            assert isinstance(reason, dg.SkipReason)
            self.cursor = context.cursor
        return reason.skip_message or ""

    def checked(
        self, key: dg.AssetKey, name: str, *, passed: bool, says: str = "", warns: bool = False
    ) -> None:
        severity = dg.AssetCheckSeverity.WARN if warns else dg.AssetCheckSeverity.ERROR
        self.instance.report_runless_asset_event(
            AssetCheckEvaluation(key, name, passed, description=says, severity=severity)
        )

    def freshness(self, key: dg.AssetKey, state: FreshnessState) -> None:
        """What Dagster's freshness daemon writes down."""
        change = FreshnessStateChange(
            key=key,
            new_state=state,
            previous_state=FreshnessState.UNKNOWN,
            state_change_timestamp=dt.datetime.now(dt.UTC).timestamp(),
        )
        self.instance.report_runless_asset_event(change)

    def _break(self) -> None:
        if self.errors:
            raise self.errors[0]


MakeGraph = Callable[..., Graph]


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with mail_server() as server:
        yield server


@pytest.fixture
def graph(make_settings: MakeSettings, instance: dg.DagsterInstance, mailbox: Mailbox) -> Graph:
    """Its sensor has looked once, so that what fails from now on is news."""
    settings = make_settings(
        alert_emails="a@example.com",
        smtp_host="127.0.0.1",
        smtp_port=mailbox.port,
        smtp_security="none",
        dagster_url="https://dagster.example.com/",
    )
    graph = Graph(settings, instance)
    graph.tick()
    return graph


def test_a_broken_transform_is_one_mail_with_its_reason_and_its_run(graph: Graph, mailbox: Mailbox) -> None:
    graph.run(asset_key(USERS))
    run_id = graph.run(asset_key(USERS), error=ContractError("users would gain columns ['x']. Drop them."))

    graph.tick()

    assert mailbox.subjects == ["[churn] main_catalog.clean.users failed"]
    text = mailbox.mails[0].get_content()
    assert "main_catalog.clean.users failed: users would gain columns ['x']. Drop them." in text
    assert f"https://dagster.example.com/runs/{run_id}" in text
    assert "asset:     main_catalog/clean/users" in text
    assert f"last good: {dt.datetime.now(dt.UTC):%Y-%m-%d}" in text


def test_it_stays_one_mail_however_often_it_fails_and_is_looked_at(graph: Graph, mailbox: Mailbox) -> None:
    for _ in range(3):
        graph.run(asset_key(USERS), error=ValueError("no"))
        graph.tick()
        graph.tick()

    assert len(mailbox.mails) == 1


def test_one_recovery_mail_after_the_fix_and_a_new_failure_is_news(graph: Graph, mailbox: Mailbox) -> None:
    graph.run(asset_key(USERS), error=ValueError("no"))
    graph.tick()
    graph.run(asset_key(USERS))

    graph.tick()
    graph.tick()

    assert mailbox.subjects[1:] == ["[churn] Recovered: main_catalog.clean.users failed"]
    assert "It was: ValueError: no" in mailbox.mails[1].get_content()

    graph.run(asset_key(USERS), error=ValueError("again"))
    graph.tick()
    assert len(mailbox.mails) == 3


def test_another_date_that_works_is_no_recovery(graph: Graph, mailbox: Mailbox) -> None:
    graph.run(FEATURES, "2026-01-03", "2026-01-05", error=ValueError("no"))
    graph.run(FEATURES, "2026-01-01", "2026-01-04")
    graph.tick()

    assert mailbox.subjects == ["[churn] main_catalog.gold.user_features failed"]
    assert "dates:     2026-01-03 to 2026-01-05" in mailbox.mails[0].get_content()

    graph.run(FEATURES, "2026-01-05")
    graph.tick()

    assert mailbox.subjects[1:] == ["[churn] Recovered: main_catalog.gold.user_features failed"]


def test_what_failed_before_the_first_look_is_history(graph: Graph, mailbox: Mailbox) -> None:
    graph.run(asset_key(USERS), error=ValueError("no"))
    graph.cursor = None

    graph.tick()

    assert mailbox.mails == []


def test_a_process_that_died_is_an_incident_of_its_run(graph: Graph, mailbox: Mailbox) -> None:
    run = dg.DagsterRun(
        job_name="pipeline", status=dg.DagsterRunStatus.STARTED, asset_selection=frozenset([FEATURES])
    )
    graph.instance.report_run_failed(graph.instance.add_run(run), "The process that ran it is gone.")

    graph.tick()

    assert mailbox.subjects == ["[churn] main_catalog/gold/user_features failed"]
    assert "The process that ran it is gone." in mailbox.mails[0].get_content()

    again = dg.DagsterRun(
        job_name="pipeline", status=dg.DagsterRunStatus.SUCCESS, asset_selection=frozenset([FEATURES])
    )
    graph.instance.add_run(again)
    graph.tick()

    assert mailbox.subjects[1:] == ["[churn] Recovered: main_catalog/gold/user_features failed"]


def test_a_run_that_will_be_tried_again_is_no_incident_yet(graph: Graph, mailbox: Mailbox) -> None:
    run = dg.DagsterRun(
        job_name="pipeline", status=dg.DagsterRunStatus.STARTED, tags={"dagster/will_retry": "true"}
    )
    graph.instance.report_run_failed(graph.instance.add_run(run))

    graph.tick()

    assert mailbox.mails == []


def test_a_failed_check_is_one_mail_and_its_blocked_run_none(graph: Graph, mailbox: Mailbox) -> None:
    job = graph.definitions.resolve_implicit_global_asset_job_def()
    graph.checked(FEATURES, VALUES, passed=True)
    failed = job.get_subset(
        asset_selection=set(),
        asset_check_selection={
            dg.AssetCheckKey(FEATURES, VALUES),
            dg.AssetCheckKey(PREDICTIONS, LATEST_DATE),
        },
    ).execute_in_process(instance=graph.instance, raise_on_error=False)
    assert not failed.success

    graph.tick()
    graph.tick()

    assert mailbox.subjects == ["[churn] main_catalog.gold.user_features fails its check values"]
    text = mailbox.mails[0].get_content()
    assert "2 bad rows" in text
    assert "https://dagster.example.com/assets/main_catalog/gold/user_features?view=checks" in text
    assert "last good: never" not in text

    graph.checked(FEATURES, VALUES, passed=True)
    graph.tick()
    assert mailbox.subjects[1:] == [
        "[churn] Recovered: main_catalog.gold.user_features fails its check values"
    ]


def test_a_warning_is_no_alert(graph: Graph, mailbox: Mailbox) -> None:
    graph.checked(FEATURES, VALUES, passed=False, warns=True)

    graph.tick()

    assert mailbox.mails == []


def test_stale_predictions_are_one_mail_whoever_finds_them_first(graph: Graph, mailbox: Mailbox) -> None:
    graph.instance.report_runless_asset_event(AssetMaterialization(PREDICTIONS, partition="2026-01-01"))
    graph.checked(PREDICTIONS, LATEST_DATE, passed=False, says="feature_date 2026-01-01, due 2026-01-09")
    graph.tick()
    graph.freshness(PREDICTIONS, FreshnessState.FAIL)
    graph.tick()

    assert mailbox.subjects == ["[churn] main_catalog.gold.churn_predictions is stale"]
    assert "feature_date 2026-01-01, due 2026-01-09" in mailbox.mails[0].get_content()

    graph.checked(PREDICTIONS, LATEST_DATE, passed=True)
    graph.tick()
    assert len(mailbox.mails) == 1

    graph.freshness(PREDICTIONS, FreshnessState.PASS)
    graph.tick()
    assert mailbox.subjects[1:] == ["[churn] Recovered: main_catalog.gold.churn_predictions is stale"]


def test_an_alert_waits_for_a_mail_server_that_is_down_and_the_webhook_does_not(
    graph: Graph, mailbox: Mailbox, make_settings: MakeSettings
) -> None:
    with mail_server() as down:
        port = down.port
    with webhook() as hook:
        graph.settings = graph.settings.model_copy(update={"smtp_port": port, "alert_webhook": hook.url})
        graph.run(asset_key(USERS), error=ValueError("no"))

        says = graph.tick()
        assert f"127.0.0.1:{port} took no mail" in says
        assert "1 alerts wait" in says
        assert len(hook.posted) == 1

        with mail_server(port=port) as up:
            assert "wait" not in graph.tick()
            graph.tick()

        assert up.subjects == ["[churn] main_catalog.clean.users failed"]
        assert len(hook.posted) == 1
    assert mailbox.mails == []


def test_an_alert_that_waited_for_more_than_a_day_is_dropped(graph: Graph, mailbox: Mailbox) -> None:
    from churn_assets.automation.alerts.incidents import AlertState, Message

    now = dt.datetime.now(dt.UTC)
    old, young = [
        Message(channel="mail", subject=f"{age}", body="", since=now - age * ONE_DAY) for age in (2, 0)
    ]
    graph.cursor = AlertState(outbox=[old, young], looked_at=now).model_dump_json()

    graph.tick()

    assert mailbox.subjects == ["0"]


def test_without_settings_there_is_no_sensor(make_settings: MakeSettings) -> None:
    assert alert_sensors(make_settings()) == []
