"""MLflow without progress bars, INFO lines, links and telemetry. What the user has set stays."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


def quieten() -> None:
    """Silence MLflow on the terminal, except for meaningful warnings. Cheap to call again."""
    from mlflow import environment_variables as env
    from mlflow.telemetry import set_telemetry_client

    if not env.MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR.is_set():
        env.MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR.set("false")
    if not env.MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT.is_set():
        env.MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT.set("true")
    if not env.MLFLOW_DISABLE_TELEMETRY.is_set():
        env.MLFLOW_DISABLE_TELEMETRY.set("true")
        set_telemetry_client()
    if not env.MLFLOW_LOGGING_LEVEL.is_set():
        logging.getLogger("mlflow").setLevel(logging.WARNING)
    # addFilter adds a filter once, however often it is called.
    logging.getLogger("mlflow.pyfunc").addFilter(_is_meaningful)


def _is_meaningful(record: logging.LogRecord) -> bool:
    # At every scoring MLflow recommends rebuilding the environment that trained. It is this one, and where a
    # requirement differs, another warning says so.
    return 'with `env_manager="local"`' not in record.getMessage()


@contextmanager
def without_deprecations() -> Iterator[None]:
    """Import MLflow's store, or open it, without what SQLAlchemy says of it."""
    with warnings.catch_warnings():
        # MLflow 3.17 asks SQLAlchemy 2.1 for a loader that it deprecates, once, when its store is imported.
        warnings.filterwarnings("ignore", "The ``noload`` loader strategy", DeprecationWarning)
        yield
