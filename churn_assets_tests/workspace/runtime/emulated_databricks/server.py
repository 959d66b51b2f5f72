"""The process that is engine and SQL warehouse: Sail on a port, statements on standard input.

Writes one line of JSON with its port when it is ready; then answers each line ``{"sql": …}`` with one line:
``columns`` (name, type) and ``rows`` (texts or null), or ``error``. Ends when its input does.
"""

import datetime as dt
import json
import os
import sys
from pathlib import Path
from typing import Any


def main() -> None:
    """Serve until standard input is closed."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    # Whatever prints must not print between the answers.
    os.dup2(2, 1)
    from pysail.spark import SparkConnectServer

    server = SparkConnectServer(ip="127.0.0.1", port=0)
    server.start(background=True)
    _, port = server.listening_address  # type: ignore[misc]  # set once the server has started
    print(json.dumps({"port": port}), file=answers)
    session: Any = None
    for line in sys.stdin:
        session = session or _session(port)
        print(json.dumps(_answer(session, json.loads(line)["sql"])), file=answers)
    # Without asking Sail's threads, which would take seconds to agree.
    os._exit(0)


def _session(port: int) -> Any:
    from pyspark.sql import SparkSession

    from .session import FOLDER, attach

    session: Any = SparkSession.builder.remote(f"sc://127.0.0.1:{port}").create()
    session.conf.set("spark.sql.session.timeZone", "UTC")
    return attach(session, Path(os.environ[FOLDER]))


def _answer(session: Any, sql: str) -> dict[str, Any]:
    try:
        frame = session.execute(sql)
        if frame is None:
            return {"columns": [], "rows": []}
        rows = [[_text(value) for value in row] for row in frame.collect()]
        columns = [(field.name, field.dataType.simpleString().upper()) for field in frame.schema.fields]
    except Exception as error:  # noqa: BLE001 - a statement fails with whatever the engine says
        return {"error": str(error)}
    return {"columns": columns, "rows": rows}


def _text(value: Any) -> str | None:
    """A value as the statements API writes it in ``JSON_ARRAY``."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dt.datetime):
        # Naive, in this process's zone: UTC.
        return value.isoformat(timespec="milliseconds") + "Z"
    if isinstance(value, dict | list):
        return json.dumps(value)
    return str(value)


if __name__ == "__main__":
    main()
