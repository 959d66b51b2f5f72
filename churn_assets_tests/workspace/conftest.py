from churn_assets_tests.workspace.fixtures import remote_python, workspace

__all__ = ["remote_python", "workspace"]
