"""Materialises assets in this process as runs that Dagster records, and reports what it did.

Which assets and dates, and in what order, is for its callers to decide: ``pipeline`` and ``task_pipeline``.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import dagster as dg

from churn_assets import advice, bucket
from churn_assets.asset_keys import asset_key
from churn_assets.automation.history.failure_reasons import recorded_error_line
from churn_assets.automation.history.run_tags import REASON_TAG, STARTED_BY_CLI, range_tags
from churn_assets.automation.staleness.plan import Plan, Step
from churn_assets.automation.staleness.planning import code_versions
from churn_assets.dates import DateRange
from churn_assets.errors import HOW_TO_SEE, MAKE_ROOM, ChurnError, is_out_of_space, one_line, unreadable

# Called with what starts, in a few words.
Progress = Callable[[str], None]

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


class RunFailedError(ChurnError):
    """A run failed for a reason that is no ``ChurnError`` itself."""


@dataclass
class PipelineReport:
    """What was done: the dates covered, run ids, dates computed by table, and notes for people.

    What has no dates counts as one, also where it was looked at and needed no run.
    """

    covered: DateRange | None = None
    runs: list[str] = field(default_factory=list)
    computed: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


class Runner:
    """Materialises assets of one graph, one run after the other, and keeps the report of them.

    ``before_first`` is called once there is something to run.
    """

    def __init__(
        self,
        definitions: dg.Definitions,
        instance: dg.DagsterInstance,
        progress: Progress,
        before_first: Callable[[], None] | None = None,
    ) -> None:
        self._job = definitions.resolve_implicit_global_asset_job_def()
        self.code_versions = code_versions(definitions.resolve_asset_graph())
        self.instance = instance
        self.progress = progress
        self._before_first = before_first
        self.report = PipelineReport()

    def run_step(self, plan: Plan, step: Step) -> None:
        """Materialise the tables and dates of one step of a plan.

        Raises:
            ChurnError: in one line, what stopped it.
        """
        names = ", ".join(table.name for table in step.tables)
        keys = [asset_key(table) for table in step.tables]
        self.materialize(f"{names}: {step.dates}", keys, step.dates, plan.why(step))

    def note_current(self, what: str, key: dg.AssetKey) -> None:
        """Report an asset that was looked at and needs no run."""
        self.progress(what)
        self.report.computed.setdefault(".".join(key.path), 1)

    def materialize(
        self, what: str, keys: Sequence[dg.AssetKey], dates: DateRange | None = None, why: str = ""
    ) -> None:
        """Materialise assets in one run.

        Args:
            what: the run in a few words, for progress and errors.
            keys: of the assets.
            dates: their partitions, None for assets without.
            why: the reason that the run's tags give.

        Raises:
            ChurnError: in one line, what stopped it.
        """
        self.progress(what)
        if self._before_first:
            self._before_first()
            self._before_first = None
        tags = dict(STARTED_BY_CLI)
        if dates:
            tags |= {**range_tags(dates), REASON_TAG: why}
        result = self._execute(what, keys, tags)
        if not result.success:
            # A failure on a cluster comes back as an event and not as an exception.
            raise RunFailedError(f"{what} failed on the cluster: {_recorded_reason(result)}")
        self.report.runs.append(result.run_id)
        for key in keys:
            days = len(list(dates.days())) if dates else 1
            name = ".".join(key.path)
            self.report.computed[name] = self.report.computed.get(name, 0) + days

    def _execute(
        self, what: str, keys: Sequence[dg.AssetKey], tags: dict[str, str]
    ) -> dg.ExecuteInProcessResult:
        try:
            return self._job.execute_in_process(
                instance=self.instance, asset_selection=list(keys), tags=tags, run_config=QUIET
            )
        except ChurnError:
            raise
        except Exception as error:
            if ours := _first_churn_error(error):
                raise ours from error
            cause = _innermost(error)
            if problem := next(filter(None, map(bucket.in_words, _chain(error))), None):
                raise RunFailedError(f"{what} failed: the lake's bucket {problem}.") from error
            raise RunFailedError(
                f"{what} failed with {type(cause).__name__}: {one_line(cause)}.{_advice(error, cause)} "
                f"Its run in Dagster has the whole trace: {advice.start('dev')}."
            ) from error


def _advice(error: BaseException, cause: BaseException) -> str:
    # Not by the cause alone: an engine may end with an error of its own about what it could not write.
    if any(map(is_out_of_space, _chain(error))):
        return f" {MAKE_ROOM}."
    return f" {HOW_TO_SEE}." if unreadable(cause) or isinstance(cause, FileNotFoundError) else ""


def _recorded_reason(result: dg.ExecuteInProcessResult) -> str:
    errors = [event.step_failure_data.error for event in result.get_step_failure_events()]
    return next(
        (recorded_error_line(error) for error in errors if error),
        f"its run in Dagster says why: {advice.start('dev')}",
    )


def _chain(error: BaseException) -> Iterable[BaseException]:
    seen: list[BaseException] = []
    current: BaseException | None = error
    # Dagster raises the cause again in the context of its own error, so the chain may end in a circle.
    while current is not None and current not in seen:
        yield current
        seen.append(current)
        current = current.__cause__ or current.__context__


def _first_churn_error(error: BaseException) -> ChurnError | None:
    return next((link for link in _chain(error) if isinstance(link, ChurnError)), None)


def _innermost(error: BaseException) -> BaseException:
    """Return the original error, not one of those that Dagster wraps around it."""
    links = list(_chain(error))
    return next((link for link in reversed(links) if not isinstance(link, dg.DagsterError)), links[-1])
