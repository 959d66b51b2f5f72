from churn_assets_tests.workspace.fixtures import workspace

__all__ = ["workspace"]
