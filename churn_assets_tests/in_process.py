"""The ``churn`` command in the tests' own process, whose engine it shares."""

import sys
from collections.abc import Callable
from typing import NamedTuple

import pytest

from churn_assets import cli
from churn_assets.lakehouse import other_accounts
from churn_assets.settings import Settings


class Answer(NamedTuple):
    """How a command ended; what it did on the way is on stderr, indented, and left out of the reason."""

    exit_code: int
    out: str
    reason: str

    def to_mend(self) -> list[str]:
        return [line.removeprefix("mend ") for line in self.out.splitlines() if line.startswith("mend ")]


Churn = Callable[..., Answer]


def churn_on(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Churn:
    """The command on this lake, from the folder that holds it."""
    # Whoever else has a shell where the tests run.
    monkeypatch.setattr(other_accounts, "accounts_with_a_shell", list)
    monkeypatch.chdir(settings.local_root.parent)
    for name, value in settings.as_env().items():
        monkeypatch.setenv(name, value)

    def run(*arguments: object) -> Answer:
        monkeypatch.setattr(sys, "argv", ["churn", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        reasons = [text for text in err.splitlines() if not text.startswith("  ")]
        return Answer(int(ended.value.code or 0), out, "\n".join(reasons))

    return run
