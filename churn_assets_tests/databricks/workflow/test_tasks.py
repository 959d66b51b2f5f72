"""The wheel's entry point, where it is no use: everything else about it is shown by the job."""

import sys

import pytest

from churn_assets.commands import task


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["churn-task", *arguments])
    monkeypatch.delenv("DATABRICKS_RUNTIME_VERSION", raising=False)
    task.main()


@pytest.mark.parametrize("arguments", [(), ("retrain",), ("train", "score")])
def test_what_is_no_task_is_wrong_usage(
    arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        run(monkeypatch, *arguments)

    assert ended.value.code == 2
    assert (
        capsys.readouterr().err
        == "Usage: churn-task ingest|featurize|train|score|deploy [VARIABLE=value …]\n"
    )


def test_a_task_outside_a_cluster_says_how_to_start_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        SystemExit, match=r"runs on its compute only\. Start the job with: churn workflow run"
    ):
        run(monkeypatch, "train")


def test_keep_leaves_the_endpoint_alone_and_succeeds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, "keep")

    assert capsys.readouterr().out == "The endpoint was left as it is.\n"
