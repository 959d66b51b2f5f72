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


class DamagedError(LakeError):
    """A file that the platform wrote is missing, cut off or altered."""


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


MAX_LINE_LENGTH = 300
# What follows is the engine's stack or, where a login is refused, the whole configuration of Databricks' SDK.
NOISE_AFTER = (
    "JVM stacktrace:",
    "\n\tat ",
    "Traceback (most recent call last)",
    "stack backtrace:",
    # delta-rs's frames, each "<unknown>".
    "\n   0: ",
    # SQLAlchemy's link to a page of its own.
    "(Background on this error at:",
    " Config: host=",
)


def one_line(
    error: BaseException | str, *, with_class: bool = False, max_length: int = MAX_LINE_LENGTH
) -> str:
    """Return an error's message in one line, without the stack that some engines put into it.

    Args:
        error: the error, or its text where only that was kept.
        with_class: put the name of the error's class first; a ``ChurnError`` is clear without.
        max_length: characters; a longer line is cut and ends with an ellipsis.

    Returns:
        The line without a final full stop; the class's name alone where the error has no message.
    """
    text = str(error)
    for noise in NOISE_AFTER:
        text = text.partition(noise)[0]
    if isinstance(error, BaseException) and not isinstance(error, ChurnError) and (with_class or not text):
        text = f"{type(error).__name__}: {text}"
    line = " ".join(text.split()).rstrip(" .:")
    return line if len(line) <= max_length else f"{line[: max_length - 1]}…"


# What reads the platform's files, by the package that an error's class comes from, and what it reads.
READERS = {
    "_internal": "a Delta table",
    "deltalake": "a Delta table",
    "sqlalchemy": "a database of Dagster or MLflow",
    "sqlite3": "a database of Dagster or MLflow",
    "dagster_postgres": "the database of CHURN_DATABASE_URL",
    "psycopg2": "the database of CHURN_DATABASE_URL",
    "yaml": "a configuration or a model's description",
    "pyarrow": "a file of a table",
    "mlflow": "a model or MLflow's database",
    "pyspark": "a table, or a row of it",
    "msgspec": "a file of the endpoint",
}
# As the operating system, SQLite and Rust's libraries say it.
DISK_IS_FULL = ("No space left on device", "database or disk is full", "os error 28")
MAKE_ROOM = "No space left on device: make room, and ask again; what was begun is made good"
HOW_TO_SEE = "See what is damaged, and what mends it: churn verify"


def is_out_of_space(error: BaseException) -> bool:
    """Whether something could not be written because the disk is full."""
    return any(sign in str(error) for sign in DISK_IS_FULL)


def unreadable(error: BaseException) -> str | None:
    """Return a sentence about a file of the lake that a library could not read; None for other errors.

    Told by the names of its classes' packages, as importing these libraries takes seconds. What cannot be
    written because the disk is full is none of that.
    """
    if is_out_of_space(error):
        return f"{one_line(error, with_class=True, max_length=200)}. {MAKE_ROOM}"
    roots = [kind.__module__.partition(".")[0] for kind in type(error).__mro__]
    what = next((READERS[root] for root in roots if root in READERS), None)
    if what is None:
        return None
    return f"{what[0].upper()}{what[1:]} cannot be read ({one_line(error, with_class=True)}). {HOW_TO_SEE}"
