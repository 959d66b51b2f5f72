"""The assets' keys as plain texts, for code that reads Dagster's history without importing Dagster."""

from churn_assets.tables import Table

AssetPath = tuple[str, ...]

MODEL: AssetPath = ("churn_prediction_model",)
ONLINE_FEATURES: AssetPath = ("online_user_features",)
ENDPOINT: AssetPath = ("churn_prediction_endpoint",)


def asset_path(table: Table) -> AssetPath:
    """Return the parts of a table's key, which is its three-level name."""
    return table.catalog, table.schema, table.name
