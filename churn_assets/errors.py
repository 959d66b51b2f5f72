"""Failures that a user can fix. Each message is one line: what was found, what was expected, what to do."""

from dagster_shared.error import DagsterError


class ChurnError(DagsterError):
    """Any failure that the command line reports in one line, without a traceback.

    A DagsterError, which Dagster does not retry: what a person has to fix would fail again a minute later.
    """


class SettingsError(ChurnError):
    """A setting has a value that cannot be used."""


class EnvironmentNotReadyError(ChurnError):
    """The machine lacks something that the deployment needs, such as Java."""


class LakeError(ChurnError):
    """The lake cannot be read or written."""


class BusyError(LakeError):
    """Another process is at work on the lake: the only failure that goes away by waiting."""


class BlockedError(ChurnError):
    """Rows to be read fail a blocking check, or were made with other parameters."""


class LandingError(ChurnError):
    """The landing zone is missing, unreadable or holds no event file."""


class ContractError(ChurnError):
    """A table or a DataFrame does not have the columns, types or rows that its contract states."""


class ImmatureLabelError(ChurnError):
    """A label was requested before its horizon is complete."""


class DateRangeError(ChurnError):
    """The requested dates are not covered by the data or by the settings."""


class ImportFileError(ChurnError):
    """A file given to ``churn import`` cannot be read as events."""


class ModelError(ChurnError):
    """No model can be trained or found."""


class EndpointError(ChurnError):
    """The endpoint cannot be deployed or queried, or its answers differ from the batch's."""


class WorkspaceError(ChurnError):
    """The Databricks workspace lacks or refuses something, or ended a run."""


# Characters of another library's message that are shown.
LONGEST = 300
# Where an engine's message ends and its stack begins.
STACKS = ("JVM stacktrace:", "\n\tat ", "Traceback (most recent call last)", "stack backtrace:")


def in_one_line(error: BaseException) -> str:
    """Return another library's message as one line, without the stack that some put into it."""
    text = str(error)
    for stack in STACKS:
        text = text.partition(stack)[0]
    text = " ".join(text.split()).rstrip(".")
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
