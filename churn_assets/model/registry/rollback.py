"""A rollback to an earlier champion, by the rows of ``model_promotions``."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from churn_assets.errors import ModelError, one_line
from churn_assets.model.registry import promotions, registry
from churn_assets.settings import Settings

# All rows of the table, ``promoted_at`` with its zone.
Rows = Sequence[Mapping[str, Any]]


class RolledBack(NamedTuple):
    """The version that was Production, None where the alias had been removed, and the version that is now."""

    replaced: str | None
    version: str


def roll_back(settings: Settings, rows: Rows, to: str | None = None) -> RolledBack:
    """Move the alias back to an earlier champion.

    Args:
        settings: of the deployment.
        rows: all rows of ``model_promotions``.
        to: the version; None for the previous champion.

    Raises:
        ModelError: there is no earlier champion, the version never was one, or it cannot be loaded; nothing
            was changed.
    """
    history = [*rows, *promotions.new_rows(settings, rows)]
    production = registry.production_version(settings)
    current = str(production.version) if production else None
    champions = sorted({row["version"] for row in history})
    to = to or (previous_champion(history) if current else _last_champion(history))
    if to is None or int(to) not in champions:
        problem = f"Version {to} never was Production" if to else "There is no earlier Production version"
        raise ModelError(
            f"{problem}: it was {', '.join(map(str, champions)) or 'none yet'}. Nothing was changed. A "
            "version that never passed the gate is promoted by hand, in MLflow, or not at all."
        )
    if to == current:
        raise ModelError(f"Version {to} is Production already. Nothing was changed.")
    _require_loadable(settings, to)
    reason = f"Rolled back from {promotions.version_name(current)}."
    promotions.promote(settings, to, cause="rollback", reason=reason, replaces=current)
    return RolledBack(current, to)


def previous_champion(rows: Rows) -> str | None:
    """Return the version that was Production before the present one, by the table; None without one.

    A rollback undoes the promotion that it rolled back: a second rollback goes one champion further back,
    and not to the version that the first one replaced.
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
        registry.require_own(settings, version)
        mlflow.pyfunc.load_model(registry.model_uri(settings, version))
    except Exception as error:
        reason = one_line(error, with_class=True)
        raise ModelError(
            f"Version {version} cannot be loaded, so it cannot serve: {reason}. Nothing was changed. Bring "
            "its artifacts back, or choose another version with --to."
        ) from error


def _last_champion(rows: Rows) -> str | None:
    """Return the last champion, for when the alias has been removed."""
    return str(rows[-1]["version"]) if rows else None


def _last_place(champions: Sequence[int], version: int) -> int:
    return max(place for place, champion in enumerate(champions) if champion == version)
