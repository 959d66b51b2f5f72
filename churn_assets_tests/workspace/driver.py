"""Runs one task in the cluster's interpreter: the last stage before the user's code.

It is copied beside the cluster and started with ``python -I -u``, so that it imports nothing but the
interpreter's own packages, what the runtime adds, and the cluster's libraries. What to run comes as JSON
through stdin, so that the run's credentials lie in no file. Like a Databricks driver it gives a Python file
no ``__file__`` and no folder of its own on ``sys.path``, ends when the code ends, whatever threads are left,
and takes any SystemExit as a failure.
"""

import importlib
import importlib.metadata
import json
import os
import signal
import sys
import threading
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any


def install_runtime(spec: dict[str, Any]) -> None:
    """Make the cluster's libraries and ``dbruntime`` importable."""
    sys.path[:0] = spec["path"]
    runtime = importlib.import_module("dbruntime")
    runtime.CONTEXT.update(spec["context"])
    # Databricks has a package of modules; one file is enough here.
    provider = ModuleType("dbruntime.sdk_credential_provider")
    provider.init_runtime_native_auth = runtime.init_runtime_native_auth  # type: ignore[attr-defined] - made here
    sys.modules[provider.__name__] = provider
    for name in spec["imports"]:
        importlib.import_module(name)


def run(spec: dict[str, Any]) -> None:
    """Run the file, or the entry point of the wheel, with its arguments in ``sys.argv``."""
    if "file" in spec:
        source = Path(spec["file"])
        sys.argv = [spec["file"], *spec["arguments"]]
        main = ModuleType("__main__")
        sys.modules["__main__"] = main
        exec(compile(source.read_bytes(), str(source), "exec"), vars(main))
        return
    package, entry = spec["package_name"], spec["entry_point"]
    sys.argv = [entry, *spec["arguments"]]
    entry_points = importlib.metadata.distribution(package).entry_points.select(name=entry)
    if entry_points:
        next(iter(entry_points)).load()()
        return
    module = importlib.import_module(package.replace("-", "_"))
    getattr(module, entry)()


def end_with_the_emulator() -> None:
    """Kill this process and its children once stdin, which the emulator holds, is closed.

    So that nothing is left when the tests are killed. The task itself has an empty stdin.
    """
    held = os.dup(0)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)

    def watch() -> None:
        os.read(held, 1)
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


def main() -> None:
    """Run the task and leave its error, if any, where the emulator looks for it."""
    spec = json.loads(sys.stdin.buffer.readline())
    end_with_the_emulator()
    code = 0
    try:
        install_runtime(spec)
        run(spec)
    except BaseException as error:  # noqa: BLE001 - SystemExit and KeyboardInterrupt are failures as well
        code = 1
        traceback.print_exc()
        name = type(error).__name__
        result = {"error": f"{name}: {error}", "error_trace": traceback.format_exc()}
        Path(spec["result"]).write_text(json.dumps(result))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
