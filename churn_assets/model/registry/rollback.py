"""Back to an earlier champion, by what ``model_promotions`` holds."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from churn_assets.errors import ModelError, one_line
from churn_assets.model.registry import promotions, registry
from churn_assets.settings import Settings

# All rows of the table, ``promoted_at`` with its zone.
Rows = Sequence[Mapping[str, Any]]


class RolledBack(NamedTuple):
    """The version that was Production, None where the alias had been removed, and the one that is now."""

    replaced: str | None
    version: str


def roll_back(settings: Settings, rows: Rows, to: str | None = None) -> RolledBack:
    """Let the alias name an earlier champion again.

    Args:
        settings: of the deployment.
        rows: all rows of ``model_promotions``.
        to: the version; the previous champion without it.

    Raises:
        ModelError: there is none to go back to, it never was champion, or it cannot be loaded; nothing was
            changed.
    """
    history = [*rows, *promotions.note(settings, rows)]
    production = registry.production_version(settings)
    current = str(production.version) if production else None
    champions = sorted({row["version"] for row in history})
    to = to or (previous_champion(history) if current else _last_champion(history))
    if to is None or int(to) not in champions:
        asked = f"Version {to} never was Production" if to else "There is no earlier Production version"
        raise ModelError(
            f"{asked}: it was {', '.join(map(str, champions)) or 'none yet'}. Nothing was changed. A version "
            "that never passed the gate is promoted by hand, in MLflow, or not at all."
        )
    if to == current:
        raise ModelError(f"Version {to} is Production already. Nothing was changed.")
    _require_loadable(settings, to)
    reason = f"Rolled back from {promotions.named(current)}."
    promotions.promote(settings, to, cause="rollback", reason=reason, replaces=current)
    return RolledBack(current, to)


def previous_champion(rows: Rows) -> str | None:
    """The version that was Production before the one that is, by the table; None where there was none.

    A rollback undoes the promotion that it rolled back: a second one goes one champion further back, and
    not to the version that the first one took away.
    """
    champions: list[int] = []
    for row in sorted(rows, key=lambda row: row["promotion"]):
        if row["cause"] == "rollback" and row["version"] in champions:
            del champions[_last_place(champions, row["version"]) :]
        champions.append(row["version"])
    return str(champions[-2]) if len(champions) > 1 else None


def _require_loadable(settings: Settings, version: str) -> None:
    import mlflow.pyfunc

    try:
        mlflow.pyfunc.load_model(registry.model_uri(settings, version))
    except Exception as error:
        raise ModelError(
            f"Version {version} cannot be loaded, so it cannot serve: {one_line(error, with_class=True)}. "
            "Nothing was changed. Bring its artifacts back, or choose another version with --to."
        ) from error


def _last_champion(rows: Rows) -> str | None:
    """The last one there was, where somebody has removed the alias."""
    return str(rows[-1]["version"]) if rows else None


def _last_place(champions: Sequence[int], version: int) -> int:
    return max(place for place, champion in enumerate(champions) if champion == version)
