"""Which version is Production, since when, and why: how the alias moves, and what the moves were.

The registry's alias says who is champion now. Why, a promotion writes on the version itself, so that no move
made here is lost where the table ``model_promotions`` is written later or not at all.
"""

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from churn_assets.errors import ModelError
from churn_assets.model.registry import registry
from churn_assets.settings import Settings

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

Cause = Literal["gate", "rollback"]

PROMOTED_AT, CAUSE, REASON = "promoted_at", "promotion_cause", "promotion_reason"

# Unity Catalog's tags hold 1,000 characters.
LONGEST_REASON = 900

MOVED_ELSEWHERE = "The alias was moved in the registry."


def promote(settings: Settings, version: str, *, cause: Cause, reason: str, replaces: str | None) -> None:
    """Let the alias ``Production`` name a version, and write on the version when and why.

    Args:
        settings: of the deployment.
        version: the one to promote.
        cause: ``gate``, it won a comparison, or ``rollback``, somebody put it back.
        reason: in one line; cut where it is longer than a tag may be.
        replaces: the version that the decision was made against; None where there was none.

    Raises:
        ModelError: the alias names another version than ``replaces``; nothing was changed.
    """
    registry.configure(settings)
    found = registry.production_version(settings)
    current = str(found.version) if found else None
    if current != replaces:
        raise ModelError(
            f"Version {version} was to replace {named(replaces)} as Production, which by now is "
            f"{named(current)}: somebody moved the alias meanwhile. Nothing was changed; decide again."
        )
    client, name = _client(), registry.registered_model_name(settings)
    before = client.get_model_version(name, version).tags
    tags = {PROMOTED_AT: _now().isoformat(), CAUSE: cause, REASON: reason[:LONGEST_REASON]}
    # Before the alias: who follows the alias finds the reason, and where tags are refused nothing moves.
    for key, value in (_numbered(before) | tags).items():
        client.set_model_version_tag(name, version, key, value)
    try:
        registry.promote(settings, version)
    except Exception:
        for key in tags:
            if key in before:
                client.set_model_version_tag(name, version, key, before[key])
            else:
                client.delete_model_version_tag(name, version, key)
        raise


def note(settings: Settings, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The moves of the alias since the last row of ``model_promotions``.

    Args:
        settings: of the deployment.
        rows: all rows of the table, ``promoted_at`` with its zone.

    Returns:
        The rows to add, in order: none where the last row still holds; one for each promotion that wrote on
        its version since; and where none of these explains where the alias is now, one of cause ``other``,
        as of now.
    """
    registry.configure(settings)
    production = registry.production_version(settings)
    if production is None:
        return []
    client, name = _client(), registry.registered_model_name(settings)
    seen = max((row["version"] for row in rows), default=0)
    # A version wins at most once, when it is new; only a rollback comes back to one that has been seen.
    numbers = {number for number in registered_versions(settings) if number > seen}
    versions = [client.get_model_version(name, str(n)) for n in sorted(numbers | {int(production.version)})]
    last = max(rows, key=lambda row: row["promotion"], default=None)
    since = last["promoted_at"] if last else dt.datetime.min.replace(tzinfo=dt.UTC)
    moves = sorted(
        (move for version in versions for move in _moves(version) if move["promoted_at"] > since),
        key=lambda move: move["promoted_at"],
    )
    champion = int(production.version)
    if (moves[-1] if moves else last or {"version": None})["version"] != champion:
        moves.append(
            {"version": champion, "promoted_at": _now(), "cause": "other", "reason": MOVED_ELSEWHERE}
        )
    runs = {int(version.version): version.run_id for version in versions}
    added = []
    for move in moves:
        row = {
            "promotion": last["promotion"] + 1 if last else 1,
            "previous_version": last["version"] if last else None,
            **move,
            **_metrics(client, runs[move["version"]]),
        }
        added.append(row)
        last = row
    return added


def registered_versions(settings: Settings) -> dict[int, str | None]:
    """All versions of the model, each with the run that made it; none where nothing has been registered."""
    if registry.has_no_database(settings):
        return {}
    registry.configure(settings)
    client, token = _client(), None
    found: dict[int, str | None] = {}
    while True:
        page = client.search_model_versions(
            f"name='{registry.registered_model_name(settings)}'", max_results=100, page_token=token
        )
        found |= {int(version.version): version.run_id for version in page}
        token = page.token
        if not token:
            return dict(sorted(found.items()))


def _numbered(tags: Mapping[str, str]) -> dict[str, str]:
    """The present promotion's tags under names that the next one of the same version leaves alone."""
    number = sum(key.startswith(PROMOTED_AT) for key in tags)
    return {f"{key}_{number}": tags[key] for key in (PROMOTED_AT, CAUSE, REASON) if key in tags}


def _moves(version: "ModelVersion") -> Iterator[dict[str, Any]]:
    """What its promotions wrote on a version."""
    tags = version.tags
    for suffix in (key.removeprefix(PROMOTED_AT) for key in tags if key.startswith(PROMOTED_AT)):
        yield {
            "version": int(version.version),
            "promoted_at": dt.datetime.fromisoformat(tags[PROMOTED_AT + suffix]),
            "cause": tags.get(CAUSE + suffix, "other"),
            "reason": tags.get(REASON + suffix, ""),
        }


def _metrics(client: "MlflowClient", run_id: str | None) -> dict[str, float | None]:
    from mlflow.exceptions import MlflowException

    try:
        logged = client.get_run(run_id).data.metrics if run_id else {}
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        # The run is gone; that the version was promoted remains true.
        logged = {}
    return {name: logged.get(name) for name in ("roc_auc", "brier")}


def named(version: str | None) -> str:
    """A version for people."""
    return f"version {version}" if version else "none"


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def _client() -> "MlflowClient":
    from mlflow import MlflowClient

    return MlflowClient()
