"""How the command line shows things: progress on stderr, results on stdout."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.spinner import Spinner
from rich.table import Table as RichTable
from rich.text import Text

from churn_assets.model.data.churn_definition import ANY, ChurnDefinition
from churn_assets.settings import Settings
from churn_assets.status import ModelStatus, Status

# Lines that a program reads are not broken at 80 columns.
# No markup and no emoji: paths may hold [b] and :smile:.
out = Console(highlight=False, markup=False, emoji=False, width=None if sys.stdout.isatty() else 200)
err = Console(stderr=True, highlight=False, markup=False, emoji=False)


@contextmanager
def progress_bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar that is told how much of how much is done, and goes away at the end."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    # Without a terminal it would leave an empty line in the log.
    with Progress(
        *columns, console=err, transient=True, redirect_stderr=False, disable=not err.is_terminal
    ) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextmanager
def steps() -> Iterator[Callable[[str], None]]:
    """Shows what is being done, and leaves a line with its seconds when the next thing starts."""
    current: list[tuple[str, float]] = []

    def finish() -> None:
        if current:
            what, since = current.pop()
            err.print(f"  {what} ({time.monotonic() - since:.1f} s)", soft_wrap=True)

    spinner = Spinner("dots", Text("starting"))
    # Not rich's own status, which lets what others write to stderr appear above it.
    with Live(spinner, console=err, transient=True, redirect_stderr=False):

        def step(what: str) -> None:
            finish()
            current.append((what, time.monotonic()))
            spinner.update(text=Text(what))

        yield step
        finish()


def print_tables(found: Status) -> None:
    """One line a table."""
    table = RichTable("table", "dates", box=None, pad_edge=False)
    for heading in ("rows", "version", "size", "changed (UTC)"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in found.tables:
        table.add_row(
            row.table,
            f"{row.first_date} to {row.last_date}" if row.first_date else "",
            f"{row.rows:,}",
            str(row.version),
            f"{row.bytes / 1e6:,.1f} MB" if row.bytes >= 1e5 else f"{row.bytes / 1e3:,.1f} kB",
            f"{row.changed_at:%Y-%m-%d %H:%M:%S}",
        )
    out.print(table)


def print_landing(found: Status) -> None:
    """What lies in the landing zone and is not taken in, and whether Bronze is ahead of the clock."""
    for line in found.landing.lines() if found.landing else ():
        # A file's name may hold what reads as markup.
        out.print(line, soft_wrap=True, markup=False)


def _definition(model: ModelStatus, settings: Settings) -> str:
    """What churn means to it, and that this is something else than the settings want, if so."""
    if model.horizon_days is None:
        return ""
    found = ChurnDefinition(model.horizon_days, model.label_event_types or ANY)
    others = found.differences(ChurnDefinition.of(settings))
    other = f" ({', '.join(others)}: churn run)" if others else ""
    return f"{found}{other}, "


def print_summary(found: Status, settings: Settings) -> None:
    """What a person wants to know after a run: counts, the AUC, the latest scores, where things are."""
    rows = {row.table: row.rows for row in found.tables}
    silver = f"{settings.main_catalog}.clean"
    out.print(
        f"{rows.get(f'{settings.raw_catalog}.landing.events', 0):,} lines landed: "
        f"{rows.get(f'{silver}.events', 0):,} events, "
        f"{rows.get(f'{silver}.quarantined_events', 0):,} quarantined; "
        f"{rows.get(f'{silver}.users', 0):,} users."
    )
    if found.model:
        metrics = found.model.metrics
        out.print(
            f"Production model: version {found.model.version}, {_definition(found.model, settings)}"
            f"out-of-time AUC {metrics.get('roc_auc', 0):.3f} "
            f"(recency alone {metrics.get('recency_roc_auc', 0):.3f}), "
            f"PR-AUC {metrics.get('pr_auc', 0):.3f}."
        )
        out.print(f"Why it is Production, and how good: {found.model.report}", soft_wrap=True)
    if found.scores:
        scores = found.scores
        out.print(
            f"Predictions for {scores.feature_date}: {scores.users:,} users, "
            f"{scores.predicted_churn:,} predicted to churn, "
            f"mean probability {scores.mean_churn_probability:.3f}."
        )
        out.print(
            f"Expected to churn, as the sum of the probabilities: {scores.expected_churn:,.0f}. "
            f"Worth contacting, from {scores.contact_threshold:.3g} on: {scores.worth_contacting:,}."
        )
    if found.endpoint and found.endpoint.version:
        endpoint = found.endpoint
        update = f", {endpoint.update}" if endpoint.update != "NOT_UPDATING" else ""
        out.print(
            f"Endpoint {endpoint.url}: {endpoint.state}, serves version {endpoint.version}{update}.",
            soft_wrap=True,
        )
    elif found.endpoint:
        out.print(f"Endpoint {found.endpoint.url}: {found.endpoint.state}. Serve: make serve", soft_wrap=True)
    out.print(f"Tables are in {settings.lake_root}. Graph, lineage and runs: make dev")
