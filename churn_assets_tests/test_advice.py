"""Advice can be typed where it is read."""

from pathlib import Path

import pytest

from churn_assets import advice


def test_in_a_checkout_a_target_of_make_is_advised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(advice.CHECKOUT)

    assert [advice.start(name) for name in ("demo", "dev", "serve")] == [
        "make demo",
        "make dev",
        "make serve",
    ]


def test_each_advised_target_is_one_of_the_makefile() -> None:
    makefile = (advice.CHECKOUT / "Makefile").read_text()

    assert all(f"\n{name}: " in makefile for name in ("demo", "dev", "serve"))


@pytest.mark.parametrize("with_makefile", [False, True], ids=["no Makefile", "another project's Makefile"])
def test_anywhere_else_the_command_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, with_makefile: bool
) -> None:
    if with_makefile:
        (tmp_path / "Makefile").write_text("serve:\n\techo another\n")
    monkeypatch.chdir(tmp_path)

    assert advice.start("serve") == "churn serve"
