"""What churn means to a model version: the horizon of its labels, and the events that count for them."""

from collections.abc import Mapping
from typing import NamedTuple, Self

from churn_assets.settings import Settings

HORIZON = "horizon_days"
EVENT_TYPES = "label_event_types"

# As a tag, because MLflow's servers differ in whether they take an empty one.
ANY = "any"


class ChurnDefinition(NamedTuple):
    """Churn as no event of these types (comma-separated, ``any`` for all) for a number of days."""

    horizon_days: int
    label_event_types: str = ANY

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Return the definition in the settings."""
        return cls(settings.horizon_days, settings.label_event_types or ANY)

    @classmethod
    def from_tags(cls, tags: Mapping[str, str]) -> Self | None:
        """Return the definition that a training logged, None where it logged none.

        Trainings of older releases logged no event types: they counted every event.
        """
        return cls(int(tags[HORIZON]), tags.get(EVENT_TYPES, ANY)) if HORIZON in tags else None

    @property
    def staying_types(self) -> tuple[str, ...]:
        """The types of the events that mean that a user stayed; empty where every event does."""
        if self.label_event_types == ANY:
            return ()
        return tuple(name for name in self.label_event_types.split(",") if name)

    def tags(self) -> dict[str, str]:
        """Return the definition as tags of a training's run, which ``from_tags`` reads."""
        return {HORIZON: str(self.horizon_days), EVENT_TYPES: self.label_event_types}

    def __str__(self) -> str:
        counts = "" if self.label_event_types == ANY else f", only {self.label_event_types} counts"
        return f"horizon {self.horizon_days} days{counts}"

    def differences(self, wanted: Self) -> list[str]:
        """Return a phrase for each setting whose value in ``wanted`` is another."""
        variables = {HORIZON: "CHURN_HORIZON_DAYS", EVENT_TYPES: "CHURN_LABEL_EVENT_TYPES"}
        return [
            f"{variables[name]} is {value}"
            for name, value in wanted._asdict().items()
            if value != getattr(self, name)
        ]
