"""The weekly job of ``churn maintain``, and its schedule."""

import dagster as dg

from churn_assets.automation.maintenance.maintain import maintain, sizes
from churn_assets.deployed_lake import lakehouse
from churn_assets.errors import ChurnError, one_line
from churn_assets.lakehouse.folder_lake import FolderLakehouse
from churn_assets.lakehouse.maintenance import WEEK_HOURS
from churn_assets.settings import Settings

NAME = "maintenance"
# Before the daily job of Sunday, in an hour in which nothing else begins.
CRON = "40 3 * * 0"


def maintenance_job(settings: Settings) -> dg.JobDefinition:
    """Return the job: one step, with what was there before and after in its metadata."""

    # A code location of its own loads everything at once, and takes no step that is called as its job.
    @dg.op(out=dg.Out(dg.Nothing))
    def tidy_up(context: dg.OpExecutionContext) -> None:
        lake = lakehouse(settings)
        if not isinstance(lake, FolderLakehouse):
            context.log.info("Unity Catalog looks after its tables: see churn maintain.")
            return
        before = sizes(lake)
        try:
            done = maintain(lake, context.instance, WEEK_HOURS, context.log.info)
        except ChurnError:
            raise
        except Exception as error:
            raise dg.Failure(f"{NAME}: {one_line(error)}", allow_retries=False) from error
        after = sizes(lake)
        context.add_output_metadata(
            {
                "bytes_before": sum(before.values()),
                "bytes_after": sum(after.values()),
                "by_folder": dg.MetadataValue.json(
                    {name: {"before": before.get(name, 0), "after": after.get(name, 0)} for name in after}
                ),
                "files_merged": sum(table.merged_files for table in done.tables),
                "files_removed": sum(table.removed_files for table in done.tables),
                **{name.replace(" ", "_"): count for name, count in done.counts.items()},
            }
        )

    @dg.job(
        name=NAME,
        description="Small files merged, checkpoints, files and histories that nothing needs removed.",
        executor_def=dg.in_process_executor,
    )
    def maintenance() -> None:
        tidy_up()

    return maintenance


def maintenance_schedule(job: dg.JobDefinition) -> dg.ScheduleDefinition:
    """Return the schedule: in the night of Sunday."""
    return dg.ScheduleDefinition(
        job=job,
        cron_schedule=CRON,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="As churn maintain does.",
    )
