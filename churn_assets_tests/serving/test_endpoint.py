"""The token that is made once."""

import secrets
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from churn_assets.errors import SettingsError
from churn_assets.serving.endpoint import endpoint_token, state_folder
from churn_assets.settings import Settings
from churn_assets_tests.model.conftest import local_settings

# Of so many lakes, each at a moment that all processes wait for: they shall meet at least once.
LAKES = 40
PRINT_THE_TOKENS = """
import sys, time
from pathlib import Path
from churn_assets import settings
from churn_assets.serving.endpoint import endpoint_token
root, count = Path(sys.argv[1]), int(sys.argv[2])
ours = [
    settings.load(_env_file=None, lake_root=root / str(lake), deployment="local") for lake in range(count)
]
print("ready", flush=True)
begin = float(sys.stdin.readline())
for number, lake in enumerate(ours):
    time.sleep(max(0, begin + number / 100 - time.time()))
    print(endpoint_token(lake))
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return local_settings(tmp_path)


def test_the_token_of_the_settings_wins_and_makes_no_file(tmp_path: Path):
    settings = local_settings(tmp_path, endpoint_token="given")

    assert endpoint_token(settings) == "given"
    assert not state_folder(settings).exists()


def test_a_token_is_made_once_and_only_its_owner_can_read_it(settings: Settings):
    token = endpoint_token(settings)

    assert len(token) == 43  # 32 random bytes
    assert endpoint_token(settings) == token
    assert stat.S_IMODE((state_folder(settings) / "token").stat().st_mode) == 0o600
    assert [file.name for file in state_folder(settings).iterdir()] == ["token"]


# Each imports for seconds first.
PROCESSES = 3


def test_processes_at_once_end_with_one_token(tmp_path: Path):
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PRINT_THE_TOKENS, str(tmp_path), str(LAKES)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(PROCESSES)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    begin = time.time() + 0.2
    said = [process.communicate(f"{begin}\n", timeout=30)[0].split() for process in processes]

    assert [process.returncode for process in processes] == [0] * PROCESSES
    for lake, tokens in enumerate(zip(*said, strict=True)):
        settings = local_settings(tmp_path / str(lake))
        assert set(tokens) == {endpoint_token(settings)}
        assert [file.name for file in state_folder(settings).iterdir()] == ["token"]


def test_who_comes_second_in_the_same_moment_takes_the_first_ones_token(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    of_the_first: list[str] = []

    def make(size: int) -> str:
        # Between the look for a file and the making of one, somebody else makes it.
        monkeypatch.undo()
        of_the_first.append(endpoint_token(settings))
        return secrets.token_urlsafe(size)

    monkeypatch.setattr("churn_assets.own_secrets.secrets.token_urlsafe", make)

    assert [endpoint_token(settings)] == of_the_first
    assert [file.name for file in state_folder(settings).iterdir()] == ["token"]


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660])
def test_a_token_that_others_can_read_is_refused(settings: Settings, mode: int):
    endpoint_token(settings)
    (state_folder(settings) / "token").chmod(mode)

    with pytest.raises(SettingsError, match=rf"has mode {mode:o}, so others can read it; expected 600"):
        endpoint_token(settings)


def test_an_empty_token_is_refused(settings: Settings):
    endpoint_token(settings)
    (state_folder(settings) / "token").write_text("\n")

    with pytest.raises(SettingsError, match="is empty"):
        endpoint_token(settings)


def test_a_folder_that_cannot_be_made_is_told_in_one_line(settings: Settings):
    state_folder(settings).write_text("a file where the folder should be")

    with pytest.raises(SettingsError, match=r"cannot be used: File exists\. Set CHURN_ENDPOINT_TOKEN\.$"):
        endpoint_token(settings)
