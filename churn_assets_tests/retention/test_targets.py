"""A list is taken by a real receiver and a folder, or one line says why not, without a secret."""

import hashlib
import hmac
from pathlib import Path

import pytest

from churn_assets.retention.formats import as_csv
from churn_assets.retention.targets import FolderTarget, Handover, NotTakenError, WebhookTarget
from churn_assets.tables import RETENTION_LIST
from churn_assets_tests.automation.receivers import webhook
from churn_assets_tests.rows import D

ROWS = [{**dict.fromkeys(RETENTION_LIST.column_names), "user_id": 7, "feature_date": D}]
LIST = Handover(D, f"main_catalog.gold.retention_list/{D}", ROWS)
SECRET = "between us"


def test_a_post_is_signed_with_its_time_and_names_its_list() -> None:
    with webhook() as hook:
        WebhookTarget(hook.url, SECRET).send(LIST)

    headers, body, posted = hook.headers[0], hook.bodies[0], hook.posted[0]
    timestamp, _, given = headers["Churn-Signature"].removeprefix("t=").partition(",v1=")
    signed = hmac.new(SECRET.encode(), f"{timestamp}.".encode() + body, hashlib.sha256).hexdigest()
    assert given == signed
    assert headers["Idempotency-Key"] == f"main_catalog.gold.retention_list/{D}"
    assert (posted["feature_date"], posted["rows"]) == (str(D), 1)
    assert posted["contacts"][0]["user_id"] == 7
    assert posted["digest"] == hashlib.sha256(as_csv(ROWS)).hexdigest()


def test_a_receiver_that_stumbles_is_asked_again() -> None:
    with webhook(503) as hook:
        WebhookTarget(hook.url, SECRET).send(LIST)

    assert len(hook.posted) == 1


@pytest.mark.parametrize("answer", [302, 307, 400, 403])
def test_what_is_refused_or_sent_elsewhere_is_not_delivered_and_url_and_secret_stay_secret(
    answer: int,
) -> None:
    with webhook(answer, 200) as hook, pytest.raises(NotTakenError, match=f"answered {answer}") as refused:
        WebhookTarget(hook.url, SECRET).send(LIST)

    assert hook.posted == []
    assert "very-secret" not in str(refused.value)
    assert SECRET not in str(refused.value)
    assert refused.value.__suppress_context__


def test_a_receiver_that_is_down_is_said() -> None:
    with webhook() as hook:
        url = hook.url

    with pytest.raises(NotTakenError, match="the webhook ConnectionError; check CHURN_DELIVERY_WEBHOOK"):
        WebhookTarget(url, SECRET).send(LIST)


def test_a_folder_has_one_file_a_date_and_no_draft_however_often_it_is_written(tmp_path: Path) -> None:
    target = FolderTarget(tmp_path / "lists")
    (tmp_path / "lists").mkdir()
    # A writer that was killed half-way.
    (tmp_path / "lists" / f".retention_list-{D}.csv.draft").write_bytes(b"user_")

    target.send(LIST)
    target.send(LIST)

    (file,) = (tmp_path / "lists").iterdir()
    assert (file.name, file.read_bytes()) == (f"retention_list-{D}.csv", as_csv(ROWS))


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(
        NotTakenError, match=r"file cannot be written \(File exists\); check CHURN_DELIVERY_F"
    ):
        FolderTarget(tmp_path / "file").send(LIST)
