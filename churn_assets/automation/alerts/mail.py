"""Alerts as e-mail."""

import smtplib
import socket
import ssl
from email import policy
from email.message import EmailMessage
from email.utils import formatdate, make_msgid

from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_fixed

from churn_assets.automation.alerts.channel import DeliveryError
from churn_assets.errors import one_line
from churn_assets.settings import Settings

TIMEOUT_SECONDS = 8


class Mail:
    """Sends alerts to ``CHURN_ALERT_EMAILS`` through ``CHURN_SMTP_HOST``."""

    name = "mail"

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.recipients = [address.strip() for address in settings.alert_emails.split(",") if address.strip()]

    def send(self, subject: str, body: str) -> None:
        """Send one mail to all recipients.

        Raises:
            DeliveryError: the server did not take it, at the second attempt either.
        """
        # Unfolded: a long subject would come out with a blank before it.
        message = EmailMessage(policy.SMTP.clone(max_line_length=998))
        message["Subject"] = subject
        message["From"] = self._sender()
        message["To"] = ", ".join(self.recipients)
        message["Date"] = formatdate(localtime=False)
        message["Message-ID"] = make_msgid("churn", domain=message["From"].partition("@")[2] or None)
        # It keeps out-of-office programs from replying.
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(body)
        try:
            self._deliver(message)
        except (OSError, smtplib.SMTPException) as error:
            raise DeliveryError(
                f"{self._settings.smtp_host}:{self._settings.smtp_port} took no mail "
                f"({type(error).__name__}: {_reason(error)}). Check CHURN_SMTP_* and CHURN_ALERT_EMAILS."
            ) from error

    @retry(
        retry=retry_if_exception_type((OSError, smtplib.SMTPServerDisconnected)),
        stop=stop_after_attempt(2),
        wait=wait_fixed(0.5),
        reraise=True,
    )
    def _deliver(self, message: EmailMessage) -> None:
        with self._connection() as server:
            if self._settings.smtp_user:
                server.login(self._settings.smtp_user, self._settings.smtp_password or "")
            server.send_message(message)

    def _connection(self) -> smtplib.SMTP:
        host, port = self._settings.smtp_host, self._settings.smtp_port
        # Only the system's certificates: a server that no one of them vouches for gets no password.
        if self._settings.smtp_security == "tls":
            return smtplib.SMTP_SSL(host, port, timeout=TIMEOUT_SECONDS, context=ssl.create_default_context())
        server = smtplib.SMTP(host, port, timeout=TIMEOUT_SECONDS)
        if self._settings.smtp_security == "starttls":
            try:
                server.starttls(context=ssl.create_default_context())
            except Exception:
                server.close()
                raise
        return server

    def _sender(self) -> str:
        sender = self._settings.smtp_from or self._settings.smtp_user
        return sender if "@" in sender else f"churn@{socket.getfqdn()}"


def _reason(error: Exception) -> str:
    reply = error.smtp_error if isinstance(error, smtplib.SMTPResponseException) else str(error)
    text = reply.decode(errors="replace") if isinstance(reply, bytes) else reply
    return one_line(text, max_length=200)
