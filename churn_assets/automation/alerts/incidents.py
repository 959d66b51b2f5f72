"""Open incidents and undelivered alerts: one alert when an incident opens, one when it is over."""

import datetime as dt
from collections.abc import Iterable, Sequence

from pydantic import BaseModel, Field

from churn_assets.automation.alerts.channel import Channel, DeliveryError

# A mail server that was down for longer gets no alerts of yesterday.
LONGEST_DELAY = dt.timedelta(days=1)

UTC_MINUTES = "%Y-%m-%d %H:%M UTC"


class Incident(BaseModel):
    """One thing that is wrong.

    ``id`` stays the same while it is open. ``what`` is a few words for the subject, ``says`` the reason in
    one line, ``last_good`` when all was well (UTC). A failure also has the run's partitions and job, and
    whether a check ``blocked`` it, which is a separate incident.
    """

    id: str
    what: str
    says: str
    url: str
    since: dt.datetime
    asset: str = ""
    last_good: dt.datetime | None = None
    partitions: list[str] = Field(default_factory=list)
    job: str = ""
    blocked: bool = False
    selection: list[str] = Field(default_factory=list)

    def alert(self) -> tuple[str, str]:
        """Return subject and text of the alert."""
        return f"[churn] {self.what}", self._text(f"{self.what}: {self.says}")

    def recovery(self, now: dt.datetime) -> tuple[str, str]:
        """Return subject and text of the all-clear."""
        return f"[churn] Recovered: {self.what}", self._text(
            f"Well again since {now:{UTC_MINUTES}}. It was: {self.says}"
        )

    def _text(self, first: str) -> str:
        lines = [first, "", f"since:     {self.since:{UTC_MINUTES}}"]
        if self.asset:
            lines.append(f"asset:     {self.asset}")
        if self.partitions:
            ends = [self.partitions[0], *self.partitions[1:][-1:]]
            lines.append(f"dates:     {' to '.join(ends)}")
        lines.append(f"last good: {self.last_good.strftime(UTC_MINUTES) if self.last_good else 'never'}")
        return "\n".join([*lines, self.url, ""])


class Message(BaseModel):
    """An alert that a channel has not taken yet."""

    channel: str
    subject: str
    body: str
    since: dt.datetime


class AlertState(BaseModel):
    """The sensor's cursor: open incidents, undelivered alerts, and the failed runs already seen."""

    open: dict[str, Incident] = Field(default_factory=dict)
    outbox: list[Message] = Field(default_factory=list)
    looked_at: dt.datetime | None = None
    recent_runs: list[str] = Field(default_factory=list)

    def opened(self, incident: Incident, channels: Sequence[Channel], now: dt.datetime) -> None:
        """Open an incident and queue its alert; if it is open already, only add its partitions."""
        if known := self.open.get(incident.id):
            known.partitions = sorted({*known.partitions, *incident.partitions})
            # A recovery counts only after the last failure.
            known.since = incident.since if incident.job else known.since
            return
        self.open[incident.id] = incident
        self._enqueue(incident.alert(), channels, now)

    def closed(self, ids: Iterable[str], channels: Sequence[Channel], now: dt.datetime) -> None:
        """Close incidents and queue their all-clears."""
        for id_ in list(ids):
            self._enqueue(self.open.pop(id_).recovery(now), channels, now)

    def deliver(self, channels: Sequence[Channel], now: dt.datetime) -> list[str]:
        """Send the queued alerts, oldest first; a channel that fails once is tried again only next time.

        Returns:
            The errors of the channels that failed.
        """
        by_name = {channel.name: channel for channel in channels}
        failed: dict[str, str] = {}
        waiting = []
        for message in self.outbox:
            channel = by_name.get(message.channel)
            if channel is None or now - message.since > LONGEST_DELAY:
                continue
            if channel.name not in failed:
                try:
                    channel.send(message.subject, message.body)
                    continue
                except DeliveryError as error:
                    failed[channel.name] = str(error)
            waiting.append(message)
        self.outbox = waiting
        return list(failed.values())

    def _enqueue(self, text: tuple[str, str], channels: Sequence[Channel], now: dt.datetime) -> None:
        subject, body = text
        self.outbox += [
            Message(channel=channel.name, subject=subject, body=body, since=now) for channel in channels
        ]
