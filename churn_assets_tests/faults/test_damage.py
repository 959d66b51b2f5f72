"""Files of a lake deleted, cut, emptied or changed at random: named in a line, mended by what it says."""

import random
import re
import shlex
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from churn_assets_tests.faults.conftest import Count
from churn_assets_tests.faults.lakes import Undisturbed
from churn_assets_tests.forked import churn

MEND = re.compile(r"^mend .* Mend it: (.+)$", re.MULTILINE)


def deleted(random_: random.Random, file: Path) -> None:
    file.unlink()


def emptied(random_: random.Random, file: Path) -> None:
    file.write_bytes(b"")


def cut(random_: random.Random, file: Path) -> None:
    body = file.read_bytes()
    file.write_bytes(body[: random_.randrange(len(body))])


def changed(random_: random.Random, file: Path) -> None:
    body = bytearray(file.read_bytes())
    for _ in range(8):
        body[random_.randrange(len(body))] ^= 1 << random_.randrange(8)
    file.write_bytes(body)


DAMAGES: tuple[Callable[[random.Random, Path], None], ...] = (deleted, emptied, cut, changed)


@pytest.mark.faults
def test_any_damaged_file_is_named_and_mended(undisturbed: Undisturbed, tmp_path: Path, count: Count) -> None:
    tries = 20
    random_ = random.Random(tries)
    root = undisturbed.settings.lake_root
    # What a table, a model or a database is made of; logs and locks are nobody's data.
    files = sorted(
        path.relative_to(root)
        for path in root.rglob("*")
        if path.is_file() and path.stat().st_size and not {"logs", ".locks"} & set(path.parts)
    )
    outcomes = Counter[str]()
    for number in range(tries):
        folder = tmp_path / str(number)
        settings = undisturbed.copy_all(folder)
        file, damage = random_.choice(files), DAMAGES[number % len(DAMAGES)]
        damage(random_, settings.lake_root / file)
        what = f"{file} {damage.__name__}"

        found = churn(settings, "verify", "--deep")
        assert not found.has_a_traceback, what
        mends = MEND.findall(found.out)
        if found.exit_code == 0:
            outcomes["needed by nobody"] += 1
        for command in dict.fromkeys(mends):
            assert command.startswith("churn "), f"{what}: {found.out}"
            mended = churn(settings, *shlex.split(command)[1:])
            assert not mended.has_a_traceback, f"{what}: {command}"
            assert mended.exit_code == 0, f"{what}: {command}: {mended.err}"
        if found.exit_code:
            assert mends, f"{what}: {found.out}"
            outcomes["named and mended"] += 1
        # What a repair noted as not computed is computed by the next run.
        ended = churn(settings, "run")
        assert ended.exit_code == 0, f"{what}: {ended.err}"
        again = churn(settings, "verify", "--deep")
        assert again.exit_code == 0, f"{what}: {again.out}"
        undisturbed.assert_equal(settings)
        shutil.rmtree(folder)
    words = ", ".join(f"{n} {outcome}" for outcome, n in sorted(outcomes.items()))
    count("a random file of the lake deleted, emptied, cut or changed", tries, f"{words}; 0 lost, 0 doubled")
