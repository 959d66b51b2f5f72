"""MLflow without its progress bars, INFO lines, links and telemetry. What the user has set stays as set."""

import logging


def quieten() -> None:
    """Leave nothing of MLflow on the terminal but warnings that say something. Cheap to call again."""
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
    logging.getLogger("mlflow.pyfunc").addFilter(_says_something)


def _says_something(record: logging.LogRecord) -> bool:
    # At every scoring MLflow recommends to rebuild the environment that trained. It is this one, and where a
    # requirement differs, another warning says so.
    return 'with `env_manager="local"`' not in record.getMessage()
