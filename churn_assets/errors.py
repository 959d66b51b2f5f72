"""What can go wrong that a user can mend. Each message is one line: found, expected, what to do."""

from dagster_shared.error import DagsterError


class ChurnError(DagsterError):
    """Any failure that the command line reports in one line, without a traceback.

    One of Dagster's own, as it retries no such error: what a person has to mend fails again a minute later.
    """


class SettingsError(ChurnError):
    """A setting has a value that cannot be used."""


class EnvironmentNotReadyError(ChurnError):
    """The machine lacks something that the deployment needs, such as Java."""


class LakeError(ChurnError):
    """The lake cannot be read or written."""


class BusyError(LakeError):
    """Somebody else is at work on the lake: the only failure that waiting mends."""


class BlockedError(ChurnError):
    """What would be read fails a blocking check, or was made with other parameters."""


class LandingError(ChurnError):
    """The landing zone is missing, unreadable or holds no event file."""


class ContractError(ChurnError):
    """A table or a DataFrame does not have the columns, types or rows that its contract states."""


class ImmatureLabelError(ChurnError):
    """A label was asked for before its horizon is complete."""


class DateRangeError(ChurnError):
    """The dates asked for are not covered by the data or by the settings."""


class ImportFileError(ChurnError):
    """A file given to ``churn import`` cannot be read as events."""


class ModelError(ChurnError):
    """No model can be trained or found."""


class EndpointError(ChurnError):
    """The endpoint cannot be deployed or asked, or it does not answer as the batch did."""


class WorkspaceError(ChurnError):
    """The Databricks workspace lacks something, refuses it, or ended what it was running."""


LONGEST = 300
# Where an engine's message ends and its stack begins.
STACKS = ("JVM stacktrace:", "\n\tat ", "Traceback (most recent call last)", "stack backtrace:")


def in_one_line(error: BaseException) -> str:
    """What an error of somebody else's says, without the stack that some put into their message."""
    text = str(error)
    for stack in STACKS:
        text = text.partition(stack)[0]
    text = " ".join(text.split()).rstrip(".")
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def with_class_in_one_line(error: BaseException) -> str:
    """The class and the message of an error that is none of ours, in one line of at most 300 characters."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:LONGEST]
