"""The daily job: the whole pipeline at 06:00 UTC, whatever sensors and conditions have done before."""

import datetime as dt
from collections.abc import Callable

import dagster as dg

from churn_assets.automation.runs.jobs import PIPELINE_NAME
from churn_assets.automation.runs.pipeline import Pipeline, Stage
from churn_assets.errors import BusyError, ChurnError, one_line
from churn_assets.resources import lakehouse
from churn_assets.settings import Settings

PIPELINE_CRON = "0 6 * * *"

# Another churn run, or a sensor's run that holds a table, is over in a minute or two.
BUSY = dg.RetryPolicy(max_retries=3, delay=60)

MakeDefinitions = Callable[[], dg.Definitions]


def pipeline_job(settings: Settings, make_definitions: MakeDefinitions) -> dg.JobDefinition:
    """Return the job: ingest, featurize, train, score and deploy as steps that each run just what is stale.

    One run of assets cannot do it: today's features, the labels of a horizon ago and a late event's dates are
    different ranges, and a run has one. See docs/adr/0013.

    Args:
        settings: the settings of the deployment.
        make_definitions: builds the graph, in the process of the run.
    """

    def step(stage: Stage, description: str, **ins: dg.In) -> dg.OpDefinition:
        @dg.op(name=stage, description=description, ins=ins, out=dg.Out(dg.Nothing), retry_policy=BUSY)
        def run(context: dg.OpExecutionContext) -> None:
            progress = context.log.info
            pipeline = Pipeline(make_definitions(), lakehouse(settings), context.instance, progress)
            try:
                report = pipeline.run_stage(stage, dt.datetime.now(dt.UTC))
            except BusyError as busy:
                raise dg.RetryRequested(BUSY.max_retries, BUSY.delay) from busy
            except ChurnError:
                # A failed check will not pass a minute later, and no later step may go on as if it had.
                raise
            except Exception as error:
                raise dg.Failure(f"{stage}: {one_line(error)}", allow_retries=False) from error
            for note in report.notes:
                context.log.warning(note)
            context.add_output_metadata(
                {
                    "runs": dg.MetadataValue.json(report.runs),
                    # Links, as the step's page does not show them by itself.
                    **{f"run_{n}": dg.MetadataValue.dagster_run(run) for n, run in enumerate(report.runs, 1)},
                    "computed": dg.MetadataValue.json(report.computed),
                    **({"covered": str(report.covered)} if report.covered else {}),
                    **({"notes": " ".join(report.notes)} if report.notes else {}),
                }
            )

        return run

    after = {"after": dg.In(dg.Nothing)}
    ingest = step("ingest", "Files to events, and users.")
    featurize = step("featurize", "Activity, features and labels of the dates that are behind.", **after)
    train = step("train", "A new model, if there are new labels and 10,000 labelled rows.", **after)
    score = step("score", "The latest complete date, and dates that were never scored.", **after)
    deploy = step("deploy", "Online features and the endpoint, compared with the scores.", **after)

    @dg.job(
        name=PIPELINE_NAME,
        description="churn-prediction-pipeline: what is new, from the landing zone to the endpoint.",
        executor_def=dg.in_process_executor,
    )
    def churn_prediction_pipeline() -> None:
        deploy(score(train(featurize(ingest()))))

    return churn_prediction_pipeline


def pipeline_schedule(job: dg.JobDefinition) -> dg.ScheduleDefinition:
    """Return the schedule: once a day, when the last day's events have arrived."""
    return dg.ScheduleDefinition(
        job=job,
        cron_schedule=PIPELINE_CRON,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Yesterday's features and scores, by the time that people come to work.",
    )
