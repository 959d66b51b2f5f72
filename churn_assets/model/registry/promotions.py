"""The promotions: moves of the alias Production, with their time, cause and reason.

The registry's alias names the present champion. A promotion tags the version itself with its reason, so that
no move made here is lost where the table ``model_promotions`` is written later or not at all.
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

# Unity Catalog's tags hold 1,000 characters, and a version has at most so many of them.
LONGEST_REASON = 900
MOST_TAGS = 50

MOVED_ELSEWHERE = "The alias was moved in the registry."


def promote(settings: Settings, version: str, *, cause: Cause, reason: str, replaces: str | None) -> None:
    """Move the alias ``Production`` to a version, and tag the version with the time and the reason.

    Args:
        settings: of the deployment.
        version: the one to promote.
        cause: ``gate`` where it won a comparison, ``rollback`` where it was put back.
        reason: in one line; cut where it is longer than a tag may be.
        replaces: the version that the decision was made against; None where there was none.

    Raises:
        ModelError: the alias names another version than ``replaces``; nothing was changed.
        WorkspaceError: Unity Catalog does not let this user; the alias is where it was.
    """
    registry.configure(settings)
    production = registry.production_version(settings)
    current = str(production.version) if production else None
    if current != replaces:
        raise ModelError(
            f"Version {version} was to replace {version_name(replaces)} as Production, which by now is "
            f"{version_name(current)}: somebody moved the alias meanwhile. Nothing was changed; decide again."
        )
    client, name = _client(), registry.registered_model_name(settings)
    before = client.get_model_version(name, version).tags
    tags = {PROMOTED_AT: _now().isoformat(), CAUSE: cause, REASON: reason[:LONGEST_REASON]}
    # Before the alias: whoever follows it finds the reason, and where tags are refused it does not move.
    added = _numbered(before) | tags
    registry.remove_tags(settings, version, _surplus(before, added))
    registry.tag_version(settings, version, added)
    try:
        registry.promote(settings, version)
    except Exception:
        registry.remove_tags(settings, version, added.keys() - before.keys())
        registry.tag_version(settings, version, {key: before[key] for key in tags.keys() & before.keys()})
        raise


def new_rows(settings: Settings, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return a row for each move of the alias since the last row of ``model_promotions``.

    Args:
        settings: of the deployment.
        rows: all rows of the table, ``promoted_at`` with its zone.

    Returns:
        The rows to add, in order: none where the last row still holds; one for each promotion that tagged its
        version since; and where none of these explains the alias, one of cause ``other``, as of now.
    """
    registry.configure(settings)
    production = registry.production_version(settings)
    if production is None:
        return []
    client, name = _client(), registry.registered_model_name(settings)
    last_seen = max((row["version"] for row in rows), default=0)
    # A version wins at most once, when it is new; only a rollback comes back to one that has been seen.
    numbers = {number for number in registered_versions(settings) if number > last_seen}
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
    """Return all versions of the model, each with the id of its run; empty where nothing is registered."""
    if registry.has_no_database(settings):
        return {}
    registry.configure(settings)
    client, token = _client(), None
    runs: dict[int, str | None] = {}
    while True:
        page = client.search_model_versions(
            f"name='{registry.registered_model_name(settings)}'", max_results=100, page_token=token
        )
        runs |= {int(version.version): version.run_id for version in page}
        token = page.token
        if not token:
            return dict(sorted(runs.items()))


def _numbered(tags: Mapping[str, str]) -> dict[str, str]:
    """Return the present promotion's tags under names that the next promotion does not overwrite."""
    number = max(_numbers(tags), default=0) + 1
    return {f"{key}_{number}": tags[key] for key in (PROMOTED_AT, CAUSE, REASON) if key in tags}


def _surplus(before: Mapping[str, str], added: Mapping[str, str]) -> list[str]:
    """Return tags of a version's oldest promotions, which give way: ``model_promotions`` has them."""
    surplus: list[str] = []
    for number in sorted(_numbers(before)):
        if len(before.keys() | added.keys()) - len(surplus) <= MOST_TAGS:
            break
        surplus += [key for name in (PROMOTED_AT, CAUSE, REASON) if (key := f"{name}_{number}") in before]
    return surplus


def _numbers(tags: Mapping[str, str]) -> list[int]:
    """Return the numbers of a version's past promotions; the present one's tags have none."""
    return [int(key.removeprefix(f"{PROMOTED_AT}_")) for key in tags if key.startswith(f"{PROMOTED_AT}_")]


def _moves(version: "ModelVersion") -> Iterator[dict[str, Any]]:
    """Yield the promotions that a version is tagged with."""
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
        # The run was deleted, but the promotion still took place.
        logged = {}
    return {name: logged.get(name) for name in ("roc_auc", "brier")}


def version_name(version: str | None) -> str:
    """Return a version for messages."""
    return f"version {version}" if version else "none"


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def _client() -> "MlflowClient":
    from mlflow import MlflowClient

    return MlflowClient()
