"""Processes of tasks: another interpreter, another working directory, another environment."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Runtime:
    """What the emulated Databricks Runtime adds to each process.

    Attributes:
        environment: variables, which a cluster's ``spark_env_vars`` may override.
        path: folders in front of ``sys.path``, before the cluster's libraries: the runtime's own Spark wins.
        imports: modules that are imported before the task's code.
    """

    environment: Mapping[str, str] = field(default_factory=dict)
    path: tuple[Path, ...] = ()
    imports: tuple[str, ...] = ()


def bare_python() -> Path:
    """The interpreter under this process' virtual environment, which has none of its packages."""
    return Path(sys.base_prefix, "bin", f"python{sys.version_info.major}.{sys.version_info.minor}")


class Process:
    """One process, from its start to its end; its output goes to files.

    Args:
        python: the interpreter.
        folder: of this one task: its working directory, stdout, stderr and result lie there.
        spec: what driver.py is to do; ``path`` and ``result`` are added here.
        environment: the whole environment.
    """

    def __init__(
        self,
        python: Path,
        folder: Path,
        spec: dict[str, Any],
        environment: Mapping[str, str],
        runtime: Runtime,
    ) -> None:
        self.stdout, self.stderr, self._result = folder / "stdout", folder / "stderr", folder / "result.json"
        work = folder / "work"
        shim = folder / "runtime" / "dbruntime"
        work.mkdir(parents=True)
        shim.mkdir(parents=True)
        shutil.copyfile(HERE / "task_values.py", shim / "__init__.py")
        shutil.copyfile(HERE / "driver.py", folder / "runtime" / "driver.py")
        spec = {
            **spec,
            "path": [str(entry) for entry in (folder / "runtime", *runtime.path)] + spec["path"],
            "imports": list(runtime.imports),
            "result": str(self._result),
        }
        with self.stdout.open("wb") as stdout, self.stderr.open("wb") as stderr:
            self._popen = subprocess.Popen(
                [python, "-I", "-u", folder / "runtime" / "driver.py"],
                cwd=work,
                env=dict(environment),
                stdin=subprocess.PIPE,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )
        self.pid = self._popen.pid
        self._stdin = self._popen.stdin
        self._give(json.dumps(spec).encode() + b"\n")

    def wait(self, seconds: float | None) -> int | None:
        """The exit code, or None if it still runs after so many seconds."""
        try:
            return self._popen.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def kill(self) -> None:
        """Kill the process and its children, without a warning. Needed after its own end as well."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        if self._stdin and self._popen.poll() is not None:
            self._stdin.close()

    def error(self) -> dict[str, str] | None:
        """The exception that ended the task's code: ``error`` and ``error_trace``."""
        return json.loads(self._result.read_text()) if self._result.exists() else None

    def _give(self, content: bytes) -> None:
        """Write to its stdin, which stays open: the process ends when it is closed."""
        assert self._stdin is not None
        try:
            self._stdin.write(content)
            self._stdin.flush()
        except BrokenPipeError:
            return  # it died at once; the exit code tells
