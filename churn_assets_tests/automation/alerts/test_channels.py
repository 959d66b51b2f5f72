"""Alerts arrive: by mail with and without TLS and login, and at a webhook; one line says what is down."""

import ssl
from pathlib import Path

import pytest

from churn_assets.automation.alerts.channel import DeliveryError
from churn_assets.automation.alerts.channels import channels
from churn_assets.automation.alerts.mail import Mail
from churn_assets.automation.alerts.webhook import Webhook
from churn_assets.settings import Settings
from churn_assets_tests.automation.receivers import PASSWORD, USER, mail_server, server_context, webhook
from churn_assets_tests.conftest import MakeSettings

ALERT = ("[churn] user_features failed", "Why: ümlaut\nhttp://127.0.0.1:3000/runs/1\n")


@pytest.fixture
def certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """A server's, which this machine trusts for the time of the test."""
    context, file = server_context(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    return context


def settings_for(make_settings: MakeSettings, port: int, **more: str) -> Settings:
    return make_settings(
        alert_emails="a@example.com, b@example.com", smtp_host="127.0.0.1", smtp_port=port, **more
    )


def test_a_mail_reaches_everybody_with_its_text(make_settings: MakeSettings) -> None:
    with mail_server() as mailbox:
        Mail(settings_for(make_settings, mailbox.port, smtp_security="none", smtp_from=USER)).send(*ALERT)

    assert mailbox.recipients == [["a@example.com", "b@example.com"]]
    assert mailbox.subjects == [ALERT[0]]
    mail = mailbox.mails[0]
    assert mail.get_content().replace("\r\n", "\n") == ALERT[1]
    assert (mail["From"], mail["Auto-Submitted"]) == (USER, "auto-generated")


def test_starttls_and_a_login(make_settings: MakeSettings, certificate: ssl.SSLContext) -> None:
    with mail_server(login=True, starttls=certificate) as mailbox:
        Mail(settings_for(make_settings, mailbox.port, smtp_user=USER, smtp_password=PASSWORD)).send(*ALERT)

    assert (len(mailbox.mails), mailbox.over_tls) == (1, [True])


def test_tls_from_the_first_byte(make_settings: MakeSettings, certificate: ssl.SSLContext) -> None:
    with mail_server(tls=certificate) as mailbox:
        Mail(settings_for(make_settings, mailbox.port, smtp_security="tls")).send(*ALERT)

    assert mailbox.subjects == [ALERT[0]]


def test_a_server_with_an_unknown_certificate_is_told_nothing(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    context, _ = server_context(tmp_path)
    with mail_server(starttls=context) as mailbox:
        mail = Mail(settings_for(make_settings, mailbox.port))
        with pytest.raises(DeliveryError, match="CERTIFICATE_VERIFY_FAILED"):
            mail.send(*ALERT)

    assert mailbox.mails == []


def test_a_wrong_password_is_said_without_the_password(
    make_settings: MakeSettings, certificate: ssl.SSLContext
) -> None:
    with mail_server(login=True, starttls=certificate) as mailbox:
        mail = Mail(settings_for(make_settings, mailbox.port, smtp_user=USER, smtp_password="wrong-one"))
        with pytest.raises(DeliveryError, match=r"SMTPAuthenticationError.*Check CHURN_SMTP_") as refused:
            mail.send(*ALERT)

    assert mailbox.mails == []
    assert "wrong-one" not in str(refused.value)


def test_a_mail_server_that_is_down_is_said(make_settings: MakeSettings) -> None:
    with mail_server() as mailbox:
        port = mailbox.port

    with pytest.raises(DeliveryError, match=rf"127\.0\.0\.1:{port} took no mail \(ConnectionRefusedError"):
        Mail(settings_for(make_settings, port)).send(*ALERT)


def test_a_webhook_gets_one_text() -> None:
    with webhook() as hook:
        Webhook(hook.url).send("[churn] users failed", "Why\n")

    assert hook.posted == [{"text": "*[churn] users failed*\nWhy\n"}]


def test_a_webhook_that_stumbles_is_asked_again() -> None:
    with webhook(503) as hook:
        Webhook(hook.url).send(*ALERT)

    assert len(hook.posted) == 1


def test_a_webhook_that_refuses_is_not_asked_again_and_stays_secret() -> None:
    with webhook(403, 200) as hook, pytest.raises(DeliveryError, match="answered 403") as refused:
        Webhook(hook.url).send(*ALERT)

    assert (hook.posted, hook.answers) == ([], [200])
    assert "secret" not in str(refused.value)
    assert refused.value.__suppress_context__


def test_only_what_the_settings_name_is_told(make_settings: MakeSettings) -> None:
    both = settings_for(make_settings, 25, alert_webhook="http://127.0.0.1:1/x")

    assert [channel.name for channel in channels(both)] == ["mail", "webhook"]
    assert channels(make_settings()) == []
    assert channels(make_settings(alert_emails="a@example.com")) == []
    assert "/x" not in repr(both)
