"""The files of registered model versions, made again from what their trainings logged."""

import json
import shutil
import tempfile
from pathlib import Path

from churn_assets.errors import ModelError, one_line
from churn_assets.lakehouse.folder_lake import FolderLakehouse
from churn_assets.model import reproduce
from churn_assets.model.candidates import calibration, rebuilding
from churn_assets.model.data import dataset
from churn_assets.model.logged import packaging
from churn_assets.model.registry import drift_reference, registry, signatures
from churn_assets.tables import CHURN_LABELS, FEATURE_COLUMNS, USER_FEATURES
from churn_assets.verification.models import StoredVersion, stored_versions, version_damage


def repair(lake: FolderLakehouse) -> str:
    """Fit each version whose files are damaged again, on the tables as they were, and save it in their place.

    Returns:
        What was done, in a sentence.

    Raises:
        ModelError: a version cannot be made again.
    """
    registry.configure(lake.settings)
    damaged = [
        stored
        for stored in stored_versions(lake.settings)
        if version_damage(lake.settings, stored, deep=True)
    ]
    for stored in damaged:
        try:
            _save_again(lake, stored)
        except Exception as error:
            raise ModelError(
                f"Version {stored.version} cannot be made again: {one_line(error, with_class=True)}. Restore "
                "its files from a backup, put another version back (churn rollback), or give all of them up "
                "and let the next run train one (churn repair mlflow)."
            ) from error
    return f"trained again from what it had logged: version {', '.join(s.version for s in damaged) or 'none'}"


def _save_again(lake: FolderLakehouse, stored: StoredVersion) -> None:
    recipe = reproduce.recipe(lake.settings, stored.version, _features(stored))
    features, labels = (
        lake.read(table, recipe.dates, version=recipe.delta_versions[str(table)])
        for table in (USER_FEATURES, CHURN_LABELS)
    )
    labelled = dataset.labelled_rows(features, labels, recipe.features)
    rows = dataset.frames(labelled, recipe.split, recipe.training_rows)
    estimator = rebuilding.rebuild(recipe.spec, rows, recipe.bounded)
    if stored.folder:
        with tempfile.TemporaryDirectory() as scratch:
            made = Path(scratch) / "model"
            model_id = stored.folder.parent.name
            packaging.save_churn_model(
                made, estimator, rows.train.head(3), run_id=stored.run_id, model_id=model_id
            )
            stored.folder.parent.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(stored.folder, ignore_errors=True)
            shutil.copytree(made, stored.folder)
    if stored.run_folder:
        scores = calibration.churn_probability(estimator, rows.holdout)
        reference = drift_reference.make_reference(rows.train, scores, rows.holdout["user_id"].to_numpy())
        stored.run_folder.mkdir(parents=True, exist_ok=True)
        (stored.run_folder / drift_reference.ARTIFACT).write_text(json.dumps(reference, indent=2))
    if says := version_damage(lake.settings, stored):
        raise ModelError(says)
    from mlflow import MlflowClient

    client = MlflowClient()
    name = registry.registered_model_name(lake.settings)
    signatures.sign(lake.settings, client, client.get_model_version(name, stored.version))


def _features(stored: StoredVersion) -> tuple[str, ...]:
    """Return the version's features, by its own description or else today's."""
    try:
        return tuple(packaging.inputs(str(stored.folder)))
    except Exception:  # noqa: BLE001 - whatever is wrong with the description, there is none
        return tuple(FEATURE_COLUMNS)
