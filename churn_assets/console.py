"""The output of the command line: progress on stderr, results on stdout."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.spinner import Spinner
from rich.table import Table as RichTable
from rich.text import Text

from churn_assets import advice

if TYPE_CHECKING:
    from churn_assets.serving.rollout.endpoint_status import EndpointStatus
    from churn_assets.settings import Settings
    from churn_assets.status import ModelStatus, Status

# No line breaks at 80 columns where a program may read the output.
# No markup and no emoji: paths may contain [b] and :smile:.
out = Console(highlight=False, markup=False, emoji=False, width=None if sys.stdout.isatty() else 200)
err = Console(stderr=True, highlight=False, markup=False, emoji=False)


@contextmanager
def progress_bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show a progress bar until the block ends; the yielded function takes the amount done and the total."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    # Without a terminal it would leave an empty line in the log.
    with Progress(
        *columns, console=err, transient=True, redirect_stderr=False, disable=not err.is_terminal
    ) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextmanager
def steps() -> Iterator[Callable[[str], None]]:
    """Show the current step, and print a line with its seconds when the next one starts."""
    current: list[tuple[str, float]] = []

    def finish() -> None:
        if current:
            what, since = current.pop()
            err.print(f"  {what} ({time.monotonic() - since:.1f} s)", soft_wrap=True)

    spinner = Spinner("dots", Text("starting"))
    # Not rich's own status, which lets other output on stderr appear above it.
    with Live(spinner, console=err, transient=True, redirect_stderr=False):

        def step(what: str) -> None:
            finish()
            current.append((what, time.monotonic()))
            spinner.update(text=Text(what))

        yield step
        finish()


def print_tables(status: "Status") -> None:
    """Print a line for each table."""
    table = RichTable("table", "dates", box=None, pad_edge=False)
    for heading in ("rows", "version", "size", "changed (UTC)"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in status.tables:
        table.add_row(
            row.table,
            f"{row.first_date} to {row.last_date}" if row.first_date else "",
            f"{row.rows:,}",
            str(row.version),
            f"{row.bytes / 1e6:,.1f} MB" if row.bytes >= 1e5 else f"{row.bytes / 1e3:,.1f} kB",
            f"{row.changed_at:%Y-%m-%d %H:%M:%S}",
        )
    out.print(table)


def print_landing(status: "Status") -> None:
    """Print the files that cannot be taken in, and whether Bronze is ahead of the clock."""
    for line in status.landing.lines() if status.landing else ():
        # A file's name may look like markup.
        out.print(line, soft_wrap=True, markup=False)


def _definition(model: "ModelStatus", settings: "Settings") -> str:
    """Return the model's churn definition, and how the settings differ from it; empty if unknown."""
    if model.horizon_days is None:
        return ""
    from churn_assets.model.data.churn_definition import ANY, ChurnDefinition

    found = ChurnDefinition(model.horizon_days, model.label_event_types or ANY)
    others = found.differences(ChurnDefinition.of(settings))
    other = f" ({', '.join(others)}: churn run)" if others else ""
    return f"{found}{other}, "


def print_summary(status: "Status", settings: "Settings") -> None:
    """Print what matters after a run: counts, the AUC, the latest scores, and where things are."""
    rows = {row.table: row.rows for row in status.tables}
    silver = f"{settings.main_catalog}.clean"
    out.print(
        f"{rows.get(f'{settings.raw_catalog}.landing.events', 0):,} lines landed: "
        f"{rows.get(f'{silver}.events', 0):,} events, "
        f"{rows.get(f'{silver}.quarantined_events', 0):,} quarantined; "
        f"{rows.get(f'{silver}.users', 0):,} users."
    )
    if status.model:
        metrics = status.model.metrics
        out.print(
            f"Production model: version {status.model.version}, {_definition(status.model, settings)}"
            f"out-of-time AUC {metrics.get('roc_auc', 0):.3f} "
            f"(recency alone {metrics.get('recency_roc_auc', 0):.3f}), "
            f"PR-AUC {metrics.get('pr_auc', 0):.3f}."
        )
        out.print(f"Why it is Production, and how good: {status.model.report}", soft_wrap=True)
    if status.scores:
        scores = status.scores
        out.print(
            f"Predictions for {scores.feature_date}: {scores.users:,} users, "
            f"{scores.predicted_churn:,} predicted to churn, "
            f"mean probability {scores.mean_churn_probability:.3f}."
        )
        out.print(
            f"Expected to churn, as the sum of the probabilities: {scores.expected_churn:,.0f}. "
            f"Worth contacting from {scores.contact_threshold:.3g} on, if each were worth "
            f"{settings.saved_value:g} (CHURN_SAVED_VALUE): {scores.worth_contacting:,}."
        )
    if status.retention:
        listed = status.retention
        users = "nobody" if not listed.users else f"{listed.users:,} users, with the control group"
        page = "" if settings.deployment == "databricks" else "; as a page: churn report --at-risk"
        out.print(
            f"Whom to contact after {listed.feature_date}, by what each user is worth: {users}. "
            f"List: churn export --at-risk{page}"
        )
        for line in listed.undelivered:
            out.print(line, soft_wrap=True)
    if status.scores and status.scores.has_outcomes:
        says = status.scores.save_rate_says
        out.print(f"{says[0].upper()}{says[1:]}.", soft_wrap=True, markup=False)
    if status.endpoint and status.endpoint.version:
        endpoint = status.endpoint
        update = f", {endpoint.update}" if endpoint.update != "NOT_UPDATING" else ""
        out.print(
            f"Endpoint {endpoint.url}: {endpoint.state}, serves version {endpoint.version}{update}.",
            soft_wrap=True,
        )
    elif status.endpoint:
        out.print(_unserved(status.endpoint), soft_wrap=True)
    out.print(
        f"Tables are in {settings.lake_root}. Graph, lineage and runs: {advice.start('dev')}", soft_wrap=True
    )


def _unserved(endpoint: "EndpointStatus") -> str:
    """Say why no version of this lake is served, and what to do about it."""
    others = {"refused": "another lake's server answers", "another program": "another program answers"}
    if endpoint.state in others:
        return f"Endpoint {endpoint.url}: {others[endpoint.state]}. Set CHURN_ENDPOINT_URL to a free port."
    return f"Endpoint {endpoint.url}: {endpoint.state}. Serve: {advice.start('serve')}"
