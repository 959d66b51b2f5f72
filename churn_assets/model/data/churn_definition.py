"""What churn means to a model version: how far its labels look ahead, and which events keep a user."""

from collections.abc import Mapping
from typing import NamedTuple, Self

from churn_assets.settings import Settings

HORIZON = "horizon_days"
EVENT_TYPES = "label_event_types"

# As a tag, because MLflow's servers differ in whether they take an empty one.
ANY = "any"


class ChurnDefinition(NamedTuple):
    """Days without an event of these types (comma-separated; ``any`` of all) that are churn."""

    horizon_days: int
    label_event_types: str = ANY

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """The one that the settings want."""
        return cls(settings.horizon_days, settings.label_event_types or ANY)

    @classmethod
    def noted_in(cls, tags: Mapping[str, str]) -> Self | None:
        """The one that a training noted, None where it noted none. Older ones knew all events alone."""
        return cls(int(tags[HORIZON]), tags.get(EVENT_TYPES, ANY)) if HORIZON in tags else None

    def tags(self) -> dict[str, str]:
        """What to note, as text."""
        return {HORIZON: str(self.horizon_days), EVENT_TYPES: self.label_event_types}

    def __str__(self) -> str:
        counts = "" if self.label_event_types == ANY else f", only {self.label_event_types} counts"
        return f"horizon {self.horizon_days} days{counts}"

    def unlike(self, wanted: Self) -> list[str]:
        """What the settings want otherwise, a phrase each."""
        variables = {HORIZON: "CHURN_HORIZON_DAYS", EVENT_TYPES: "CHURN_LABEL_EVENT_TYPES"}
        return [
            f"{variables[name]} is {value}"
            for name, value in wanted._asdict().items()
            if value != getattr(self, name)
        ]
