"""What can go wrong that a user can mend. Each message is one line: found, expected, what to do."""


class ChurnError(Exception):
    """Any failure that the command line reports in one line, without a traceback."""


class SettingsError(ChurnError):
    """A setting has a value that cannot be used."""


class EnvironmentNotReadyError(ChurnError):
    """The machine lacks something that the deployment needs, such as Java."""


class LakeError(ChurnError):
    """The lake cannot be read or written."""


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
