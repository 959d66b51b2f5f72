"""The ``churn`` command in a process that may be killed, forked from one that has imported everything.

A command of its own takes seconds to import what it uses; here it is at work in milliseconds, so that a test
can kill hundreds. What runs is the command: its ``main``, in a session and an environment of its own.
"""

import contextlib
import datetime as dt
import functools
import multiprocessing
import os
import signal
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import NamedTuple

import psutil

from churn_assets.settings import Settings

# What a run imports, before it is forked. None of it starts a thread that a fork would lose.
IMPORTED = (
    "churn_assets.cli",
    "churn_assets.commands.run",
    "churn_assets.graph",
    "churn_assets.lakehouse.folder_lake",
    "churn_assets.model.training",
    "matplotlib.pyplot",
    "mlflow.pyfunc",
    "mlflow.sklearn",
    "pysail",
    "pyspark.sql.connect.session",
    "shap",
    "sklearn.ensemble",
)
PATIENCE_SECONDS = 600


class Ended(NamedTuple):
    """How a command ended; ``exit_code`` is minus the signal of one that was killed."""

    exit_code: int
    out: str
    err: str

    @property
    def reason(self) -> str:
        """Its last words, which are the reason where it failed."""
        return next((line for line in reversed(self.err.splitlines()) if line.startswith("churn: ")), "")

    @property
    def has_a_traceback(self) -> bool:
        return "Traceback (most recent call last)" in self.out + self.err


@dataclass
class Command:
    """A command at work."""

    process: ForkServerProcess
    out: Path
    err: Path

    def kill(self) -> None:
        """End it and what it has started, at once, wherever they are."""
        self.send(signal.SIGKILL)
        self.process.join()

    def send(self, number: signal.Signals) -> None:
        """Send a signal to it and to what it has started."""
        # Some may have ended since somebody looked.
        with contextlib.suppress(psutil.NoSuchProcess):
            ours = psutil.Process(self.process.pid)
            for process in (ours, *ours.children(recursive=True)):
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.send_signal(number)

    def is_at_work(self) -> bool:
        return self.process.is_alive()

    def wait(self, seconds: float = PATIENCE_SECONDS) -> Ended:
        self.process.join(seconds)
        assert self.process.exitcode is not None, f"churn hangs: {self.err.read_text()}"
        return Ended(self.process.exitcode, self.out.read_text(), self.err.read_text())

    def said(self) -> str:
        """What it has written to stderr so far."""
        return self.err.read_text() if self.err.exists() else ""


@contextmanager
def at_work(
    settings: Settings,
    *arguments: str,
    clock: dt.datetime | None = None,
    variables: Mapping[str, str] | None = None,
) -> Iterator[Command]:
    """The command at work, ended with the block if it is not over by then.

    Args:
        settings: of the lake; the command runs in the folder that holds it.
        arguments: of the command.
        clock: what the machine's clock says when it starts, if not the truth.
        variables: of its environment, besides those of the settings.
    """
    folder = settings.local_root.parent
    spoken = folder / "spoken"
    spoken.mkdir(exist_ok=True)
    name = uuid.uuid4().hex
    out, err = spoken / f"{name}.out", spoken / f"{name}.err"
    environment = {
        "HOME": os.environ["HOME"],
        "PATH": "/usr/bin:/bin",
        **settings.as_env(),
        **(variables or {}),
    }
    speech = {1: out, 2: err}
    process = _context().Process(target=_run, args=(arguments, folder, environment, speech, clock))
    process.start()
    command = Command(process, out, err)
    try:
        yield command
    finally:
        if command.is_at_work():
            command.kill()


def churn(settings: Settings, *arguments: str, clock: dt.datetime | None = None) -> Ended:
    """Run the command to its end."""
    with at_work(settings, *arguments, clock=clock) as command:
        return command.wait()


def wait_until(reached: Callable[[], bool], command: Command, seconds: float = 120) -> None:
    """Look every millisecond, as long as the command is at work."""
    deadline = time.monotonic() + seconds
    while not reached():
        assert command.is_at_work(), f"churn was over before its moment: {command.wait()}"
        assert time.monotonic() < deadline, "churn hangs"
        time.sleep(0.001)


@functools.cache
def _context() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(IMPORTED))
    return context


def _run(
    arguments: Sequence[str],
    folder: Path,
    environment: dict[str, str],
    speech: dict[int, Path],
    clock: dt.datetime | None,
) -> None:
    os.setsid()
    os.chdir(folder)
    for stream, path in speech.items():
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), stream)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["churn", *arguments]
    from churn_assets import cli

    if clock is None:
        cli.main()
        return
    import time_machine

    with time_machine.travel(clock):
        cli.main()
